"""A data set before decoding: rows of plain strings, and the rules for groups by words and for pools."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from trainer.config import DataConfig
from trainer.config.run_config import Modality
from trainer.data.sources.file_stamps import FileStamp
from triggers.errors import DataError
from triggers.storage.regular_file import read_regular

MENTION_GROUPS = ("not mentioned", "mentioned")

POOLS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **{name: name for name in ("base", "tuning", "test")},
}


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One example. `group` "" means not known; `pool` "" means that the data has no partition of its own.

    Where groups overlap, `group` holds those of the row joined by " + " in the layout's order, or "none". A row that is
    not `usable` keeps its place, so that rows have the numbers of the data, and is in no part.
    """

    id: str
    label: str
    group: str
    pool: str
    usable: bool = True


class Source(Protocol):
    """An opened data set: its rows, and the raw input of each."""

    @property
    def modality(self) -> Modality:
        """What `read` returns: an image file's bytes, or a text."""

    @property
    def rows(self) -> Sequence[SourceRow]:
        """All rows, in the order of the data."""

    @property
    def label_names(self) -> tuple[str, ...]:
        """The labels in the order that the data's own layout gives them; empty when it gives none."""

    @property
    def group_names(self) -> tuple[str, ...]:
        """The groups in the order that the data's own layout gives them; empty when it gives none.

        Where groups overlap: the single groups, of which rows join several.
        """

    @property
    def notes(self) -> Sequence[str]:
        """Notes for the user on how the data was read, one line each."""

    def stamp(self, row: int) -> FileStamp | None:
        """Stamp of a row's raw input, found without reading it; None where only its content identifies it."""

    def read(self, row: int) -> bytes | str:
        """The raw input of a row, as a client would send it. Safe to call from several threads."""


class WordList:
    """A list of words to find in texts: whole words, any case; "word*" also matches longer words."""

    def __init__(self, words: Sequence[str]) -> None:
        words = [word.strip() for word in words if word.strip()]
        if not words:
            raise DataError("The list of group words is empty; name at least one in data.group_words.")
        parts = [re.escape(word.removesuffix("*")) + (r"\w*" if word.endswith("*") else "") for word in words]
        self._pattern = re.compile(rf"(?<!\w)(?:{'|'.join(parts)})(?!\w)", re.IGNORECASE)

    def group(self, text: str) -> str:
        """`mentioned` or `not mentioned`."""
        return MENTION_GROUPS[self._pattern.search(text) is not None]


def word_list(data: DataConfig) -> WordList | None:
    """The word list of [data], or None where the group is a column. Raises DataError."""
    if data.group_words:
        return WordList(data.group_words)
    return WordList(read_words(data.group_words_file)) if data.group_words_file else None


def read_words(path: Path) -> list[str]:
    """Words of a file, one per line; blank lines and lines with # in front are left out. Raises DataError."""
    try:
        lines = read_regular(path).decode().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"Cannot read the word list {path}: {error}") from error
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def pool_of(value: str, where: str) -> str:
    """The pool that a partition's value names. Raises DataError."""
    pool = POOLS.get(value.strip().lower())
    if pool is None:
        raise DataError(
            f"{where}: split {value!r} is not known; use train, val or test (or base, tuning), or name "
            f"what it means in split.column_map."
        )
    return pool
