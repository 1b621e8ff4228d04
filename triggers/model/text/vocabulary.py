"""The words of a tokenizer's vocabulary as plain text, whatever marks it writes where a word begins or ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

ANCHOR = "a"
"""The word before each word whose token is looked up."""
MARKS = ("▁", "Ġ")
"""What SentencePiece and byte-level BPE write where a word begins, behind another word."""
END_MARK = "</w>"
"""What the BPE of GPT-1 and XLM writes where a word ends."""


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """V tokens: `words` as plain text (word pieces as the tokenizer writes them), and masks (V,) of which

    `listable` may be named in a list of words, and `whole` are words of letters only, which the tokenizer gives back
    when they are typed behind another word.
    """

    words: tuple[str, ...]
    listable: Tensor
    whole: Tensor
    special: Tensor

    @classmethod
    def of(cls, tokenizer: Any, size: int) -> Vocabulary:
        """The vocabulary of a tokenizer for `size` word embeddings; those beyond it are no words."""
        tokens = [""] * size
        for token, number in tokenizer.get_vocab().items():
            if number < size:
                tokens[number] = token
        mark = word_mark(tokenizer)
        plain = tokens if mark is None else [_plain(tokenizer, token, mark) for token in tokens]
        words = [word or token for word, token in zip(plain, tokens, strict=True)]
        special = torch.zeros(size, dtype=torch.bool)
        special[[number for number in tokenizer.all_special_ids if number < size]] = True
        listable = torch.tensor([bool(word) for word in plain])
        whole = torch.tensor([word.isalpha() for word in plain]) & ~special
        if mark is not None:
            whole &= _found_again(tokenizer, plain, whole)
        return cls(tuple(words), listable, whole, special | torch.tensor([not token for token in tokens]))


def word_mark(tokenizer: Any) -> str | None:
    """The mark of a word's begin or end; None for WordPiece and whole words, which mark the other pieces."""
    ids = tokenizer(f"{ANCHOR} {ANCHOR}", verbose=False)["input_ids"]
    tokens = tokenizer.convert_ids_to_tokens(ids)
    found = (mark for mark in MARKS if any(token.startswith(mark) for token in tokens))
    return next(found, END_MARK if any(token.endswith(END_MARK) for token in tokens) else None)


def _plain(tokenizer: Any, token: str, mark: str) -> str:
    """A token as a plain word; empty if it is a piece of one."""
    if mark == END_MARK:
        return token.removesuffix(mark) if token.endswith(mark) else ""
    if not token.startswith(mark):
        return ""
    word = token.removeprefix(mark)
    return word if mark == MARKS[0] or word.isascii() else tokenizer.convert_tokens_to_string([token]).strip()


def _found_again(tokenizer: Any, words: Sequence[str], asked: Tensor) -> Tensor:
    """Mask (V,) of the `asked` words that the tokenizer gives back as one token behind ANCHOR."""
    encode = partial(tokenizer, add_special_tokens=False, verbose=False)
    before = encode(ANCHOR)["input_ids"]
    found = torch.zeros(len(words), dtype=torch.bool)
    numbers = asked.nonzero().squeeze(1).tolist()
    if numbers:
        texts = encode([f"{ANCHOR} {words[number]}" for number in numbers])["input_ids"]
        same = [ids == [*before, number] for ids, number in zip(texts, numbers, strict=True)]
        found[torch.tensor(numbers)] = torch.tensor(same)
    return found
