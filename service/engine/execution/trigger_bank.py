"""Image triggers at fixed addresses on the device, for programs that were recorded over them.

A trigger that is not there is copied into the row of the one that was unused for longest: a swap copies a row, and
nothing is recorded again. Who computes names triggers, not rows, so a row can never be read under another's name.
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

    For a model that computes in `dtype`; every row is read for every image, so they are no wider than is of use.
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
        """Whether this trigger shrinks images no further than a row can say."""
        return resample_taps(trigger.inner, self._size) is not None

    def rows(self, triggers: Sequence[ImageTrigger]) -> list[int]:
        """The row of each trigger; different ones are at most `capacity`, and all fit."""
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
    """What numbers from -1 to 1 are kept in on their way to `dtype`: half as wide where eight times finer is enough."""
    return torch.float16 if dtype == torch.bfloat16 else torch.float32


def apply_plain(dtype: torch.dtype, pixels: Tensor, rows: Tensor, keep: Tensor, delta: Tensor) -> Tensor:
    """Triggers that do not shrink on uint8 images (N, S, S, C) by row: (N, C, S, S) in [0, 1], rounded to `dtype`."""
    images = compose(pixels.to(torch.float32) / 255.0, keep[rows].float(), delta[rows].float())
    return images.to(dtype).permute(0, 3, 1, 2)


def apply_resized(
    dtype: torch.dtype, pixels: Tensor, rows: Tensor, keep: Tensor, delta: Tensor, first: Tensor, weight: Tensor
) -> Tensor:
    """Triggers of any size on uint8 images (N, S, S, C) by row: (N, C, S, S) in [0, 1], rounded to `dtype`."""
    small = resize(pixels.to(torch.float32) / 255.0, first[rows], weight[rows], storage_dtype(dtype))
    return compose(small, keep[rows].float(), delta[rows].float()).to(dtype).permute(0, 3, 1, 2)
