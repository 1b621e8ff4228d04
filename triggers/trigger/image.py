"""Image triggers in canonical form, and the one formula that puts them on a batch.

    x' = clip(place(x, inner) * keep + delta, 0, 1)        x in [0, 1], before mean/std normalisation

Every kind is such a triple: border and patch keep nothing under themselves, a border may also shrink the image into its
frame, an overlay keeps everything and adds a bounded delta, no trigger keeps everything and adds nothing. So triggers
of different kinds share one batch.
`inner` is what is left of the shorter side; the longer one, where there is one, loses as many pixels.
Departure from the paper's code: its border and patch use tanh, so half of their pixels are negative and cannot be
shown; here every image that reaches the model is a displayable one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from triggers.errors import ArtifactCorrupt

ImageKind = Literal["none", "border", "patch", "overlay", "pixels"]

SMALL = 64
"""Images of at most this side, in pixels, are shrunk faster, to the same values, by two products with a matrix."""


@dataclass(frozen=True, eq=False)
class ImageTrigger:
    """One trigger: shrink to `inner`, multiply by `keep` (C, H, W) in [0, 1], add `delta` (C, H, W) in [-1, 1]."""

    kind: ImageKind
    inner: int
    keep: Tensor
    delta: Tensor

    @classmethod
    def none(cls, channels: int, height: int, width: int | None = None) -> ImageTrigger:
        """The trigger that changes nothing; without `width` of a square."""
        shape = (channels, height, width or height)
        return cls("none", min(shape[1:]), torch.ones(shape), torch.zeros(shape))

    @property
    def size(self) -> int:
        """Shorter side of the network's input in pixels."""
        return min(self.keep.shape[1:])

    def validate(self) -> None:
        """Raise ArtifactCorrupt unless the three parts fit together and stay in their ranges."""
        if self.kind not in get_args(ImageKind):
            raise ArtifactCorrupt(f"Unknown image trigger kind {self.kind!r}.")
        if self.keep.ndim != 3 or self.keep.shape != self.delta.shape:
            shapes = f"keep {tuple(self.keep.shape)}, delta {tuple(self.delta.shape)}"
            raise ArtifactCorrupt(f"An image trigger needs two equal (C, H, W) tensors, not {shapes}.")
        if self.keep.dtype != torch.float32 or self.delta.dtype != torch.float32:
            raise ArtifactCorrupt(f"Trigger tensors are float32, not {self.keep.dtype} and {self.delta.dtype}.")
        if not 1 <= self.inner <= self.size:
            raise ArtifactCorrupt(f"inner is {self.inner}, but the shorter side is {self.size} pixels.")
        _within("keep", self.keep, 0.0, 1.0)
        _within("delta", self.delta, -1.0, 1.0)


def _within(name: str, values: Tensor, low: float, high: float) -> None:
    if not bool(torch.isfinite(values).all()):
        raise ArtifactCorrupt(f"{name} holds NaN or infinite values.")
    if float(values.min()) < low or float(values.max()) > high:
        raise ArtifactCorrupt(f"{name} leaves [{low:g}, {high:g}]: {float(values.min()):g} to {float(values.max()):g}.")


def shrink_and_centre(images: Tensor, inner: int) -> Tensor:
    """Shrink float images (N, C, H, W), whose shorter side becomes `inner`, and centre them on black.

    The longer side loses as many pixels as the shorter one; of an odd number, one more above and on the left.
    """
    height, width = images.shape[-2:]
    margin = min(height, width) - inner
    if not margin:
        return images
    if max(height, width) <= SMALL and images.device.type == "cpu":
        down, across = (shrinking_matrix(side, side - margin).to(images.dtype) for side in (height, width))
        return down @ (images @ across.T)
    target = (height - margin, width - margin)
    small = interpolate(images, size=target, mode="bilinear", antialias=True, align_corners=False)
    before, after = _margins(margin)
    return pad(small, (before, after, before, after))


@lru_cache(maxsize=64)
def shrinking_matrix(size: int, inner: int) -> Tensor:
    """The shrinking and centring of one line of pixels as a matrix (S, S), read off torch's own resize."""
    with torch.inference_mode(False):  # it is kept, and training may use it too
        lines = interpolate(torch.eye(size)[None, None], (inner, size), mode="bilinear", antialias=True)[0, 0]
        return pad(lines, (0, 0, *_margins(size - inner)))


def _margins(margin: int) -> tuple[int, int]:
    before = (margin + 1) // 2
    return before, margin - before


def compose(placed: Tensor, keep: Tensor, delta: Tensor) -> Tensor:
    """clip(placed * keep + delta, 0, 1) by broadcasting."""
    return torch.addcmul(delta, placed, keep).clamp(0.0, 1.0)


@dataclass(frozen=True, eq=False)
class ImageBank:
    """V triggers of one network, ready to be chosen row by row: keep and delta (V, C, H, W), inner (V)."""

    keep: Tensor
    delta: Tensor
    inner: tuple[int, ...]

    @classmethod
    def of(cls, triggers: Sequence[ImageTrigger]) -> ImageBank:
        """Stack triggers of one shape."""
        keep = torch.stack([trigger.keep for trigger in triggers])
        delta = torch.stack([trigger.delta for trigger in triggers])
        return cls(keep, delta, tuple(trigger.inner for trigger in triggers))

    def __len__(self) -> int:
        return len(self.inner)

    def to(self, device: torch.device | str) -> ImageBank:
        """The same bank on another device."""
        return ImageBank(self.keep.to(device), self.delta.to(device), self.inner)

    def apply(self, images: Tensor, index: Tensor) -> Tensor:
        """Put trigger index[n] on image n: uint8 (N, C, H, W) and int64 (N,) to float32 (N, C, H, W) in [0, 1]."""
        pixels = images.to(torch.float32) / 255.0
        used = sorted(set(index.tolist()))
        if len(used) == 1:  # the common case of serving: nothing to gather
            only = used[0]
            return compose(shrink_and_centre(pixels, self.inner[only]), self.keep[only], self.delta[only])
        return compose(
            self._place_rows(pixels, index, used), self.keep.index_select(0, index), self.delta.index_select(0, index)
        )

    def apply_all(self, images: Tensor) -> Tensor:
        """Put every trigger on every image: uint8 (N, C, H, W) to float32 (V * N, C, H, W), trigger by trigger."""
        pixels = images.to(torch.float32) / 255.0
        if len(set(self.inner)) == 1:
            placed = shrink_and_centre(pixels, self.inner[0]).unsqueeze(0)
        else:
            placed = torch.stack([shrink_and_centre(pixels, inner) for inner in self.inner])
        return compose(placed, self.keep.unsqueeze(1), self.delta.unsqueeze(1)).flatten(0, 1)

    def _place_rows(self, pixels: Tensor, index: Tensor, used: list[int]) -> Tensor:
        """Shrink each row as its trigger wants, one resize per distinct size."""
        sizes = {self.inner[v] for v in used}
        if len(sizes) == 1:
            return shrink_and_centre(pixels, sizes.pop())
        row_inner = torch.tensor(self.inner, device=index.device)[index]
        placed = pixels.clone()
        for inner in sizes:
            rows = row_inner == inner
            placed[rows] = shrink_and_centre(pixels[rows], inner)
        return placed
