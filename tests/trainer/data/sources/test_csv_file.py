"""A CSV file's records, one by one and again: the same as Python's own reader gives."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainer.data.sources.csv_file import CsvFile
from triggers.errors import DataError

VALUES = st.text(st.sampled_from(list('ab",; \n\u2028\x0b\x85é€\U0001f600')), max_size=8)
TABLES = st.lists(st.tuples(VALUES, VALUES), max_size=12)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(TABLES, st.sampled_from(["\n", "\r\n", "\n\n"]), st.booleans())
def test_records_are_read_again_as_they_were_read_first(
    tmp_path: Path, table: list[tuple[str, str]], end: str, mark: bool
) -> None:
    path = tmp_path / "table.csv"
    with path.open("w", encoding="utf-8-sig" if mark else "utf-8", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator=end).writerows([("x", "é"), *table])
    made = CsvFile(path)
    first = list(made.records())
    assert first == [{"x": x.strip(), "é": y.strip()} for x, y in table]
    assert len(made) == len(first)
    assert [made.record(row) for row in reversed(range(len(made)))] == first[::-1]


def test_what_is_no_csv_file_in_utf_8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    with pytest.raises(DataError, match=r"Cannot read .*Set data\.path"):
        CsvFile(path)
    path.write_bytes(b"text,toxic\ncaf\xe9,1\n")
    with pytest.raises(DataError, match=r'table\.csv, line 2: byte 0xe9 is not UTF-8.*data\.encoding = "cp1252"'):
        list(CsvFile(path).records())
    path.write_text('text,toxic\n"open,1\n')
    with pytest.raises(DataError, match=r"row 1: a quote is opened .* at line 2 and not closed"):
        list(CsvFile(path).records())
