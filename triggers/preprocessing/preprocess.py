"""Preprocessing for training and serving: bytes to a uint8 image at network size, text to token ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from triggers.errors import InputError
from triggers.preprocessing.image_files import ImageLimits, check_bytes, check_pixels, read_image
from triggers.preprocessing.image_pipeline import run_pipeline
from triggers.preprocessing.image_spec import ImageSpec
from triggers.preprocessing.jpeg import decode_plain, plain_size
from triggers.preprocessing.text_content import readable_text
from triggers.preprocessing.text_template import TextTemplate, Tokenizer

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

    def fields(self) -> dict[str, Any]:
        """Everything stated, for cards and the fingerprint; padding on the right is not named, as ever."""
        return {name: value for name, value in asdict(self).items() if (name, value) != ("padding", "right")}


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
"""Images as uint8 (N, C, H, W), or a TextBatch."""


def decode_image(data: bytes, spec: ImageSpec, limits: ImageLimits | None = None) -> Tensor:
    """An image file as uint8 (C, H, W). Raises InputError; nothing is decoded before the header passed the limits."""
    limits = limits or ImageLimits()
    check_bytes(data, limits)
    try:
        pixels = _plain_jpeg(data, spec, limits)
        image = read_image(data, spec.channels, spec.alpha, limits) if pixels is None else pixels
        return run_pipeline(image, spec, limits)
    except InputError:
        raise
    except Exception as error:  # such as no memory, or a decoder's own of any kind
        raise InputError("image_undecodable", f"The image cannot be decoded: {error!r}") from error


def _plain_jpeg(data: bytes, spec: ImageSpec, limits: ImageLimits) -> Tensor | None:
    """The picture from the fast JPEG decoder; None where it does not apply."""
    size = plain_size(data)
    if size is None or spec.channels != 3:
        return None
    check_pixels(*size, limits)
    if size[0] * size[1] > ImageLimits.max_pixels:
        return None
    return decode_plain(data)


def encode_text(text: str, tokenizer: Tokenizer, spec: TextSpec, template: TextTemplate) -> TokenIds:
    """Tokenise one text with special tokens; a long one is cut to `max_tokens` and marked, a blank one refused.

    The cut is made here: a fast tokenizer's own truncation is a setting, which threads would overwrite.
    """
    ids = _token_ids(readable_text(text), tokenizer)
    if not ids or ids == template.prefix + template.suffix:
        raise InputError("empty_text", "The tokenizer of this model finds no word in the text.")
    if len(ids) <= spec.max_tokens:
        return TokenIds(ids, truncated=False)
    return TokenIds(ids[: spec.max_tokens - len(template.suffix)] + template.suffix, truncated=True)


def _token_ids(text: str, tokenizer: Tokenizer) -> tuple[int, ...]:
    try:
        return tuple(tokenizer(text, verbose=False)["input_ids"])
    except Exception as error:  # a tokenizer's own, of any kind
        raise InputError("not_text", f"The tokenizer of this model cannot read the text: {error}") from error
