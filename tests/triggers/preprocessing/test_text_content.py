"""What counts as a text, and what is refused in place of tokens that nobody meant."""

from __future__ import annotations

import encodings
from random import Random
from typing import Any

import pytest

from tests.mutations import broken_text
from triggers.errors import InputError
from triggers.model import FrozenClassifier
from triggers.preprocessing import TextSpec, TokenIds
from triggers.preprocessing.preprocess import encode_text
from triggers.preprocessing.text_content import decode_text, known_charset, readable_text
from triggers.preprocessing.text_template import TextTemplate


def refusal(text: str) -> str:
    with pytest.raises(InputError) as caught:
        readable_text(text)
    return caught.value.code


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n\t",
        "\u200b\u200d",
        "\u0301\u0300",
        "\x01\x1b\x7f",
        "\u3164\u3164",
        "\u2800",
        "\ufeff",
        "\U000e0100\ufe0f",
        "\xad",
    ],
)
def test_a_text_that_cannot_be_seen_is_empty(text: str) -> None:
    assert refusal(text) == "empty_text"


@pytest.mark.parametrize("text", ["\0", "go\0away", "w\0h\0a\0t\0", "go away \ud83d", "\udc00"])
def test_nuls_and_halves_of_characters_are_no_text(text: str) -> None:
    assert refusal(text) == "not_text"


@pytest.mark.parametrize(
    "text", ["a", "7", "?", "é", "e\u0301", "你", "👍🏽", "\U0001fae8", "☹\ufe0f", " a\u200b", "\x1b[1mbold"]
)
def test_what_can_be_seen_is_a_text(text: str) -> None:
    assert readable_text(text) == text


def test_a_byte_order_mark_is_no_part_of_a_text(text_model: FrozenClassifier) -> None:
    assert text_model.preprocess("\ufeffgood") == text_model.preprocess("good")


@pytest.mark.parametrize(
    "charset", ["utf-8", "UTF-16LE", "utf-16", "utf-32-be", "utf8", "iso-8859-1", "latin-1", "windows-1252", "cp1252"]
)
def test_texts_in_stated_encodings(charset: str) -> None:
    assert known_charset(charset)
    assert readable_text(decode_text("what a lovely café".encode(charset), charset)) == "what a lovely café"


@pytest.mark.parametrize(
    "charset", ["", "klingon", "idna", "punycode", "unicode_escape", "zlib", "rot13", "utf-7", "utf-8\0"]
)
def test_other_encodings_are_unknown(charset: str) -> None:
    assert not known_charset(charset)


def test_an_unknown_encoding_is_not_remembered() -> None:
    before = len(encodings._cache)
    assert not any(known_charset(f"x-{n}") for n in range(100))
    assert len(encodings._cache) == before


def test_bytes_of_another_encoding_are_refused() -> None:
    with pytest.raises(InputError, match="not UTF-16LE"):
        decode_text(b"odd", "utf-16le")


class _Fixed:
    """A tokenizer that always says the same, or fails."""

    def __init__(self, ids: list[int] | None) -> None:
        self._ids, self.all_special_ids = ids, [1, 2]

    def __call__(self, text: str, *, verbose: bool) -> dict[str, Any]:
        if self._ids is None:
            raise ZeroDivisionError(text)
        return {"input_ids": self._ids}


@pytest.mark.parametrize(("ids", "code"), [([1, 2], "empty_text"), ([], "empty_text"), (None, "not_text")])
def test_a_tokenizer_that_finds_nothing_or_fails(ids: list[int] | None, code: str) -> None:
    with pytest.raises(InputError) as caught:
        encode_text("?", _Fixed(ids), TextSpec(8), TextTemplate((1,), (2,)))
    assert caught.value.code == code


def test_two_thousand_broken_texts_are_read_or_refused(text_model: FrozenClassifier) -> None:
    """`make soak` tries a hundred thousand."""
    read = 0
    for seed in range(2000):
        text = broken_text(Random(seed))
        try:
            found = text_model.preprocess(text)
        except InputError as error:
            assert error.code in ("empty_text", "not_text")
            continue
        assert isinstance(found, TokenIds) and found.ids
        read += 1
    assert 500 < read < 1900
