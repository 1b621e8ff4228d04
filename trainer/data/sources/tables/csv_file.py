"""A CSV file of any size: read once from top to bottom, then any record again from its place, without keeping them."""

from __future__ import annotations

import csv
from array import array
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from io import StringIO
from pathlib import Path

from trainer.data.sources.bad_rows import BadRecord
from trainer.data.sources.file_stamps import FileStamp
from trainer.data.sources.tables.csv_dialect import find_dialect, read_fields
from trainer.data.sources.tables.table import Record, beside_texts
from trainer.data.sources.tables.text_file import TextFile
from triggers.errors import DataError

NEVER_CLOSED = "unexpected end of data"  # the csv module's words


class CsvFile:
    """A table in text with a header. Names and values are stripped; blank lines are no records. Raises DataError.

    A column without a name cannot be asked for: programs write the numbers of rows under such a one.
    """

    def __init__(self, path: Path, encoding: str | None = None, delimiter: str | None = None) -> None:
        self.path = path
        self._text = TextFile(path, encoding)
        self._dialect = find_dialect(self._text, delimiter)
        self._positions, self._lines = array("q"), array("q")  # of the records; one more position, where they end
        self._records = self._read()
        self._header = self._checked_header()
        self.names: Sequence[str] = [name for name in self._header if name]
        self.notes: Sequence[str] = self._notes()

    def __len__(self) -> int:
        """Records read so far."""
        return len(self._lines)

    def kind(self, column: str) -> str:
        """Every column holds text."""
        return "text"

    def class_names(self, column: str) -> tuple[str, ...]:
        """None: classes are names, or numbers whose names are not known."""
        return ()

    def records(self, columns: Collection[str] = ()) -> Iterator[Record | BadRecord]:
        """All records in their order, with all columns; to be called once, before anything else."""
        for fields in self._records:
            if isinstance(fields, BadRecord):
                yield fields
            elif len(fields) != len(self._header):
                problem = f"{len(fields)} fields, but the header names {len(self._header)}"
                yield BadRecord("wrong number of fields", problem)
            else:
                yield self._named(fields)

    def size(self) -> int:
        """The number of records, by a reading of the whole file."""
        return sum(1 for _ in read_fields(self._dialect, self._text.lines())) - 1

    def inputs(self, columns: Collection[str], column: str) -> Iterator[tuple[Record | BadRecord, str | None]]:
        """All records, each beside one of its columns."""
        return beside_texts(self.records(), column)

    def record(self, row: int) -> Record:
        """Read a record again."""
        text = self._text.part(self._positions[row], self._positions[row + 1])
        return self._named(next(filter(None, self._dialect.reader(StringIO(text, newline="\n")))))

    def value(self, row: int, column: str) -> str:
        """A record's value, read again."""
        return self.record(row)[column]

    def stamp(self, row: int, column: str) -> FileStamp | None:
        """The file's stamp and the value's place in it."""
        return self._text.stamp(self._positions[row], f"{self._dialect!r} {column}")

    def row_id(self, row: int) -> str:
        """`row 1` for the first record after the header."""
        return f"row {row + 1}"

    def where(self, row: int) -> str:
        """The file, the row and the line that it begins at."""
        return f"{self.path}, row {row + 1} (line {self._lines[row]})"

    def _named(self, fields: Sequence[str]) -> Record:
        return {name: value.strip() for name, value in zip(self._header, fields, strict=True) if name}

    def _checked_header(self) -> list[str]:
        header = next(self._records, None)
        if not isinstance(header, list):
            raise DataError(f"Cannot read the header of {self.path}. Set data.path to a CSV file with a header.")
        names = [name.strip() for name in header]
        twice = [name for name, times in Counter(filter(None, names)).items() if times > 1]
        if any("\0" in name for name in names):
            raise DataError(
                f'{self.path} is not UTF-8; if it is UTF-16, set data.encoding = "utf-16-le" or "utf-16-be".'
            )
        if twice:
            raise DataError(f"{self.path}: two columns are named {twice[0]!r}. Rename one of them in the header.")
        return names

    def _notes(self) -> Sequence[str]:
        said = [] if self._text.encoding == "utf-8" else [f"encoding {self._text.encoding}"]
        said += [str(self._dialect)] if str(self._dialect) else []
        return [f"data: {self.path.name}: {', '.join(said)}"] if said else []

    def _read(self) -> Iterator[list[str] | BadRecord]:
        """The fields of all that is not blank, the header first; places are kept of what follows it."""
        lines = self._text.lines()
        reader, header = self._dialect.reader(lines), True
        while True:
            position, line = lines.position, lines.number + 1
            try:
                fields = next(reader, None)
            except csv.Error as error:
                fields = self._unreadable(error, line, lines.number)
            if fields is None:
                break
            if not fields:
                continue
            if not header:
                self._positions.append(position)
                self._lines.append(line)
            header = False
            yield fields
        self._positions.append(lines.position)

    def _unreadable(self, error: csv.Error, first: int, last: int) -> BadRecord:
        """What cannot be parsed, where later lines can be. Raises DataError where they cannot."""
        lines = f"line {first}" if first == last else f"lines {first} to {last}"
        if NEVER_CLOSED in str(error) or "limit" in str(error):
            problem = f"a quote is opened in the record that begins at line {first} and not closed"
            raise DataError(f"{self.path}, row {len(self) + 1}: {problem} ({error}). Mend it.") from error
        return BadRecord("not CSV", f"{lines}: {error}; a quote within quotes has to be doubled")
