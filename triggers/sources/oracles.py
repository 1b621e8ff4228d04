"""Oracles: the source's own pipeline, input by input, which a bundle's predictions are compared with."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from triggers.errors import InputError
from triggers.preprocessing import ImageSpec

if TYPE_CHECKING:
    from torch import Tensor

    from triggers.model.head import Head

RawInput = bytes | str
"""An image file or a text, as a client sends it."""


@dataclass(frozen=True)
class Oracle:
    """A source's own way from one raw input to the score of every label, in the bundle's order."""

    name: str
    scores: Callable[[RawInput], Sequence[float]]


def stated_pixels_oracle(
    name: str, run: Callable[[Tensor], Tensor], image: ImageSpec, head: Head, labels: int
) -> Oracle:
    """A network alone, one picture at a time, where nothing but the owner says how pictures are prepared.

    The preparation is the bundle's own, so that the network, the head and batches are compared, not the preparation.
    """
    import torch

    from triggers.model.head import head_logits
    from triggers.preprocessing.preprocess import decode_image

    mean, std = (torch.tensor(part, dtype=torch.float64).view(-1, 1, 1) for part in (image.mean, image.std))

    def scores(data: RawInput) -> Sequence[float]:
        if not isinstance(data, bytes):
            raise InputError("not_an_image", "An image is needed here.")
        pixels = ((decode_image(data, image).double() / 255 - mean) / std).float()[None]
        with torch.no_grad():
            outputs = run(pixels.flip(1) if image.channel_order == "BGR" else pixels)
            found: list[float] = head_logits(head, outputs, labels)[0].softmax(dim=0).tolist()
        return found

    return Oracle(name, scores)


def open_rgb(data: RawInput) -> object:
    """A picture as most pipelines open it: turned as its EXIF block says, then `convert("RGB")`, a PIL image."""
    from PIL import Image, ImageOps

    if not isinstance(data, bytes):
        raise InputError("not_an_image", "An image is needed here.")
    return ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
