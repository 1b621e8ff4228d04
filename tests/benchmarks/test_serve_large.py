"""The benchmark of serving large models runs on tiny ones and writes the figures that have goals."""

from __future__ import annotations

from pathlib import Path

import typer
from typer.testing import CliRunner

from benchmarks.performance_record import read_records
from benchmarks.serve_large import main


def test_a_record_has_what_goals_ask_for(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(main)
    tiny = ["--decoder", "llama-tiny", "--images", "vit-tiny", "--device", "cpu", "--no-compiled", "--repeats", "1"]
    assert CliRunner().invoke(app, [*tiny, "--out", str(tmp_path)]).exit_code == 0
    record = read_records(tmp_path)["serve_large"]
    for figure in ("mixed_16_cost", "borders_cost", "words_5.gain", "words_32.mixed_16_cost", "mixed_lengths.gain"):
        assert record.figure(figure) is not None
