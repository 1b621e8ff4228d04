"""Preprocessing for training and serving: bytes to a uint8 image at network size, text to token ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor

from triggers.errors import InputError
from triggers.preprocessing.image_files import ImageLimits, check_bytes, check_pixels, read_image
from triggers.preprocessing.image_pipeline import Pixels, run_pipeline, size_of
from triggers.preprocessing.image_spec import ImageSpec
from triggers.preprocessing.jpeg import decode_plain, plain_size
from triggers.preprocessing.text_content import readable_text

_SHORT = 3
"""Most special tokens around a text: one of so few tokens may hold nothing else."""


@dataclass(frozen=True)
class TextSpec:
    """The text input of a network: at most `max_tokens`, special tokens included, trigger tokens not."""

    max_tokens: int

    def fields(self) -> dict[str, Any]:
        """Everything stated, for cards and the fingerprint."""
        return asdict(self)


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


class Tokenizer(Protocol):
    """The part of a `transformers` tokenizer that is used here."""

    @property
    def all_special_ids(self) -> list[int]: ...

    def __call__(self, text: str, *, verbose: bool) -> Mapping[str, list[int]]: ...


def decode_image(data: bytes, spec: ImageSpec, limits: ImageLimits | None = None) -> Tensor:
    """An image file as uint8 (C, S, S). Raises InputError; nothing is decoded before the header passed the limits."""
    limits = limits or ImageLimits()
    check_bytes(data, limits)
    try:
        plain = _plain_jpeg(data, spec, limits)
        return _prepared(read_image(data, spec.channels, spec.alpha, limits) if plain is None else plain, spec, limits)
    except InputError:
        raise
    except Exception as error:  # such as no memory, or a decoder's own of any kind
        raise InputError("image_undecodable", f"The image cannot be decoded: {error!r}") from error


def _plain_jpeg(data: bytes, spec: ImageSpec, limits: ImageLimits) -> Tensor | None:
    """The image from the fast JPEG decoder; None where it does not apply."""
    size = plain_size(data)
    if size is None or spec.channels != 3:
        return None
    check_pixels(*size, limits)
    if size[0] * size[1] > ImageLimits.max_pixels:
        return None
    return decode_plain(data)


def _prepared(pixels: Pixels, spec: ImageSpec, limits: ImageLimits) -> Tensor:
    """The pixels through all steps, none of which may need more room than an image: the shorter edge of a strip would.

    Up to four times what the network sees is fine, also for an image that claims to be small.
    """
    size, room = size_of(pixels), ImageLimits(max_pixels=max(limits.max_pixels, 4 * spec.height * spec.width))
    for step in spec.steps:
        size = step.target(*size)
        check_pixels(size[1], size[0], room)
    return run_pipeline(pixels, spec)


def encode_text(text: str, tokenizer: Tokenizer, spec: TextSpec) -> TokenIds:
    """Tokenise one text with special tokens; a long one is cut to `max_tokens` and marked, a blank one refused.

    The cut is made here: a fast tokenizer's own truncation is a setting, which threads would overwrite.
    """
    ids = _token_ids(readable_text(text), tokenizer)
    if len(ids) <= _SHORT and ids == _token_ids("", tokenizer):
        raise InputError("empty_text", "The tokenizer of this model finds no word in the text.")
    if len(ids) <= spec.max_tokens:
        return TokenIds(ids, truncated=False)
    frame = _token_ids("", tokenizer)  # [CLS] [SEP]; a text's own [UNK] is special too
    end = next(n for n in range(len(frame), -1, -1) if ids[len(ids) - n :] == frame[len(frame) - n :])
    return TokenIds(ids[: spec.max_tokens - end] + ids[len(ids) - end :], truncated=True)


def _token_ids(text: str, tokenizer: Tokenizer) -> tuple[int, ...]:
    try:
        return tuple(tokenizer(text, verbose=False)["input_ids"])
    except Exception as error:  # a tokenizer's own, of any kind
        raise InputError("not_text", f"The tokenizer of this model cannot read the text: {error}") from error
