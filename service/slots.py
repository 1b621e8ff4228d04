"""The fixed places of a recorded program: pixels and trigger rows in, scores out, with page-locked copies beside."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Slots:
    """Places for `count` images: pixels (B, C, S, S) uint8, rows (B,) int64, scores (B, labels) float32."""

    def __init__(self, count: int, channels: int, size: int, labels: int, device: torch.device) -> None:
        pinned = device.type == "cuda"
        self.pixels = torch.zeros(count, channels, size, size, dtype=torch.uint8, device=device)
        self.rows = torch.zeros(count, dtype=torch.int64, device=device)
        self.scores = torch.zeros(count, labels, device=device)
        self._pixels = torch.zeros(self.pixels.shape, dtype=torch.uint8, pin_memory=pinned)
        self._rows = torch.zeros(count, dtype=torch.int64, pin_memory=pinned)
        self._scores = torch.zeros(count, labels, pin_memory=pinned)

    def fill(self, images: Sequence[Tensor], rows: Sequence[int]) -> None:
        """Start to copy images (C, S, S), all here or all on the device, and their trigger rows into the first places.

        The places behind keep what an earlier batch left; what is computed from it is never read.
        """
        count = len(images)
        if images[0].device == self.pixels.device:
            torch.stack(list(images), out=self.pixels[:count])
        else:
            torch.stack(list(images), out=self._pixels[:count])
            self.pixels[:count].copy_(self._pixels[:count], non_blocking=True)
        self._rows[:count] = torch.tensor(rows)
        self.rows[:count].copy_(self._rows[:count], non_blocking=True)

    def fetch(self, count: int) -> Tensor:
        """Start to copy the first scores back; the tensor (count, labels) is theirs until the next batch."""
        return self._scores[:count].copy_(self.scores[:count], non_blocking=True)
