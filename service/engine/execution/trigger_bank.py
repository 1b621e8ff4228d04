"""A bank of image triggers at fixed addresses on the device, for CUDA graphs recorded over it.

A missing trigger is copied into the least recently used row: a swap copies a row, and nothing is recorded again.
Callers name triggers, not rows, so a row is never read as another trigger.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor

from service.engine.execution.resample_taps import MAX_TAPS, ResampleTaps, resample_taps, resize
from triggers.trigger import ImageTrigger
from triggers.trigger.image import compose


class DeviceTriggerBank:
    """`capacity` rows of keep and delta (V, H, W, C) and the taps of both directions. Not thread-safe.

    `taps` are first (V, H), weight (V, H, K), first (V, W), weight (V, W, K). For a model that computes in `dtype`:
    rows are read for every image, so they are stored no wider than needed.
    """

    def __init__(
        self,
        capacity: int,
        shape: tuple[int, int, int],
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        channels, *self._sides = shape
        rows, narrow = (capacity, *self._sides, channels), storage_dtype(dtype)
        self.keep = torch.ones(rows, device=device, dtype=narrow)
        self.delta = torch.zeros(rows, device=device, dtype=narrow)
        self.taps: list[Tensor] = []
        for side in self._sides:
            self.taps.append(torch.zeros(capacity, side, dtype=torch.int64, device=device))
            self.taps.append(torch.zeros(capacity, side, min(MAX_TAPS, side), device=device))
        self._rows: OrderedDict[ImageTrigger, int] = OrderedDict()
        self._free = list(range(capacity))
        self.copies = 0

    def fits(self, trigger: ImageTrigger) -> bool:
        """Whether MAX_TAPS taps are enough for this trigger's shrinking."""
        return None not in self._taps(trigger)

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
        taps = [tensor for one in self._taps(trigger) if one for tensor in (one.first, one.weight)]
        new = [trigger.keep.permute(1, 2, 0), trigger.delta.permute(1, 2, 0), *taps]
        for own, values in zip((self.keep, self.delta, *self.taps), new, strict=True):
            own[row].copy_(values)
        self.copies += 1

    def _taps(self, trigger: ImageTrigger) -> list[ResampleTaps | None]:
        """The taps down and across; None where MAX_TAPS are not enough."""
        margin = trigger.size - trigger.inner
        return [resample_taps(side - margin, side) for side in self._sides]


def storage_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype that stores numbers in [-1, 1] for a model in `dtype`: float16, 8 times finer, for bfloat16."""
    return torch.float16 if dtype == torch.bfloat16 else torch.float32


def apply_plain(dtype: torch.dtype, pixels: Tensor, rows: Tensor, keep: Tensor, delta: Tensor) -> Tensor:
    """Apply triggers that do not shrink, by row, to uint8 images (N, H, W, C): (N, C, H, W) in [0, 1], in `dtype`."""
    images = compose(pixels.to(torch.float32) / 255.0, keep[rows].float(), delta[rows].float())
    return images.to(dtype).permute(0, 3, 1, 2)


def apply_resized(
    dtype: torch.dtype, pixels: Tensor, rows: Tensor, keep: Tensor, delta: Tensor, *taps: Tensor
) -> Tensor:
    """Apply triggers of any size, by row, to uint8 images (N, H, W, C): (N, C, H, W) in [0, 1], in `dtype`."""
    small = resize(pixels.to(torch.float32) / 255.0, [each[rows] for each in taps], storage_dtype(dtype))
    return compose(small, keep[rows].float(), delta[rows].float()).to(dtype).permute(0, 3, 1, 2)
