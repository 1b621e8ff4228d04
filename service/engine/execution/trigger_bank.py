"""A bank of image triggers at fixed addresses on the device, for CUDA graphs recorded over it.

A missing trigger is copied into the least recently used row: a swap copies a row, and nothing is recorded again.
Callers name triggers, not rows, so a row is never read as another trigger.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor

from service.engine.execution.resample_taps import MAX_TAPS, resample_taps, resize
from triggers.trigger import ImageTrigger
from triggers.trigger.image import compose


class DeviceTriggerBank:
    """`capacity` rows of keep and delta (V, S, S, C), first (V, S) and weight (V, S, K). Not thread-safe.

    For a model that computes in `dtype`: rows are read for every image, so they are stored no wider than needed.
    """

    def __init__(
        self, capacity: int, channels: int, size: int, device: torch.device, dtype: torch.dtype = torch.float32
    ) -> None:
        shape, narrow = (capacity, size, size, channels), storage_dtype(dtype)
        self._size = size
        self.keep = torch.ones(shape, device=device, dtype=narrow)
        self.delta = torch.zeros(shape, device=device, dtype=narrow)
        self.first = torch.zeros(capacity, size, dtype=torch.int64, device=device)
        self.weight = torch.zeros(capacity, size, min(MAX_TAPS, size), device=device)
        self._rows: OrderedDict[ImageTrigger, int] = OrderedDict()
        self._free = list(range(capacity))
        self.copies = 0

    def fits(self, trigger: ImageTrigger) -> bool:
        """Whether MAX_TAPS taps are enough for this trigger's shrinking."""
        return resample_taps(trigger.inner, self._size) is not None

    def rows(self, triggers: Sequence[ImageTrigger]) -> list[int]:
        """The row of each trigger, missing ones copied; at most `capacity` different ones, all of which `fit`."""
        for trigger in triggers:
            if trigger in self._rows:
                self._rows.move_to_end(trigger)
        for trigger in triggers:
            if trigger not in self._rows:
                row = self._free.pop() if self._free else self._rows.popitem(last=False)[1]
                self._copy(trigger, row)
                self._rows[trigger] = row
        return [self._rows[trigger] for trigger in triggers]

    def _copy(self, trigger: ImageTrigger, row: int) -> None:
        shrinking = resample_taps(trigger.inner, self._size)
        assert shrinking
        for own, new in (
            (self.keep, trigger.keep.permute(1, 2, 0)),
            (self.delta, trigger.delta.permute(1, 2, 0)),
            (self.first, shrinking.first),
            (self.weight, shrinking.weight),
        ):
            own[row].copy_(new)
        self.copies += 1


def storage_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype that stores numbers in [-1, 1] for a model in `dtype`: float16, 8 times finer, for bfloat16."""
    return torch.float16 if dtype == torch.bfloat16 else torch.float32


def apply_plain(dtype: torch.dtype, pixels: Tensor, rows: Tensor, keep: Tensor, delta: Tensor) -> Tensor:
    """Apply triggers that do not shrink, by row, to uint8 images (N, S, S, C): (N, C, S, S) in [0, 1], in `dtype`."""
    images = compose(pixels.to(torch.float32) / 255.0, keep[rows].float(), delta[rows].float())
    return images.to(dtype).permute(0, 3, 1, 2)


def apply_resized(
    dtype: torch.dtype, pixels: Tensor, rows: Tensor, keep: Tensor, delta: Tensor, first: Tensor, weight: Tensor
) -> Tensor:
    """Apply triggers of any size, by row, to uint8 images (N, S, S, C): (N, C, S, S) in [0, 1], in `dtype`."""
    small = resize(pixels.to(torch.float32) / 255.0, first[rows], weight[rows], storage_dtype(dtype))
    return compose(small, keep[rows].float(), delta[rows].float()).to(dtype).permute(0, 3, 1, 2)
