"""Placement of the parts of the data: on the device as far as they fit, the most read ones first.

A part that does not fit stays mapped from its file, and its batches are gathered and copied when they are due
(trainer/data/prefetch.py). On a CPU every part stays mapped: nothing is copied, and the system reads pages as needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from trainer.data.dataset import Dataset
from trainer.progress import Progress

GB = 10**9
SHARE = 0.5
"""Share of the device's free memory, with the model loaded, for data; the rest is left to the computation."""


def place_on_device(
    parts: Mapping[str, Dataset], device: torch.device, limit_gb: float | None, progress: Progress
) -> list[Dataset]:
    """The parts, given most important first, moved to the device or left mapped.

    `limit_gb` is the memory that they may take in all; None: half of what is free on the device.
    """
    if device.type == "cpu":
        return list(parts.values())
    budget = limit_gb * GB if limit_gb else SHARE * torch.cuda.mem_get_info(device)[0]
    fitting = fits([part.nbytes for part in parts.values()], budget)
    for (name, part), fit in zip(parts.items(), fitting, strict=True):
        if not fit:
            size = f"{part.nbytes / GB:.1f} GB with {budget / GB:.1f} GB for data (train.device_memory_gb)"
            progress.note(f"data: the {name} part does not fit on the device, {size}; it is read as it is needed")
    return [part.to(device) if fit else part for part, fit in zip(parts.values(), fitting, strict=True)]


def fits(sizes: Sequence[int], budget: float) -> list[bool]:
    """Whether each part, of these bytes, fits after those before it."""
    found, used = [], 0
    for size in sizes:
        found.append(used + size <= budget)
        used += size if found[-1] else 0
    return found
