"""A file of JSON objects, one a line, or of one list of them; nested keys have dotted names (`meta.gender`)."""

from __future__ import annotations

import json
from array import array
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from trainer.data.sources.bad_rows import BadRecord
from trainer.data.sources.file_stamps import FileStamp
from trainer.data.sources.tables.table import Record, beside_texts, cell_text, leaves, record_of
from trainer.data.sources.tables.text_file import TextFile
from triggers.errors import DataError

FORMS = "Set data.path to a file with one JSON object a line, or with one list of objects"


class JsonlFile:
    """Records as JSON; blank lines are none. The columns are all keys that any record has. Raises DataError.

    The file is read twice, as a key may come late. A list is taken apart into a temporary file of lines.
    """

    def __init__(self, path: Path, encoding: str | None = None) -> None:
        self.path = path
        self._text = TextFile(path, encoding)
        self._listed = self._text.first_character() == "["
        if self._listed:
            self._text.replace_content(self._objects())
        self._positions, self._lines = array("q"), array("q")  # of the records; one more position, where they end
        self._find_records()
        self.names: Sequence[str] = self._keys()
        read = [] if self._text.encoding == "utf-8" else [f"data: {path.name}: encoding {self._text.encoding}"]
        self.notes: Sequence[str] = read

    def kind(self, column: str) -> str:
        """Every column holds text."""
        return "text"

    def class_names(self, column: str) -> tuple[str, ...]:
        """None: classes are names, or numbers whose names are not known."""
        return ()

    def records(self, columns: Collection[str]) -> Iterator[Record | BadRecord]:
        """The columns of all records in their order."""
        for row in range(len(self._lines)):
            try:
                values = self._values(row)
            except ValueError as error:
                yield BadRecord("not JSON", f"not a JSON object: {error}")
            else:
                yield record_of(values, columns)

    def size(self) -> int:
        """The number of records."""
        return len(self._lines)

    def inputs(self, columns: Collection[str], column: str) -> Iterator[tuple[Record | BadRecord, str | None]]:
        """The columns of all records, each beside one of them."""
        return beside_texts(self.records({*columns, column}), column)

    def value(self, row: int, column: str) -> str:
        """A record's value, read again."""
        try:
            return cell_text(self._values(row).get(column))
        except ValueError as error:
            raise DataError(f"{self.where(row)}: {column} {error}.") from error

    def stamp(self, row: int, column: str) -> FileStamp | None:
        """The file's stamp and the value's place in it."""
        return self._text.stamp(self._positions[row], column)

    def row_id(self, row: int) -> str:
        """`row 1` for the first object."""
        return f"row {row + 1}"

    def where(self, row: int) -> str:
        """The file, the row, and its line where rows are lines."""
        return f"{self.path}, row {row + 1}" + ("" if self._listed else f" (line {self._lines[row]})")

    def _find_records(self) -> None:
        lines, position = self._text.lines(), self._text.start
        for line in lines:
            if not line.isspace():
                self._positions.append(position)
                self._lines.append(lines.number)
            position = lines.position
        self._positions.append(position)

    def _keys(self) -> list[str]:
        """The keys of all records that can be read. Raises DataError where hardly any can, as of a table by columns."""
        keys: dict[str, None] = {}
        readable, problem = 0, ""
        for row in range(len(self._lines)):
            try:
                keys |= dict.fromkeys(self._values(row))
                readable += 1
            except ValueError as error:
                problem = problem or f"; {self.where(row)}: {error}"
        if readable < 2:
            raise DataError(f"{self.path} holds {readable} records{problem}. {FORMS}.")
        return list(keys)

    def _values(self, row: int) -> dict[str, Any]:
        return _parsed(self._text.part(self._positions[row], self._positions[row + 1]))

    def _objects(self) -> Iterator[str]:
        try:
            listed = json.loads("".join(self._text.lines()), object_pairs_hook=_without_repeats)
        except ValueError as error:
            raise DataError(f"{self.path} is no JSON: {error}. {FORMS}.") from error
        return (f"{json.dumps(each)}\n" for each in listed)


def _parsed(text: str) -> dict[str, Any]:
    """An object's values by dotted key. Raises ValueError."""
    found = json.loads(text, object_pairs_hook=_without_repeats)
    if not isinstance(found, dict):
        raise ValueError("it is a bare value")
    if "\\ud" in text.lower():
        json.dumps(found, ensure_ascii=False).encode()  # refuses halves of characters
    nested = any(isinstance(value, dict) for value in found.values())
    return _without_repeats(list(leaves(found))) if nested else found


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        twice = next(name for at, (name, _) in enumerate(pairs) if name in dict(pairs[:at]))
        raise ValueError(f"the key {twice!r} is there twice")
    return made
