"""The steps of an image input (image_spec.py) on 8-bit pixels, by PIL or by torchvision as each step says.

Pixels are a tensor (C, H, W) or a PIL image, whichever the step at hand takes; they are converted only where two steps
differ. Tensors lie in memory as JPEGs are decoded, colours side by side, which torch resizes quickest, to the same
values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, cast

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn.functional import pad

from triggers.errors import InputError
from triggers.preprocessing.image_files import ImageLimits
from triggers.preprocessing.image_spec import CenterCrop, Fit, ImageSpec, Pad, Resize

Pixels: TypeAlias = Tensor | Image.Image

PIL_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "nearest_exact": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
}

ROOM = 4
"""Pictures on the way to a network may have as many times its pixels, however few a file may have."""


def run_pipeline(pixels: Pixels, spec: ImageSpec, limits: ImageLimits | None = None) -> Tensor:
    """A picture, in the spec's colour mode already, through all steps: uint8 (C, height, width).

    Raises InputError, before anything is computed, for one that a step would make larger than the limits allow.
    """
    height, width = size_of(pixels)
    if spec.keeps(height, width):
        return as_tensor(pixels)
    most = steps_limit(spec, limits or ImageLimits())
    largest = spec.largest(height, width)
    if largest[0] * largest[1] > most:
        message = f"The image, of {width} x {height} pixels, would become one of {largest[1]} x {largest[0]} pixels"
        raise InputError("image_too_many_pixels", f"{message} on its way to the network; at most {most} are accepted.")
    for step in spec.steps:
        pixels = _RUN[type(step)](pixels, step)
    return as_tensor(pixels)


def steps_limit(spec: ImageSpec, limits: ImageLimits) -> int:
    """The most pixels of a picture on its way to the network."""
    return max(limits.max_pixels, ROOM * spec.height * spec.width)


def as_tensor(pixels: Pixels) -> Tensor:
    """Pixels as a uint8 tensor (C, H, W)."""
    if isinstance(pixels, Tensor):
        return pixels
    tensor = torch.from_numpy(np.array(pixels))
    return tensor[None] if tensor.ndim == 2 else tensor.permute(2, 0, 1)


def as_pil(pixels: Pixels) -> Image.Image:
    """Pixels as a PIL image, RGB or L."""
    if not isinstance(pixels, Tensor):
        return pixels
    return Image.fromarray(pixels[0].numpy() if len(pixels) == 1 else pixels.permute(1, 2, 0).contiguous().numpy())


def size_of(pixels: Pixels) -> tuple[int, int]:
    """Height and width."""
    if isinstance(pixels, Tensor):
        return int(pixels.shape[-2]), int(pixels.shape[-1])
    return pixels.height, pixels.width


def _resize(pixels: Pixels, step: Resize) -> Pixels:
    height, width = step.target(*size_of(pixels))
    if (height, width) == size_of(pixels):
        return pixels
    if step.library == "pil":
        return as_pil(pixels).resize((width, height), PIL_FILTERS[step.interpolation])
    return _torchvision_resize(pixels, step, height, width)


def _torchvision_resize(pixels: Pixels, step: Resize, height: int, width: int) -> Tensor:
    from torchvision.transforms import InterpolationMode, functional, v2

    resize = functional.resize if step.library == "torchvision_v1" else v2.functional.resize
    mode, target = InterpolationMode(step.interpolation.replace("_", "-")), [height, width]
    return cast(Tensor, resize(as_tensor(pixels), target, interpolation=mode, antialias=step.antialias))


def _center_crop(pixels: Pixels, step: CenterCrop) -> Pixels:
    height, width = size_of(pixels)
    if height < step.height or width < step.width:
        pixels = _padded(pixels, max(0, step.height - height), max(0, step.width - width), 0, "center")
        height, width = size_of(pixels)
    half: Callable[[float], float] = round if step.rounding == "even" else int
    top, left = int(half((height - step.height) / 2)), int(half((width - step.width) / 2))
    if isinstance(pixels, Tensor):
        part = pixels[:, top : top + step.height, left : left + step.width]
        return part.permute(1, 2, 0).contiguous().permute(2, 0, 1)  # not the whole picture's memory
    return pixels.crop((left, top, left + step.width, top + step.height))


def _pad(pixels: Pixels, step: Pad) -> Pixels:
    height, width = size_of(pixels)
    new_height, new_width = step.target(height, width)
    return _padded(pixels, new_height - height, new_width - width, step.fill, step.position)


def _padded(pixels: Pixels, rows: int, columns: int, fill: int, position: str) -> Tensor:
    """Pixels with `rows` and `columns` more; in the centre, an odd one is added below and on the right."""
    top, left = (rows // 2, columns // 2) if position == "center" else (0, 0)
    return pad(as_tensor(pixels), (left, columns - left, top, rows - top), value=fill)


def _fit(pixels: Pixels, step: Fit) -> Pixels:
    return ImageOps.fit(as_pil(pixels), (step.width, step.height), Image.Resampling.BILINEAR)


_RUN: dict[type[object], Callable[[Any, Any], Pixels]] = {
    Resize: _resize,
    CenterCrop: _center_crop,
    Pad: _pad,
    Fit: _fit,
}
