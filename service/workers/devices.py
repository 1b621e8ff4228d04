"""The devices of a service with one engine process on each; without torch, which the supervisor does not import."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping

from service.config import ALL_DEVICES, Settings
from triggers.errors import ConfigError

VISIBLE_DEVICES_VARIABLE = "CUDA_VISIBLE_DEVICES"
_COUNT = """
import torch
count = torch.accelerator.device_count()
print(*(f"{torch.accelerator.current_accelerator().type}:{number}" for number in range(count)))
"""


def devices_of(settings: Settings) -> tuple[str, ...]:
    """A device per engine process; none where HTTP workers compute. Raises ConfigError if `all` finds none."""
    if settings.devices == ALL_DEVICES:
        return _found()
    return settings.engine_devices


def isolated_env(device: str, environment: Mapping[str, str]) -> tuple[str, Mapping[str, str]]:
    """A device's name in a process that sees no other, and the environment that hides the others.

    A process that sees several GPUs takes memory on the first one too. Raises ConfigError for a GPU that is hidden.
    """
    kind, _, number = device.partition(":")
    if kind != "cuda":
        return device, environment
    index = int(number or 0)
    visible = environment.get(VISIBLE_DEVICES_VARIABLE)
    names = range(index + 1) if visible is None else [each.strip() for each in visible.split(",") if each.strip()]
    if index >= len(names):
        hidden = f"devices names {device}, but {VISIBLE_DEVICES_VARIABLE}={visible} leaves {len(names)}"
        raise ConfigError(f"{hidden}: name others, or all.")
    return kind, {**environment, VISIBLE_DEVICES_VARIABLE: str(names[index])}


def _found() -> tuple[str, ...]:
    """Every accelerator that torch sees, listed by a short-lived process."""
    told = subprocess.run([sys.executable, "-c", _COUNT], capture_output=True, text=True, check=True).stdout.split()
    if not told:
        raise ConfigError("devices is all, but torch sees no GPU here: name devices, such as cpu, or leave it out.")
    return tuple(told)
