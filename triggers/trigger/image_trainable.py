"""Trainable image triggers: K of them side by side, one per strength, rendered to the canonical bank.

Kinds and sources: border and patch (FairReprogram, section 3.2), pixels (its code's `roptim`: here the mask is shared
by the channels, `fraction` counts pixels, and it is learned on every device), overlay (ours: an additive frame-wide
change bounded by epsilon). Values go through a sigmoid, not tanh, so that a trigger can be shown as a picture.
All K start from the same values, so that a front over strengths differs by strength alone.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from triggers.errors import ConfigError
from triggers.trigger.image import ImageBank, ImageKind, ImageTrigger

Corner = Literal["top_left", "top_right", "bottom_left", "bottom_right"]
BorderFit = Literal["shrink", "cover"]
"""What becomes of the image under a border: shrunk to what the frame leaves free, or covered by it at the edge."""

Sides: TypeAlias = tuple[int, int]
"""Height and width of an image in pixels."""


class ImageModule(nn.Module):
    """Base of the four kinds: `render` gives the bank with gradients, `export` the finished triggers."""

    kind: ImageKind

    def __init__(self, count: int, channels: int, cells: Sides, generator: torch.Generator) -> None:
        super().__init__()
        start = torch.rand((channels, *cells), generator=generator) * 2 - 1
        self.weight = nn.Parameter(start.repeat(count, 1, 1, 1))

    def render(self) -> ImageBank:
        """The K triggers as one bank, differentiable."""
        raise NotImplementedError

    def export(self) -> list[ImageTrigger]:
        """The K triggers as they are now, detached and on the CPU."""
        with torch.no_grad():
            bank = self.render()
        return [
            ImageTrigger(self.kind, inner, keep.cpu().clone(), delta.cpu().clone())
            for keep, delta, inner in zip(bank.keep, bank.delta, bank.inner, strict=True)
        ]

    def constrain_(self) -> None:
        """Bring the parameters back into their set after an optimiser step; images need nothing."""


class MaskedModule(ImageModule):
    """A trigger that replaces the pixels under a fixed mask (H, W): border and patch."""

    mask: Tensor

    def __init__(
        self, kind: ImageKind, mask: Tensor, inner: int, count: int, channels: int, generator: torch.Generator
    ) -> None:
        super().__init__(count, channels, (mask.shape[0], mask.shape[1]), generator)
        self.kind = kind
        self.inner = inner
        self.register_buffer("mask", mask)

    def render(self) -> ImageBank:
        """keep is 0 and delta the learned colour under the mask."""
        delta = torch.sigmoid(self.weight) * self.mask
        return ImageBank((1 - self.mask).expand_as(delta), delta, (self.inner,) * len(delta))


class OverlayModule(ImageModule):
    """An additive change of every pixel, |delta| <= epsilon; smooth where it is learned on fewer cells than pixels."""

    kind = "overlay"

    def __init__(
        self, epsilon: float, cells: Sides, count: int, channels: int, sides: Sides, generator: torch.Generator
    ) -> None:
        super().__init__(count, channels, cells, generator)
        self.sides = sides
        self.epsilon = epsilon
        with torch.no_grad():
            self.weight.mul_(0.05)

    def render(self) -> ImageBank:
        """keep is 1 everywhere, delta = epsilon * tanh(weight), enlarged to the image's size."""
        delta = self.epsilon * torch.tanh(self.weight)
        if delta.shape[-2:] != self.sides:
            delta = interpolate(delta, size=self.sides, mode="bilinear", align_corners=False)
        return ImageBank(torch.ones_like(delta), delta, (min(self.sides),) * len(delta))


