"""A CSV file's records, one by one and again: the same as Python's own reader gives, in any dialect that is found."""

from __future__ import annotations

import csv
import hashlib
import io
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.trainer.sources import TEXTS, config
from trainer.data.content_hash import content_digests
from trainer.data.loader import open_source
from trainer.data.sources.bad_rows import BadRecord
from trainer.data.sources.tables.csv_file import CsvFile
from trainer.progress import LineProgress
from triggers.errors import ConfigError, DataError

VALUES = st.text(st.sampled_from(list('ab",;\t|\\ \n\u2028\x0b\x85é€\U0001f600')), max_size=8)
TABLES = st.lists(st.tuples(VALUES, VALUES), max_size=12)
GROUPED = TEXTS.replace('group_words = ["woman", "girl*"]', 'group = "group"')


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(TABLES, st.sampled_from(["\n", "\r\n", "\n\n"]), st.sampled_from(",;\t|"), st.booleans(), st.data())
def test_records_are_read_again_as_they_were_read_first(
    tmp_path: Path, table: list[tuple[str, str]], end: str, delimiter: str, escaped: bool, draw: st.DataObject
) -> None:
    encoding = draw.draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]))
    path = tmp_path / "table.csv"
    if escaped:  # a file with `"\\"` and no word behind a quote may be read in two ways
        table = [(x.replace('"', '"a'), y.replace('"', '"a')) for x, y in table]
    style: dict[str, object] = {"doublequote": False, "escapechar": "\\"} if escaped else {}
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator=end, delimiter=delimiter, **style)  # type: ignore[arg-type]
        writer.writerows([("x", "é"), *table])
    made = CsvFile(path)
    first = list(made.records())
    assert len(made) == len(first)
    assert [made.record(row) for row in reversed(range(len(made)))] == first[::-1]
    if not escaped or any('"' in value for row in table for value in row):  # else nothing shows that they escape
        assert first == [{"x": x.strip(), "é": y.strip()} for x, y in table]


def test_what_is_no_csv_file_in_utf_8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    with pytest.raises(DataError, match=r"Cannot read .*Set data\.path"):
        CsvFile(path)
    path.write_bytes(b"text,toxic\ncaf\xe9,1\n")
    with pytest.raises(DataError, match=r'table\.csv, line 2: byte 0xe9 is not UTF-8.*data\.encoding = "cp1252"'):
        list(CsvFile(path).records())
    assert list(CsvFile(path, "cp1252").records()) == [{"text": "café", "toxic": "1"}]
    with pytest.raises(DataError, match=r"is not in ascii.*Set data\.encoding"):
        CsvFile(path, "ascii")
    path.write_text('text,toxic\na,0\n"open,1\nb,1\n')
    with pytest.raises(DataError, match=r"row 2: a quote is opened in the record that begins at line 3 and not closed"):
        list(CsvFile(path).records())
    path.write_bytes("text,toxic\na,1\n".encode("utf-16-le"))
    with pytest.raises(DataError, match=r'data\.encoding = "utf-16-le"'):
        CsvFile(path)
    assert list(CsvFile(path, "utf-16-le").records()) == [{"text": "a", "toxic": "1"}]
    for content, problem in {
        b"": "is empty",
        b"\xef\xbb\xbf": "is empty",
        b"\x1f\x8b..": "gzip",
        b"PK\x03\x04": "Excel",
    }.items():
        path.write_bytes(content)
        with pytest.raises(DataError, match=problem):
            CsvFile(path)


def test_headers(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("text,label,group,label\na,0,x,1\n")
    with pytest.raises(DataError, match=r"two columns are named 'label'\. Rename one"):
        CsvFile(path)
    path.write_text(" text , label,,\na,0,,\n")
    made = CsvFile(path)
    assert made.names == ["text", "label"]
    assert list(made.records()) == [{"text": "a", "label": "0"}]


def test_rows_of_another_width_are_refused_or_left_out_with_their_place(tmp_path: Path) -> None:
    lines = ["text,toxic,group", '"one\nline",0,a', "two,1,b,", "", "three,1", 'fo"ur,0,b', '"fi"ve,1,a', "six,0,b"]
    (tmp_path / "posts.csv").write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"posts\.csv, row 2 \(line 4\): 4 fields, but the header names 3"):
        open_source(config(tmp_path, GROUPED))
    source = open_source(config(tmp_path, GROUPED, "data.on_bad_row=skip"))
    used = [row for row in range(len(source.rows)) if source.rows[row].usable]
    assert [(source.rows[row].id, source.read(row)) for row in used] == [
        ("row 1", "one\nline"), ("row 4", 'fo"ur'), ("row 6", "six"),
    ]  # fmt: skip
    bad = [record.problem for record in CsvFile(tmp_path / "posts.csv").records() if isinstance(record, BadRecord)]
    assert bad[1] == "2 fields, but the header names 3"
    assert bad[2].startswith("line 8: ',' expected after '\"'")


