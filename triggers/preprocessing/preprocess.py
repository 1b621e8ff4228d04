"""Preprocessing for training and serving: bytes to a uint8 image at network size, text to token ids."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from triggers.errors import InputError
from triggers.preprocessing.jpeg import decode_plain, plain_size
from triggers.preprocessing.text_template import TextTemplate, Tokenizer

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")


@dataclass(frozen=True)
class ImageSpec:
    """The image input of a network; `squash` ignores the aspect ratio, `crop` cuts the centre of the short side."""

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channels: int = 3
    resize: Literal["squash", "crop"] = "squash"


Padding: TypeAlias = Literal["right", "left", "none"]
"""Where short texts of a batch are filled up; with `none` only texts of one length share a forward pass."""


@dataclass(frozen=True)
class TextSpec:
    """The text input of a network: at most `max_tokens`, special tokens included, trigger tokens not.

    `padding` is what the network is exact under: `right` for encoders, `left` for decoders, which read the last
    position, and `none`, slow, for networks that ignore masks.
    """

    max_tokens: int
    padding: Padding = "right"


@dataclass(frozen=True)
class ImageLimits:
    """Limits of a client's image: bytes of the file and pixels it claims to hold, checked before decoding."""

    max_bytes: int = 16 * 1024 * 1024
    max_pixels: int = 50_000_000


@dataclass(frozen=True)
class TokenIds:
    """Token ids of one text, special tokens included; `truncated` says that words were dropped."""

    ids: tuple[int, ...]
    truncated: bool


@dataclass(frozen=True, eq=False)
class TextBatch:
    """Padded token ids (N, L) and the true length (N,) of every row.

    `pieces` may say, for rows sorted by length, how many consecutive ones fit into which width: (rows, width) each.
    """

    ids: Tensor
    lengths: Tensor
    pieces: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, items: Sequence[Sequence[int]], pad_id: int) -> TextBatch:
        """Pad token id sequences to the longest of them."""
        lengths = torch.tensor([len(item) for item in items])
        ids = torch.full((len(items), int(lengths.max())), pad_id)
        for row, item in enumerate(items):
            ids[row, : len(item)] = torch.tensor(item)
        return cls(ids, lengths)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: Tensor) -> TextBatch:
        """The chosen rows, cut to the longest of them."""
        lengths = self.lengths[index]
        return TextBatch(self.ids[index, : int(lengths.max())], lengths)

    def to(self, device: torch.device | str) -> TextBatch:
        """The same rows on another device."""
        return replace(self, ids=self.ids.to(device), lengths=self.lengths.to(device))


Inputs: TypeAlias = Tensor | TextBatch
"""Images as uint8 (N, C, S, S), or a TextBatch."""


def decode_image(data: bytes, spec: ImageSpec, limits: ImageLimits | None = None) -> Tensor:
    """An image file as uint8 (C, S, S). Raises InputError; nothing is decoded before the header passed the limits."""
    limits = limits or ImageLimits()
    if len(data) > limits.max_bytes:
        message = f"The image has {len(data)} bytes; at most {limits.max_bytes} are accepted."
        raise InputError("image_too_large", message)
    if (pixels := _plain_jpeg(data, spec, limits)) is not None:
        return pixels
    image = _open(data, limits)
    try:
        image = _resize(_to_mode(ImageOps.exif_transpose(image), spec.channels), spec)
    except (OSError, ValueError, SyntaxError, IndexError, EOFError, MemoryError) as error:
        raise InputError("image_undecodable", f"The image is damaged or cut short: {error}") from error
    return _to_tensor(image, spec)


def claimed_pixels(data: bytes, limits: ImageLimits) -> int:
    """Pixels that an image file claims to hold; 0 for one that is refused unread. Reads its header, decodes nothing."""
    if len(data) > limits.max_bytes:
        return 0
    size = plain_size(data)
    try:
        width, height = size or _open(data, limits).size
    except InputError:
        return 0
    return width * height if width * height <= limits.max_pixels else 0


def _plain_jpeg(data: bytes, spec: ImageSpec, limits: ImageLimits) -> Tensor | None:
    """The image from the fast JPEG decoder; None where it does not apply."""
    size = plain_size(data)
    if size is None or spec.channels != 3:
        return None
    _check_pixels(*size, limits)
    if size[0] * size[1] > ImageLimits.max_pixels:
        return None
    pixels = decode_plain(data)
    if pixels is None or (size == (spec.size, spec.size) and spec.resize == "squash"):
        return pixels
    return _to_tensor(_resize(Image.fromarray(pixels.permute(1, 2, 0).numpy()), spec), spec)


def _to_tensor(image: Image.Image, spec: ImageSpec) -> Tensor:
    pixels = np.asarray(image, dtype=np.uint8).reshape(spec.size, spec.size, spec.channels)
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())


def _open(data: bytes, limits: ImageLimits) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError("image_too_many_pixels", f"The image claims too many pixels: {error}") from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, EOFError) as error:
        known = ", ".join(FORMATS)
        raise InputError("not_an_image", f"The bytes are not an image in a known format ({known}).") from error
    _check_pixels(*image.size, limits)
    if getattr(image, "n_frames", 1) > 1:
        raise InputError("animated_image", "The image has several frames; send the one that is to be classified.")
    return image


def _check_pixels(width: int, height: int, limits: ImageLimits) -> None:
    if width * height > limits.max_pixels:
        message = f"The image claims {width} x {height} pixels; at most {limits.max_pixels} in all are accepted."
        raise InputError("image_too_many_pixels", message)


def _to_mode(image: Image.Image, channels: int) -> Image.Image:
    """Any colour mode to RGB or grey: 16 bits are scaled to 8, transparency is laid on black."""
    if image.mode.startswith("I") or image.mode == "F":
        wide = np.asarray(image, dtype=np.float64)
        image = Image.fromarray((np.clip(wide / 257.0, 0, 255) + 0.5).astype(np.uint8))
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba)
    return image.convert("RGB" if channels == 3 else "L")


def _resize(image: Image.Image, spec: ImageSpec) -> Image.Image:
    target = (spec.size, spec.size)
    if spec.resize == "crop":
        return ImageOps.fit(image, target, Image.Resampling.BILINEAR)
    return image if image.size == target else image.resize(target, Image.Resampling.BILINEAR)


def encode_text(text: str, tokenizer: Tokenizer, spec: TextSpec, template: TextTemplate) -> TokenIds:
    """Tokenise one text with special tokens; a long one is cut to `max_tokens` and marked, a blank one refused.

    The cut is made here: a fast tokenizer's own truncation is a setting, which threads would overwrite.
    """
    if not text.strip():
        raise InputError("empty_text", "The text is empty.")
    ids = tuple(tokenizer(text, verbose=False)["input_ids"])
    if not ids:
        raise InputError("empty_text", "The tokenizer finds no word in the text.")
    if len(ids) <= spec.max_tokens:
        return TokenIds(ids, truncated=False)
    return TokenIds(ids[: spec.max_tokens - len(template.suffix)] + template.suffix, truncated=True)
