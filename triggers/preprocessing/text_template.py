"""The template of a tokenizer: the special tokens that it puts around every text, which decide where a trigger goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from triggers.errors import ModelError

SAMPLE_TEXTS = ("a", "7", "the")
"""Texts that a template is read off; it must be the same around each."""


class Tokenizer(Protocol):
    """The part of a `transformers` tokenizer that is used here."""

    def __call__(self, text: str, *, verbose: bool) -> Mapping[str, list[int]]: ...


@dataclass(frozen=True)
class TokenTypes:
    """Token type ids of a single text, as its tokenizer gives them: of the prefix, of every word, of the suffix."""

    prefix: tuple[int, ...]
    word: int
    suffix: tuple[int, ...]

    @property
    def all_zero(self) -> bool:
        """Whether no token has another type than 0."""
        return not any((*self.prefix, self.word, *self.suffix))


@dataclass(frozen=True)
class TextTemplate:
    """Special token ids before a text's first word and behind its last: BERT 1 and 1, GPT-2 none, XLNet 0 and 2."""

    prefix: tuple[int, ...]
    suffix: tuple[int, ...]
    types: TokenTypes | None = None

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> TextTemplate:
        """The template of a tokenizer. Raises ModelError if it does not frame every text alike."""
        frame = tuple(tokenizer("", verbose=False)["input_ids"])
        samples = [tokenizer(text, verbose=False) for text in SAMPLE_TEXTS]
        before = min(_shared(frame, sample["input_ids"]) for sample in samples)
        prefix, suffix = frame[:before], frame[before:]
        for sample in samples:
            ids = tuple(sample["input_ids"])
            if len(ids) < len(frame) or ids[len(ids) - len(suffix) :] != suffix:
                named = type(tokenizer).__name__
                raise ModelError(f"{named} does not put the same special tokens around every text, so it has no frame.")
        return cls(prefix, suffix, _types(samples[0], len(prefix), len(suffix)))

    @property
    def tokens(self) -> int:
        """Special tokens of a text."""
        return len(self.prefix) + len(self.suffix)


def _shared(frame: tuple[int, ...], ids: list[int]) -> int:
    """How many ids both begin with."""
    pairs = zip(frame, ids, strict=False)
    return next((n for n, (one, other) in enumerate(pairs) if one != other), min(len(frame), len(ids)))


def _types(sample: Mapping[str, list[int]], before: int, behind: int) -> TokenTypes | None:
    given = sample.get("token_type_ids")
    if given is None or len(given) <= before + behind:
        return None
    return TokenTypes(tuple(given[:before]), given[before], tuple(given[len(given) - behind :]))