def test_quotes_escaped_by_backslashes_are_found_far_behind_the_header(tmp_path: Path) -> None:
    rows = [f"nice {row},civil,male" for row in range(200)]
    rows += [r'"he said \"go, away\" ok",toxic,male', r'"C:\new \\ \N",toxic,female']
    (tmp_path / "posts.csv").write_text("\n".join(["text,label,group", *rows]))
    made = CsvFile(tmp_path / "posts.csv")
    records = list(made.records())
    assert records[200] == {"text": 'he said "go, away" ok', "label": "toxic", "group": "male"} == made.record(200)
    assert made.value(201, "text") == r"C:\new \ \N"
    assert made.notes == ["data: posts.csv: quotes escaped by backslashes"]


def test_a_backslash_before_a_closing_quote_is_one_character_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "posts.csv").write_text('text,label\n"C:\\",1\n"say ""hi""",0\n')
    made = CsvFile(tmp_path / "posts.csv")
    assert [record["text"] for record in made.records() if isinstance(record, dict)] == ["C:\\", 'say "hi"']
    assert made.notes == []


def test_the_delimiter_is_found_and_said(tmp_path: Path) -> None:
    path = tmp_path / "posts.csv"
    path.write_text("text;label\na, b;1\nc;0\n", encoding="utf-16")
    made = CsvFile(path)
    assert list(made.records()) == [{"text": "a, b", "label": "1"}, {"text": "c", "label": "0"}]
    assert made.notes == ["data: posts.csv: encoding utf-16, split at semicolons"]
    path.write_text("text,label|x\na|b,1\nc,0\n")
    assert CsvFile(path).names == ["text", "label|x"]
    assert CsvFile(path, None, "|").names == ["text,label", "x"]
    path.write_text('a, "b"\nx, "y, z"\n')
    assert list(CsvFile(path).records()) == [{"a": "x", "b": "y, z"}]
    path.write_text("a:b\n1:2\n")
    assert list(CsvFile(path, delimiter=":").records()) == [{"a": "1", "b": "2"}]


def test_quotes_in_a_file_split_at_tabs_may_be_plain_characters(tmp_path: Path) -> None:
    path = tmp_path / "posts.tsv"
    path.write_text('text\tlabel\n"open\t1\nshut"\t0\n5" disk\t1\n')
    made = CsvFile(path)
    assert [record["text"] for record in made.records() if isinstance(record, dict)] == ['"open', 'shut"', '5" disk']
    assert made.notes == ["data: posts.tsv: split at tabs, quotes taken as plain characters"]
    path.write_text('text\tlabel\n"a\tb ""c"""\t1\n')
    assert list(CsvFile(path).records()) == [{"text": 'a\tb "c"', "label": "1"}]
    path.write_text('"text"\t"label"\n""\t"\n\t1"\n')
    assert list(CsvFile(path).records()) == [{"text": "", "label": "1"}]


def test_texts_may_be_megabytes_long(tmp_path: Path) -> None:
    long = "word " * 600_000
    (tmp_path / "posts.csv").write_text(f'text,toxic,group\n"{long}",0,a\nshort,1,b\n')
    source = open_source(config(tmp_path, GROUPED))
    assert source.read(0) == long.strip()


def test_what_is_kept_of_one_column_is_not_taken_for_another(tmp_path: Path) -> None:
    rows = [f"first {row};second {row},{row};{row % 2},{'ab'[row % 2]}" for row in range(4)]
    (tmp_path / "posts.csv").write_text("\n".join(["text;title,number;toxic,group", *rows]))
    keys = [("text", ";", "toxic,group"), ("title,number", ";", "toxic,group"), ("text;title", ",", "group")]
    found = []
    for column, delimiter, group in keys:
        chosen = [f"data.input={column}", f"data.delimiter={delimiter}", f"data.group={group}", f"data.label={group}"]
        source = open_source(config(tmp_path, GROUPED, *chosen))
        later = lambda: time.time_ns() + 10**10  # noqa: E731
        found.append(content_digests(source, range(4), tmp_path / "c", tmp_path, LineProgress(io.StringIO()), later))
    assert found[0][0] == hashlib.sha256(b"first 0").hexdigest()
    assert found[1][0] == hashlib.sha256(b"second 0,0").hexdigest()
    assert found[2][0] == hashlib.sha256(b"first 0;second 0").hexdigest()


@pytest.mark.parametrize(
    "key", ['data.delimiter="ab"', "data.encoding=utf-99", "data.encoding=base64", 'data.columns_from_path="{label}"']
)
def test_keys_that_cannot_be_meant_are_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(ConfigError, match=key.partition("=")[0].replace(".", r"\.")):
        config(tmp_path, TEXTS, key)
