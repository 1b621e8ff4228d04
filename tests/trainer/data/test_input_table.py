"""Inputs without labels: row by row, with the columns beside them, and how many there are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trainer.data import InputConfig, InputRow, InputTable, UnusableInput
from triggers.errors import DataError

LABELS = ("civil", "toxic")


def table(path: Path, **fields: Any) -> InputTable:
    return InputTable(InputConfig(path, **fields), "text", LABELS)


def test_records_over_several_lines_are_one_row_of_size_and_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text,who\n"two\n\nlines",f\n\nplain,m\nbad,m,extra\n')
    opened = table(path, groups=("who",))
    assert opened.size() == 3
    first, second, bad = opened.rows()
    assert first == InputRow(0, "1", None, ("f",), "two\n\nlines")
    assert isinstance(second, InputRow) and opened.read(second) == "plain"
    assert isinstance(bad, UnusableInput) and bad.kind == "wrong number of fields"
    assert opened.where(2) == f"{path}, row 3 (line 7)"


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_nested_columns_have_dotted_names(tmp_path: Path, kind: str) -> None:
    made = [{"post": {"body": f"text {at}"}, "meta": {"sex": "f", "mark": at % 2}} for at in range(3)]
    path = tmp_path / f"a.{kind}"
    if kind == "jsonl":
        path.write_text("".join(json.dumps(each) + "\n" for each in made))
    else:
        pq.write_table(pa.Table.from_pylist(made), path)
    opened = table(path, input="post.body", label="meta.mark", groups=("meta.sex",))
    assert opened.size() == 3
    assert list(opened.rows()) == [InputRow(at, str(at + 1), at % 2, ("f",), f"text {at}") for at in range(3)]


def test_missing_values_are_none_and_unknown_labels_unusable(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,mark,who\na,NaN,n/a\nb,2,f\nc,ja,f\n")
    missing, unknown, mapped = table(path, label="mark", groups=("who",), label_map={"ja": "toxic"}).rows()
    assert isinstance(missing, InputRow) and (missing.label, missing.groups) == (None, (None,))
    assert isinstance(unknown, UnusableInput) and "label '2' is none of" in unknown.problem
    assert isinstance(mapped, InputRow) and mapped.label == 1


def test_folders_of_texts_need_no_pattern_and_may_have_one(tmp_path: Path) -> None:
    for name in ("f/1.txt", "m/2.txt"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(f"about {name}")
    assert [row.id for row in table(tmp_path).rows()] == ["1", "2"]
    rows = list(table(tmp_path, columns_from_path="{who}/*", groups=("who",), id="path").rows())
    assert rows == [
        InputRow(0, "f/1.txt", None, ("f",), "about f/1.txt"),
        InputRow(1, "m/2.txt", None, ("m",), "about m/2.txt"),
    ]


def test_what_is_not_there_or_holds_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file or folder"):
        table(tmp_path / "gone.csv")
    with pytest.raises(DataError, match=r"holds no text file \(\.txt\)"):
        table(tmp_path)
    (tmp_path / "a.dat").write_text("x")
    with pytest.raises(DataError, match="may be anything"):
        table(tmp_path / "a.dat")
