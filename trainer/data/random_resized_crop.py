"""Random resized crops of a batch of images: the augmentation of that name in torchvision, on the images' device.

A crop has a random share of the image's area and a random ratio of its sides, and is enlarged to the image's size.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import torch
from torch import Tensor

RATIO = (3 / 4, 4 / 3)
"""Smallest and largest width by height of a crop; their logarithm is uniform."""

ATTEMPTS = 10
"""How often a crop is drawn that does not fit, before the whole image is taken."""


def random_crops(count: int, sides: tuple[int, int], scale: Sequence[float], generator: torch.Generator) -> Tensor:
    """Crops (N, 4): top, left, height, width. Shares of the area are uniform between the two of `scale`."""
    height, width = sides
    area = height * width * torch.empty(count, ATTEMPTS).uniform_(scale[0], scale[1], generator=generator)
    ratio = torch.empty(count, ATTEMPTS).uniform_(log(RATIO[0]), log(RATIO[1]), generator=generator).exp()
    tall, wide = (area / ratio).sqrt().round().long(), (area * ratio).sqrt().round().long()
    fits = (tall > 0) & (tall <= height) & (wide > 0) & (wide <= width)
    first = fits.int().argmax(dim=1, keepdim=True)  # where none fits, the whole image
    tall, wide = (
        torch.where(fits.any(dim=1), each.gather(1, first)[:, 0], side)
        for each, side in ((tall, height), (wide, width))
    )
    where = torch.rand(2, count, generator=generator)
    top, left = ((free * each).long() for free, each in zip((height - tall + 1, width - wide + 1), where, strict=True))
    return torch.stack([top, left, tall, wide], dim=1)


def resize_crops(images: Tensor, crops: Tensor) -> Tensor:
    """The crops (N, 4) of uint8 images (N, C, H, W), enlarged bilinearly to H x W and rounded to uint8."""
    top, left, tall, wide = crops.to(images.device).unbind(dim=1)
    pixels = images.float()
    for dim, start, length in ((2, top, tall), (3, left, wide)):
        near, far, share = (
            each[:, None].unsqueeze(5 - dim).expand_as(images) for each in _taps(start, length, images.shape[dim])
        )
        pixels = torch.lerp(pixels.gather(dim, near), pixels.gather(dim, far), share)
    return pixels.round().to(torch.uint8)


def _taps(start: Tensor, length: Tensor, side: int) -> tuple[Tensor, Tensor, Tensor]:
    """Both neighbours (N, S) of every pixel of a line that a part of it is enlarged to, and the second's share."""
    centre = (torch.arange(side, device=start.device) + 0.5) * (length / side)[:, None] - 0.5
    low = centre.floor().clamp(min=0)
    last = length[:, None] - 1
    near, far = (torch.minimum(each.long(), last) + start[:, None] for each in (low, low + 1))
    return near, far, (centre - low).clamp(0, 1)
