"""Oracles: the source's own pipeline, input by input, which a bundle's predictions are compared with."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from triggers.errors import InputError

RawInput = bytes | str
"""An image file or a text, as a client sends it."""


@dataclass(frozen=True)
class Oracle:
    """A source's own way from one raw input to the score of every label, in the bundle's order."""

    name: str
    scores: Callable[[RawInput], Sequence[float]]


def open_rgb(data: RawInput) -> object:
    """A picture as most pipelines open it: turned as its EXIF block says, then `convert("RGB")`, a PIL image."""
    from PIL import Image, ImageOps

    if not isinstance(data, bytes):
        raise InputError("not_an_image", "An image is needed here.")
    return ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
