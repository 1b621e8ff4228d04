"""The static buffers of CUDA graphs (pixels and trigger rows in, scores out), and page-locked staging memory.

A batch is gathered in staging memory while another one is computed in the buffers.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class StaticBuffers:
    """Buffers of `count` images of `shape` (C, H, W): pixels (B, H, W, C), rows (B,) int64, scores (B, labels)."""

    def __init__(self, count: int, shape: tuple[int, int, int], labels: int, device: torch.device) -> None:
        channels, height, width = shape
        self.pixels = torch.zeros(count, height, width, channels, dtype=torch.uint8, device=device)
        self.rows = torch.zeros(count, dtype=torch.int64, device=device)
        self.scores = torch.zeros(count, labels, device=device)

    def fill(self, staging: PinnedStaging, images: Sequence[Tensor], rows: Sequence[int]) -> None:
        """Start to copy images (C, H, W), from staging or on the device, and their trigger rows into the first rows.

        The other rows keep an earlier batch's data; their scores are never read.
        """
        count = len(images)
        if images[0].device == self.pixels.device:
            self.pixels[:count].copy_(torch.stack(list(images)).permute(0, 2, 3, 1))
        else:
            self.pixels[:count].copy_(staging.pixels[:count], non_blocking=True)
        staging.rows[:count] = torch.tensor(rows)
        self.rows[:count].copy_(staging.rows[:count], non_blocking=True)

    def fetch(self, staging: PinnedStaging, count: int) -> Tensor:
        """Start to copy the first scores to staging: (count, labels), valid until its next batch."""
        return staging.scores[:count].copy_(self.scores[:count], non_blocking=True)


class PinnedStaging:
    """Page-locked memory of the buffers' shapes, for one batch at a time."""

    def __init__(self, buffers: StaticBuffers) -> None:
        self._pinned, self._device = buffers.pixels.is_cuda, buffers.pixels.device
        self.pixels, self.rows, self.scores = (
            self._like(each) for each in (buffers.pixels, buffers.rows, buffers.scores)
        )

    def gather(self, images: Sequence[Tensor]) -> None:
        """Stack images of host memory; nothing to do if all are on the device already."""
        if images[0].device != self._device:
            torch.stack([image.permute(1, 2, 0) for image in images], out=self.pixels[: len(images)])

    def _like(self, place: Tensor) -> Tensor:
        return torch.zeros(place.shape, dtype=place.dtype, pin_memory=self._pinned)
