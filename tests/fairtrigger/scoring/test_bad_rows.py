"""Rows that cannot be used: the first stops the job with its place, or all are left out, told and counted."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from fairtrigger.scoring import score
from tests.fairtrigger.scoring import texts
from tests.fairtrigger.scoring.conftest import Desk
from tests.service.live import picture
from triggers.errors import DataError


def broken_csv(path: Path) -> Path:
    path.write_text("text,toxic\na good movie,1\n,0\nthe dog,0,extra\n\u200b,0\nthe cat,rude\nvery nice,1\n")
    return path


def test_the_first_bad_row_stops_with_file_row_and_remedy(desk: Desk, tmp_path: Path) -> None:
    source = broken_csv(tmp_path / "in.csv")
    with pytest.raises(DataError) as refused:
        score(desk.posts, source, tmp_path / "out.csv", label="toxic")
    said = f"{source}, row 2 (line 3): column 'text' is empty. Mend it, or leave such rows out: --bad-rows skip."
    assert str(refused.value) == said


def test_skipped_rows_are_told_with_their_reasons(desk: Desk, tmp_path: Path) -> None:
    source, out = broken_csv(tmp_path / "in.csv"), tmp_path / "out.csv"
    result = score(desk.posts, source, out, label="toxic", bad_rows="skip")
    assert (result.rows, result.scored, result.bad) == (6, 2, 4)
    assert [each["row"] for each in texts.scored(out)] == [1, 6]
    with result.bad_file.open(newline="") as file:
        bad = list(csv.DictReader(file))
    assert [(each["row"], each["reason"]) for each in bad] == [
        ("2", "missing input"),
        ("3", "wrong number of fields"),
        ("4", "empty_text"),
        ("5", "unknown label"),
    ]
    assert bad[1]["place"] == f"{source}, row 3 (line 4)"
    assert "3 fields, but the header names 2" in bad[1]["problem"]


def test_broken_and_missing_images_are_bad_rows(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "good.png").write_bytes(picture(1))
    (tmp_path / "cut.png").write_bytes(picture(2)[:60])
    source = texts.csv_file(tmp_path / "in.csv", [{"path": f"{name}.png"} for name in ("cut", "gone", "good")])
    result = score(desk.faces, source, tmp_path / "out.parquet", bad_rows="skip")
    assert (result.scored, result.bad) == (1, 2)
    with result.bad_file.open(newline="") as file:
        assert [each["reason"] for each in csv.DictReader(file)] == ["image_undecodable", "unreadable input"]
    with pytest.raises(DataError, match=r"in\.csv, row 1 \(line 2\): .*damaged"):
        score(desk.faces, source, tmp_path / "stop.parquet")


def test_a_file_without_a_usable_row_is_refused(desk: Desk, tmp_path: Path) -> None:
    source = texts.csv_file(tmp_path / "in.csv", [{"text": "", "a": "1"}] * 3)
    with pytest.raises(DataError, match=r"No row of .*in\.csv could be scored: column 'text' is empty"):
        score(desk.posts, source, tmp_path / "out.csv", bad_rows="skip")
    assert [each.name for each in tmp_path.iterdir()] == ["in.csv"]


def test_a_bad_file_of_before_does_not_stay(desk: Desk, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    result = score(desk.posts, broken_csv(tmp_path / "in.csv"), out, bad_rows="skip")
    assert result.bad_file.exists()
    score(desk.posts, texts.csv_file(tmp_path / "in.csv", texts.rows(3)), out, overwrite=True)
    assert not result.bad_file.exists()


def test_cut_texts_are_counted(desk: Desk, tmp_path: Path) -> None:
    source = texts.csv_file(tmp_path / "in.csv", [{"text": "good " * length} for length in (3, 40, 50)])
    assert score(desk.posts, source, tmp_path / "out.csv").cut == 2
