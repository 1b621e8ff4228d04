"""A CSV file as large as it likes: read once from top to bottom, and then any record again, without keeping them."""

from __future__ import annotations

import codecs
import csv
import mmap
from array import array
from collections.abc import Iterator, Sequence
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from trainer.stamps import Stamp
from triggers.errors import DataError
from triggers.regular_file import open_regular

Record = dict[str, str]


class CsvFile:
    """A file in UTF-8 with a header. Values are stripped; blank lines are no records. Raises DataError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._places = array("q", [0])  # where each record ends, behind where the first one begins
        self._stamp = Stamp.of(path)
        self._records = self._read()
        self.names: Sequence[str] = next(self._records, [])

    def __len__(self) -> int:
        """Records read so far."""
        return len(self._places) - 1

    def records(self) -> Iterator[Record]:
        """All records in their order; to be called once, before anything else."""
        for number, line in enumerate(self._records, start=1):
            if len(line) != len(self.names):
                problem = f"{len(line)} fields, but the header names {len(self.names)}"
                raise DataError(f"{self.path}, row {number}: {problem}.")
            yield self._named(line)

    def record(self, row: int) -> Record:
        """A record again, rows counted from 0."""
        lines = _Lines(BytesIO(self._bytes[self._places[row] : self._places[row + 1]]))
        return next(self._named(line) for line in csv.reader(lines, strict=True) if line)

    def stamp(self, row: int) -> Stamp | None:
        """The file's stamp and the record's place in it."""
        return self._stamp and self._stamp.at(self._places[row])

    def _named(self, line: Sequence[str]) -> Record:
        return {name: value.strip() for name, value in zip(self.names, line, strict=True)}

    def _read(self) -> Iterator[list[str]]:
        """The fields of the header, then of each record, whose end is noted."""
        try:
            with open_regular(self.path) as file:
                if file.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
                    file.seek(0)
                lines = _Lines(file)
                for number, line in enumerate(filter(None, csv.reader(lines, strict=True))):
                    if number == 0:
                        self._places[0] = lines.position
                    else:
                        self._places.append(lines.position)
                    yield line
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            advice = "Set data.path to a CSV file in UTF-8 with a header"
            raise DataError(f"Cannot read {self.path}: {error}. {advice}.") from error

    @cached_property
    def _bytes(self) -> mmap.mmap:
        with open_regular(self.path) as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


class _Lines:
    """Decoded lines of a file, and the place behind the last one that was taken."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.position = file, file.tell()

    def __iter__(self) -> Iterator[str]:
        for line in self._file:
            self.position += len(line)
            yield line.decode()
