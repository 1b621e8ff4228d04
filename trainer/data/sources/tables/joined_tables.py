"""Several files of one kind as one table; `train`, `validation` or `test` in their names are its column `split`."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from trainer.data.sources.bad_rows import BadRecord
from trainer.data.sources.base import POOLS
from trainer.data.sources.file_stamps import FileStamp
from trainer.data.sources.tables.table import Record, Table
from triggers.errors import DataError


class JoinedTables:
    """Tables by their paths below a folder, one behind the other. All have the same columns. Raises DataError."""

    def __init__(self, folder: Path, tables: Mapping[str, Table]) -> None:
        self._names, self._tables = list(tables), list(tables.values())
        splits = {name: split_of(name) for name in tables}
        unsplit = next((name for name, split in splits.items() if not split), None)
        if unsplit and any(splits.values()):
            raise DataError(f"{folder / unsplit} names no split, as files beside it do: train, validation or test.")
        self._splits = None if unsplit else list(splits.values())
        first = set(self._tables[0].names)
        for name, table in tables.items():
            if odd := first.symmetric_difference(table.names):
                problem = f"column {min(odd)!r} is in only one of {self._names[0]} and {name}"
                raise DataError(f"{folder}: {problem}. Files in one folder need the same columns.")
        self.names: Sequence[str] = [
            *self._tables[0].names,
            *(["split"] if self._splits and "split" not in first else []),
        ]
        self.notes: Sequence[str] = [note for table in self._tables for note in table.notes]
        self._starts = [0]

    def kind(self, column: str) -> str:
        """What a column holds in all tables."""
        return " or ".join(dict.fromkeys(table.kind(column) for table in self._tables))

    def class_names(self, column: str) -> tuple[str, ...]:
        """The names of a column of classes, the same in all tables; else ()."""
        found = {table.class_names(column) for table in self._tables}
        return found.pop() if len(found) == 1 else ()

    def records(self, columns: Collection[str]) -> Iterator[Record | BadRecord]:
        """The columns of all records, table by table."""
        for at, table in enumerate(self._tables):
            split = {"split": self._splits[at]} if self._splits else {}
            self._starts.append(self._starts[-1])
            for record in table.records([name for name in columns if name not in split]):
                self._starts[-1] += 1
                yield record if isinstance(record, BadRecord) else {**record, **split}

    def size(self) -> int:
        """The number of records of all tables."""
        return sum(table.size() for table in self._tables)

    def inputs(self, columns: Collection[str], column: str) -> Iterator[tuple[Record | BadRecord, Any]]:
        """The columns of all records, each beside its input, table by table."""
        for at, table in enumerate(self._tables):
            split = {"split": self._splits[at]} if self._splits else {}
            self._starts.append(self._starts[-1])
            for record, value in table.inputs([name for name in columns if name not in split], column):
                self._starts[-1] += 1
                yield record if isinstance(record, BadRecord) else {**record, **split}, value

    def value(self, row: int, column: str) -> Any:
        """A record's value, read again."""
        table, at = self._place(row)
        return self._tables[table].value(at, column)

    def stamp(self, row: int, column: str) -> FileStamp | None:
        """Stamp of that value in its file."""
        table, at = self._place(row)
        return self._tables[table].stamp(at, column)

    def row_id(self, row: int) -> str:
        """`train.csv row 1`."""
        table, at = self._place(row)
        return f"{self._names[table]} {self._tables[table].row_id(at)}"

    def where(self, row: int) -> str:
        """The file and the place in it."""
        table, at = self._place(row)
        return self._tables[table].where(at)

    def _place(self, row: int) -> tuple[int, int]:
        table = bisect_right(self._starts, row) - 1
        return table, row - self._starts[table]


def split_of(name: str) -> str:
    """The split that a file's name begins with, else the nearest folder of that name; "" if there is none."""
    stem, *folders = PurePosixPath(name).name, *reversed(PurePosixPath(name).parent.parts)
    word = re.split(r"[^a-z]", stem.lower(), maxsplit=1)[0]
    return next((part for part in (word, *map(str.lower, folders)) if part in POOLS), "")
