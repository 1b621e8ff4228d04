"""The dialect of a CSV file: its delimiter and its rule for quotes, found by what reads as a table."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from trainer.data.sources.tables.text_file import TextFile

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
SAMPLE_CHARACTERS = 2**20
LONGEST_FIELD = 2**26
"""Characters; a quote that is never closed would otherwise take the rest of a file into memory."""
_PAIR = re.compile(r"\\(.?)", re.DOTALL)


@dataclass(frozen=True)
class CsvDialect:
    """Rules of a CSV file; as they stand, those of Python's csv module and of RFC 4180."""

    delimiter: str = ","
    escaped: bool = False  # quotes may also be escaped by a backslash
    spaced: bool = False  # a blank may stand between a delimiter and a quote
    quoted: bool = True  # off: quotes are characters like others

    def reader(self, lines: Iterable[str]) -> Any:
        """A csv reader of lines, which takes fields of up to LONGEST_FIELD characters.

        The csv module keeps that limit for the whole process; it is only ever raised.
        """
        csv.field_size_limit(max(csv.field_size_limit(), LONGEST_FIELD))
        return csv.reader(
            map(_plain_doubled(self.delimiter), lines) if self.escaped else lines,
            delimiter=self.delimiter,
            escapechar="\\" if self.escaped else None,
            skipinitialspace=self.spaced,
            quoting=csv.QUOTE_MINIMAL if self.quoted else csv.QUOTE_NONE,
            strict=True,
        )

    def __str__(self) -> str:
        """What differs from the ordinary, in words; empty if nothing does."""
        said = [f"split at {DELIMITERS.get(self.delimiter, repr(self.delimiter))}"] if self.delimiter != "," else []
        said += ["quotes escaped by backslashes"] if self.escaped else []
        said += ["blanks before quotes"] if self.spaced else []
        said += [] if self.quoted else ["quotes taken as plain characters"]
        return ", ".join(said)


def find_dialect(text: TextFile, delimiter: str | None) -> CsvDialect:
    """The dialect of a file whose first line is a header, with `delimiter` if it is known.

    The one under which all records, or most of them, have as many fields as the header; of equals the first, which is
    the ordinary one.
    """
    sample = _sample(text)
    tried = [CsvDialect(each) for each in (delimiter or DELIMITERS)]
    found = max(tried, key=lambda dialect: _fitting_records(dialect, sample))
    found = replace(found, spaced=_quotes_after_blanks(found, sample))
    tried = [found]
    if text.holds('\\"') and not _fitting_records(found, text.lines())[0]:
        tried.append(replace(found, escaped=True))
    if found.delimiter == "\t" and text.holds('"') and '"' not in sample[0]:
        tried.append(replace(found, quoted=False))
    return tried[0] if len(tried) == 1 else max(tried, key=lambda dialect: _fitting_records(dialect, text.lines()))


def _sample(text: TextFile) -> list[str]:
    lines, size = [], 0
    for line in text.lines():
        lines.append(line)
        size += len(line)
        if size > SAMPLE_CHARACTERS:
            break
    return lines


def _fitting_records(dialect: CsvDialect, lines: Iterable[str]) -> tuple[bool, int]:
    """Whether all records have as many fields as the first, and how many have; none where that has only one."""
    records = read_fields(dialect, lines)
    width = len(next(records))
    if width == 1:
        return False, 0
    others = Counter(len(fields) for fields in records)
    return others.total() == others[width], 1 + others[width]


def _quotes_after_blanks(dialect: CsvDialect, sample: Iterable[str]) -> bool:
    fields = (field for record in read_fields(dialect, sample) for field in record)
    return any(field.startswith(" ") and re.fullmatch('".*"', field.strip(), re.DOTALL) for field in fields)


def read_fields(dialect: CsvDialect, lines: Iterable[str]) -> Iterator[list[str]]:
    """Records that are not blank lines; one that cannot be read has a single field."""
    reader = dialect.reader(lines)
    while True:
        try:
            fields = next(reader, None)
        except csv.Error as error:
            fields = [str(error)]
        if fields is None:
            return
        if fields:
            yield fields


def _plain_doubled(delimiter: str) -> Callable[[str], str]:
    """A function that doubles, in a line, every backslash that escapes nothing, so that the reader keeps it."""
    kept = f'"\\{delimiter}'

    def double(pair: re.Match[str]) -> str:
        return pair[0] if pair[1] and pair[1] in kept else f"\\{pair[0]}"

    return lambda line: _PAIR.sub(double, line)
