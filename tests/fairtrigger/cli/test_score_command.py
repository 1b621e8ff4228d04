"""The command `score`, called as a user does."""

from __future__ import annotations

from pathlib import Path

import pytest

from fairtrigger.cli.main import main
from tests.fairtrigger.scoring import texts
from tests.fairtrigger.scoring.conftest import Desk, desk

__all__ = ["desk"]


def test_score_writes_tells_and_counts(desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = texts.rows(9)
    made[4]["text"] = ""
    source = texts.csv_file(tmp_path / "in.csv", made)
    words = ["score", desk.posts, source, "--store", desk.store, "--trigger", "none, champion", "--bad-rows", "skip"]
    words += ["--label", "toxic", "--label-map", "0=civil", "--group", "sex", "--out", tmp_path / "out.parquet"]
    words += ["--count-into", tmp_path / "ledger.sqlite"]
    for again in (False, True):
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        told = capsys.readouterr()
        assert ended.value.code == 0, told.err
        lines = told.out.splitlines()
        assert lines[0].startswith(f"{tmp_path}/out.parquet: 8 rows under none, v1")
        assert ("9 of the input's 9 rows from before" in lines[0]) is again
        assert lines[1] == f"{tmp_path}/out.parquet.bad.csv: 1 of 9 rows left out, and why"
        counted = 0 if again else 16
        assert lines[-1] == f"{tmp_path}/ledger.sqlite: {counted} predictions counted that were not counted before"
        assert ("score  9/9  100%" in told.err) is not again
    assert len(texts.scored(tmp_path / "out.parquet")) == 16


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--out", "out.xlsx"], "end it in .parquet or .csv"),
        (["--device", "tpu"], "--device names 'tpu'"),
        (["--device", "all"], "torch sees no GPU"),
        (["--label-map", "toxic"], "write VALUE=LABEL"),
        (["--store", "nowhere"], "no trigger store at nowhere"),
        (["--trigger", "v7"], "v7"),
    ],
)
def test_what_cannot_be_is_one_line(
    desk: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: list[str], said: str
) -> None:
    import torch

    if change[-1] == "all" and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    source = texts.csv_file(tmp_path / "in.csv", texts.rows(3))
    words = [str(word) for word in ("score", desk.posts, source, "--store", desk.store, "--out", tmp_path / "o.csv")]
    with pytest.raises(SystemExit) as ended:
        main([*words, *change])
    told = capsys.readouterr()
    assert ended.value.code == 1 and told.out == ""
    assert told.err.startswith("fairtrigger: ") and told.err.count("\n") == 1 and said in told.err
