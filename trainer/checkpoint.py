"""A run's state in one file that a killed trainer can go on from: safetensors, with the rest as JSON in its metadata.

    tensors     module.*, adversaries.*, best.*; optimizer.<i>.*, adversary_optimizer.<i>.* (the moments of Adam)
    metadata    {"checkpoint": {"identity": {...}, "step": 120, "seconds": 8.1, "snapshots": [...]}}

No generator state is kept: batches follow from the seed and the step's number alone. Never pickle. The file is replaced
in one step, so it is always a whole one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.optim import Optimizer

from trainer.config import REMOVED_KEYS
from trainer.outcome import Counts
from triggers.durable import write_whole
from triggers.errors import ConfigError
from triggers.fingerprint import canonical_json

KEY = "checkpoint"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """After `step` steps and `seconds` of work: tensors by name; per strength the best snapshot's (step, counts)."""

    step: int
    seconds: float
    tensors: Mapping[str, Tensor]
    snapshots: Sequence[tuple[int, Counts] | None]


def save_checkpoint(path: Path, checkpoint: Checkpoint, identity: Mapping[str, Any]) -> None:
    """Replace the file. `identity` is what must be the same when the run goes on: JSON values, nested as one likes."""
    state = {
        "identity": identity,
        "step": checkpoint.step,
        "seconds": checkpoint.seconds,
        "snapshots": [None if best is None else _snapshot_to_json(*best) for best in checkpoint.snapshots],
    }
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in checkpoint.tensors.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, save(tensors, {KEY: canonical_json(state).decode()}))


def load_checkpoint(path: Path, identity: Mapping[str, Any]) -> Checkpoint | None:
    """The file's content; None if there is none. Raises ConfigError if it is damaged or belongs to another run."""
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            state = json.loads(file.metadata()[KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path} is no checkpoint of this trainer ({error}). Delete it, or use --fresh.") from error
    _check_identity(path, state["identity"], json.loads(canonical_json(identity)))
    snapshots = [None if best is None else _snapshot_from_json(best) for best in state["snapshots"]]
    return Checkpoint(state["step"], state["seconds"], tensors, snapshots)


def module_tensors(name: str, module: nn.Module) -> dict[str, Tensor]:
    """A module's state as `name.*`."""
    return {f"{name}.{key}": tensor for key, tensor in module.state_dict().items()}


def optimizer_tensors(name: str, optimizer: Optimizer) -> dict[str, Tensor]:
    """An Adam's state as `name.<parameter>.<moment>`; learning rates are not state, every step sets them."""
    state = optimizer.state_dict()["state"]
    return {f"{name}.{i}.{key}": tensor for i, moments in state.items() for key, tensor in moments.items()}


def restore_module(name: str, module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Undo `module_tensors`."""
    module.load_state_dict(_under(name, tensors))


def restore_optimizer(name: str, optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Undo `optimizer_tensors`."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in _under(name, tensors).items():
        parameter, _, moment = key.partition(".")
        state.setdefault(int(parameter), {})[moment] = tensor
    optimizer.load_state_dict(optimizer.state_dict() | {"state": state})


def _under(name: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(f"{name}."): tensor for key, tensor in tensors.items() if key.startswith(f"{name}.")}


def _check_identity(path: Path, saved: Mapping[str, Any], present: Mapping[str, Any]) -> None:
    before, now = dict(_flat(saved)), dict(_flat(present))
    differing = sorted(
        key for key in before.keys() | now.keys() if before.get(key) != now.get(key, REMOVED_KEYS.get(key))
    )
    if differing:
        listed = "; ".join(f"{key} was {before.get(key)!r}, is {now.get(key)!r}" for key in differing)
        ways = "Undo the change, use another --out, or drop the old run with --fresh."
        raise ConfigError(f"{path} belongs to another run: {listed}. {ways}")


def _flat(table: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    items: list[tuple[str, Any]] = []
    for key, value in table.items():
        items += _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(f"{prefix}{key}", value)]
    return items


def _snapshot_to_json(step: int, counts: Counts) -> dict[str, Any]:
    return {"step": step, "counts": [[*cell, n] for cell, n in counts.items()]}


def _snapshot_from_json(snapshot: Mapping[str, Any]) -> tuple[int, Counts]:
    counts = {(group, label, prediction): n for group, label, prediction, n in snapshot["counts"]}
    return snapshot["step"], counts
