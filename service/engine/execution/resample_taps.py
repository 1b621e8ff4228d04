"""Resampling taps of `triggers.trigger.image.shrink_and_centre`, so that one CUDA graph shrinks each row its own way.

A shrunk coordinate is a weighted sum of neighbouring pixels, by rows and by columns alike. First pixels and weights are
read off `triggers.trigger.image.shrinking_matrix`, so both agree to float32 rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from triggers.trigger.image import shrinking_matrix

MAX_TAPS = 4
"""Neighbours per coordinate; enough down to half the size (a border of a quarter of the image on every side)."""


@dataclass(frozen=True, eq=False)
class ResampleTaps:
    """For every coordinate of a placed image its first pixel (S,) int64 and the weights (S, K); black has weight 0."""

    first: Tensor
    weight: Tensor


@lru_cache(maxsize=64)
def resample_taps(inner: int, size: int) -> ResampleTaps | None:
    """The taps that shrink `size` pixels to `inner` and centre them; None if MAX_TAPS neighbours are too few."""
    count, matrix = min(MAX_TAPS, size), shrinking_matrix(size, inner)
    first = (matrix != 0).int().argmax(dim=1).clamp(max=size - count)  # black: the first pixel, with weight 0
    weight = matrix.gather(1, first[:, None] + torch.arange(count))
    if int((weight != 0).sum()) != int((matrix != 0).sum()):
        return None
    return ResampleTaps(first, weight)


def resize(images: Tensor, taps: Sequence[Tensor], between: torch.dtype = torch.float32) -> Tensor:
    """Float images (N, H, W, C), each shrunk and centred as its rows of `taps` say.

    `taps` are first (N, H) and weight (N, H, K) of the rows, first (N, W) and weight (N, W, K) of the columns. The
    intermediate images, shrunk in one direction only, are of dtype `between`.
    """
    down, down_weight, across, across_weight = taps
    lines = _along(images, down[:, :, None, None], down_weight[:, :, None, None, :], dim=1).to(between)
    return _along(lines, across[:, None, :, None], across_weight[:, None, :, None, :], dim=2)


def _along(images: Tensor, first: Tensor, weight: Tensor, dim: int) -> Tensor:
    """Weighted sums of neighbours in one direction."""
    total = images.gather(dim, first.expand_as(images)) * weight[..., 0]
    for tap in range(1, weight.shape[-1]):
        total = total + images.gather(dim, (first + tap).expand_as(images)) * weight[..., tap]
    return total
