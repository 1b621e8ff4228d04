"""The benchmark of several GPUs, small, as two processes on CPUs; what it makes of figures, by hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from benchmarks.scale import chosen, efficiency, silence
from benchmarks.scale_worker import PIECES

ROOT = Path(__file__).parents[2]


def run(tmp_path: Path, *options: str) -> tuple[subprocess.CompletedProcess[str], list[dict[str, object]]]:
    """The command and its JSON."""
    file = tmp_path / "scale.json"
    command = [sys.executable, "-m", "benchmarks.scale", "--device", "cpu", "--quick", "--no-compiled"]
    done = subprocess.run(
        [*command, "--json", str(file), *options], capture_output=True, text=True, cwd=ROOT, timeout=120, env=os.environ
    )
    return done, json.loads(file.read_text())


@pytest.mark.soak
def test_two_processes_train_one_trigger_and_are_timed(tmp_path: Path) -> None:
    pieces = ["image-same", "text-same", "text", "text-weights"]
    done, results = run(tmp_path, "--gpus", "2", "--pieces", ",".join(pieces))
    assert done.returncode == 0, done.stderr
    assert [result["piece"] for result in results] == pieces
    *same, trigger, weights = results
    assert all(str(each["note"]).startswith("equal within 0.01 of the way") for each in same), same
    assert trigger["rows"] == weights["rows"] == 8  # four on each
    assert trigger["exchanged"] == 4 * (8 * 2 + 2 * 5 * 64)  # logits; two gradients at the embeddings, not at the words
    assert isinstance(weights["exchanged"], int)
    assert weights["exchanged"] > 1000 * 4 * (8 * 2 + 2 * 5 * 64)
    for timed in (trigger, weights):
        assert isinstance(timed["milliseconds"], float)
        assert timed["milliseconds"] > 0


@pytest.mark.slow
def test_a_piece_over_its_limit_is_named_and_the_command_fails(tmp_path: Path) -> None:
    done, results = run(tmp_path, "--gpus", "1", "--pieces", "text", "--limit", "0.01")
    assert done.returncode == 1
    assert results == [{"piece": "text", "processes": 1, "failed": "failed, or took more than 0.01 s"}]
    assert "Timeout" in done.stderr  # where it was


def test_efficiency_compares_rows_per_second_and_process() -> None:
    single = {"processes": 1, "rows": 100, "milliseconds": 10.0}
    assert efficiency({"processes": 2, "rows": 200, "milliseconds": 12.5}, single) == pytest.approx(0.8)
    assert efficiency({"processes": 2, "rows": 100, "milliseconds": 5.0}, single) == pytest.approx(1.0)
    assert efficiency({"processes": 2, "failed": "failed"}, single) is None
    assert efficiency({"processes": 2, "rows": 100, "milliseconds": 5.0}, None) is None


def test_silence_is_the_share_of_a_step_that_the_exchange_takes() -> None:
    assert silence({"milliseconds": 10.0, "alone": 8.0}) == pytest.approx(0.2)
    assert silence({"milliseconds": 8.0, "alone": 8.1}) == 0.0


def test_pieces_that_make_no_sense_are_left_out() -> None:
    assert set(chosen(None, 2, "cuda")) == set(PIECES)
    assert "image-same" not in chosen(None, 1, "cuda")
    assert not any(piece.endswith("recorded") for piece in chosen(None, 2, "cpu"))
    with pytest.raises(typer.BadParameter, match="bread"):
        chosen("image,bread", 1, "cpu")
