"""A table of records, whatever kind of file it is in: its columns, its records once, and any value again."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol, TypeAlias

from trainer.data.sources.bad_rows import BadRecord
from trainer.data.sources.file_stamps import FileStamp

Record: TypeAlias = Mapping[str, str]
"""The values of a row by column, stripped; "" is a missing value."""
WHOLE_FLOAT = 2.0**53
"""Floats below it that are whole are written like whole numbers: a column with gaps turns its numbers into floats."""


class InputRecords(Protocol):
    """Rows numbered from 0 that are read once, in their order."""

    @property
    def names(self) -> Sequence[str]:
        """The columns."""

    @property
    def notes(self) -> Sequence[str]:
        """How the file was read, one line each, where that is not plain."""

    def kind(self, column: str) -> str:
        """What a column holds: "text", as paths are too, "image" for files in it, or the name of another type."""

    def class_names(self, column: str) -> tuple[str, ...]:
        """The names of a column of classes, which stand in its records, in the order of their indices; else ()."""

    def size(self) -> int:
        """The number of rows; a file that does not state it is read through."""

    def inputs(self, columns: Collection[str], column: str) -> Iterator[tuple[Record | BadRecord, Any]]:
        """The `columns` of all rows, each beside its input, `column` as `Table.value` has it; to be called once."""

    def where(self, row: int) -> str:
        """The file and the place in it, for errors."""


class Table(InputRecords, Protocol):
    """Rows whose values are also read again from the file, safely from several threads."""

    def records(self, columns: Collection[str]) -> Iterator[Record | BadRecord]:
        """The `columns` of all rows; to be called once, before all that follows."""

    def value(self, row: int, column: str) -> Any:
        """A row's input: a text or path, the bytes of a file, or a mapping of `bytes` and `path`. Raises DataError."""

    def stamp(self, row: int, column: str) -> FileStamp | None:
        """Stamp of that input, found without reading it."""

    def row_id(self, row: int) -> str:
        """A row's name among all rows."""


def cell_text(value: object) -> str:
    """A typed value as a CSV file would have it: missing is empty, true and false are 1 and 0, 1.0 is 1.

    Raises ValueError for a list or a section.
    """
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float):
        if math.isnan(value):
            return ""
        return str(int(value)) if value.is_integer() and abs(value) < WHOLE_FLOAT else str(value)
    if isinstance(value, list | tuple | dict):
        raise ValueError(f"holds {len(value)} values; each row needs one")
    return "" if value is None else str(value).strip()


def leaves(record: Mapping[str, Any], inside: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested records with their dotted names."""
    for name, value in record.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{inside}{name}.")
        else:
            yield f"{inside}{name}", value


def beside_texts(records: Iterator[Record | BadRecord], column: str) -> Iterator[tuple[Record | BadRecord, str | None]]:
    """Records of a table of texts, each beside its input, which is one of its columns; None beside a bad one."""
    return ((record, None if isinstance(record, BadRecord) else record[column]) for record in records)


def typed_value(values: Mapping[str, Any], column: str) -> Any:
    """A column of a record with nested values; a name with dots is that of a part."""
    return values[column] if column in values else dict(leaves(values)).get(column)


def record_of(
    values: Mapping[str, Any], columns: Collection[str], classes: Mapping[str, tuple[str, ...]] = MappingProxyType({})
) -> Record | BadRecord:
    """The columns of a row out of its typed values; those of `classes` hold indices of names, or -1 for none."""
    cells = {}
    for column in columns:
        value = values.get(column)
        if column in classes and isinstance(value, int):
            value = classes[column][value] if value >= 0 else None
        try:
            cells[column] = cell_text(value)
        except ValueError as error:
            return BadRecord("lists in place of values", f"{column} {error}")
    return cells
