"""A CSV file of any size: read once from top to bottom, then any record again from its offset, without keeping them."""

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

from trainer.data.sources.file_stamps import FileStamp
from triggers.errors import DataError
from triggers.storage.regular_file import open_regular

CsvRecord = dict[str, str]


class CsvFile:
    """A file in UTF-8 with a header. Values are stripped; blank lines are no records. Raises DataError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offsets = array("q", [0])  # offsets in bytes: start of the first record, then the end of each
        self._stamp = FileStamp.of(path)
        self._records = self._read()
        self.names: Sequence[str] = next(self._records, [])

    def __len__(self) -> int:
        """Records read so far."""
        return len(self._offsets) - 1

    def records(self) -> Iterator[CsvRecord]:
        """All records in their order; to be called once, before anything else."""
        for number, line in enumerate(self._records, start=1):
            if len(line) != len(self.names):
                problem = f"{len(line)} fields, but the header names {len(self.names)}"
                raise DataError(f"{self.path}, row {number}: {problem}.")
            yield self._named(line)

    def record(self, row: int) -> CsvRecord:
        """Read a record again, rows counted from 0."""
        lines = _Lines(BytesIO(self._bytes[self._offsets[row] : self._offsets[row + 1]]))
        return next(self._named(line) for line in csv.reader(lines, strict=True) if line)

    def stamp(self, row: int) -> FileStamp | None:
        """The file's stamp and the record's place in it."""
        return self._stamp and self._stamp.at(self._offsets[row])

    def _named(self, line: Sequence[str]) -> CsvRecord:
        return {name: value.strip() for name, value in zip(self.names, line, strict=True)}

    def _read(self) -> Iterator[list[str]]:
        """The fields of the header, then of each record, whose end offset is kept."""
        try:
            with open_regular(self.path) as file:
                if file.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
                    file.seek(0)
                lines = _Lines(file)
                for number, line in enumerate(filter(None, csv.reader(lines, strict=True))):
                    if number == 0:
                        self._offsets[0] = lines.position
                    else:
                        self._offsets.append(lines.position)
                    yield line
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            advice = "Set data.path to a CSV file in UTF-8 with a header"
            raise DataError(f"Cannot read {self.path}: {error}. {advice}.") from error

    @cached_property
    def _bytes(self) -> mmap.mmap:
        with open_regular(self.path) as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


class _Lines:
    """Decoded lines of a file, and the offset behind the last one that was taken."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.position = file, file.tell()

    def __iter__(self) -> Iterator[str]:
        for line in self._file:
            self.position += len(line)
            yield line.decode()
