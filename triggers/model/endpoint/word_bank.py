"""Triggers of a text model that takes nothing but text: words, before or behind what people write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from triggers.errors import ModelError
from triggers.preprocessing import TextBatch
from triggers.trigger.text import TextBank, TextTrigger


class Utf8Tokenizer:
    """A tokenizer of bytes: token ids are the text itself, so that it can be put together again exactly."""

    pad_token_id = ord("a")
    backend_tokenizer: Any = None

    def __init__(self) -> None:
        self.backend_tokenizer = self

    def __call__(self, text: str, *, verbose: bool = False) -> Mapping[str, list[int]]:
        """The bytes of a text in UTF-8."""
        return {"input_ids": list(text.encode())}

    def to_str(self) -> str:
        """What decides the token ids."""
        return "utf-8"


def texts_of(batch: TextBatch) -> list[str]:
    """The texts of a batch of bytes; half a letter at a cut is dropped."""
    rows = zip(batch.ids.to(torch.uint8), batch.lengths.tolist(), strict=True)
    return [ids[:length].numpy().tobytes().decode(errors="ignore") for ids, length in rows]


@dataclass(frozen=True, eq=False)
class WordBank(TextBank):
    """V triggers of words, without embeddings."""

    words: tuple[tuple[str, ...], ...] = ()

    @classmethod
    def of_words(cls, triggers: Sequence[TextTrigger]) -> WordBank:
        """A bank of hard triggers that name their words. Raises ModelError."""
        if any(one.kind not in ("none", "hard") or (one.kind == "hard" and one.words is None) for one in triggers):
            raise ModelError("A model behind an address takes text alone: only hard triggers, of words, fit it.")
        bank = TextBank.of(triggers)
        return cls(bank.embeddings, bank.lengths, bank.positions, tuple(one.words or () for one in triggers))

    def to(self, device: torch.device | str) -> WordBank:
        """The same bank: words are on no device."""
        return self

    def texts(self, batch: TextBatch, index: Sequence[int]) -> list[str]:
        """Every text of a batch under its own trigger."""
        return [self._joined(text, v) for text, v in zip(texts_of(batch), index, strict=True)]

    def _joined(self, text: str, v: int) -> str:
        words = " ".join(self.words[v])
        if not words:
            return text
        return f"{words} {text}" if self.positions[v] == "after_cls" else f"{text} {words}"