class PixelsModule(ImageModule):
    """Replaces the `fraction` of pixels with the highest learned scores; straight-through gradient to the scores."""

    kind = "pixels"

    def __init__(self, fraction: float, count: int, channels: int, sides: Sides, generator: torch.Generator) -> None:
        super().__init__(count, channels, sides, generator)
        self.sides = sides
        self.chosen = max(1, round(fraction * sides[0] * sides[1]))
        start = torch.rand((1, *sides), generator=generator) * 0.02
        self.score = nn.Parameter(start.repeat(count, 1, 1, 1))

    def render(self) -> ImageBank:
        """keep is 0 and delta the learned colour on the chosen pixels."""
        mask = self._mask()
        delta = torch.sigmoid(self.weight) * mask
        return ImageBank((1 - mask).expand_as(delta), delta, (min(self.sides),) * len(delta))

    def _mask(self) -> Tensor:
        """(K, 1, H, W), exactly 0 or 1 in value, with the gradient of a sigmoid of the scores."""
        flat = self.score.flatten(1)
        hard = torch.zeros_like(flat).scatter(1, flat.topk(self.chosen, dim=1).indices, 1.0).view_as(self.score)
        soft = torch.sigmoid(self.score)
        return hard + (soft - soft.detach())


def build_image_module(
    kind: str,
    *,
    count: int,
    channels: int,
    size: int | Sides,
    seed: int,
    width: int = 0,
    fit: BorderFit = "shrink",
    patch_size: int = 0,
    corner: Corner = "top_left",
    epsilon: float = 32 / 255,
    resolution: int | None = None,
    fraction: float = 0.1,
) -> ImageModule:
    """Build K = count trainable triggers of one kind. Lengths in pixels, epsilon in [0, 1]. Raises ConfigError.

    `size` is the side of a square or (height, width). `resolution` is the number of cells along the shorter side that
    an overlay is learned on, as many to a pixel along the longer one; None: one per pixel.
    """
    generator = torch.Generator().manual_seed(seed)
    sides = (size, size) if isinstance(size, int) else size
    shorter = min(sides)
    if kind == "border":
        inner = shorter if fit == "cover" else shorter - 2 * width
        return MaskedModule("border", border_mask(sides, width), inner, count, channels, generator)
    if kind == "patch":
        return MaskedModule("patch", patch_mask(sides, patch_size, corner), shorter, count, channels, generator)
    if kind == "overlay":
        if not 0 < epsilon <= 1:
            raise ConfigError(f"trigger.epsilon is {epsilon}; it must lie in (0, 1], for instance 32/255 = 0.125.")
        if resolution is not None and not 0 < resolution <= shorter:
            raise ConfigError(f"trigger.resolution is {resolution}; it is a number of cells between 1 and {shorter}.")
        cells = (
            (round(sides[0] * resolution / shorter), round(sides[1] * resolution / shorter)) if resolution else sides
        )
        return OverlayModule(epsilon, cells, count, channels, sides, generator)
    if kind == "pixels":
        if not 0 < fraction < 1:
            raise ConfigError(f"trigger.fraction is {fraction}; it is a share of all pixels, between 0 and 1.")
        return PixelsModule(fraction, count, channels, sides, generator)
    raise ConfigError(f"trigger.kind {kind!r} is no image trigger; choose border, patch, overlay or pixels.")


def border_mask(sides: Sides, width: int) -> Tensor:
    """(H, W), 1 on a frame of `width` pixels."""
    if not 0 < 2 * width < min(sides):
        raise ConfigError(f"trigger.width is {width}; a border needs 0 < 2 * width < {min(sides)}, the shorter side.")
    mask = torch.ones(sides)
    mask[width:-width, width:-width] = 0
    return mask


def patch_mask(sides: Sides, patch_size: int, corner: Corner) -> Tensor:
    """(H, W), 1 on a square flush with a corner."""
    if not 0 < patch_size < min(sides):
        raise ConfigError(f"trigger.patch_size is {patch_size}; a patch needs a size between 1 and {min(sides) - 1}.")
    near, far = slice(patch_size), slice(-patch_size, None)
    mask = torch.zeros(sides)
    mask[far if corner.startswith("bottom") else near, far if corner.endswith("right") else near] = 1
    return mask
