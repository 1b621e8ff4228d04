"""Pieces side by side: order, limits, failures. What runs here are shells."""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks.results.piece import Piece
from benchmarks.results.scheduler import Outcome, Scheduler

SHORT = Piece("attractive", "equalized_odds", 0, "pixels")
LONG = Piece("attractive", "equalized_odds", 0, "overlay")
OTHER = Piece("attractive", "equalized_odds", 1, "pixels")


def run(folder: Path, script: str, pieces: list[Piece], *, processes: int = 1, seconds: float | None = None) -> Outcome:
    """Run `script` for every piece, in `folder`: $1 is the piece's name, $2 its classifier's."""

    def command(piece: Piece) -> list[str]:
        return ["sh", "-c", f"cd {folder} && {script}", "sh", piece.name, piece.base]

    def ready(piece: Piece) -> bool:
        return (folder / f"{piece.base}.prepared").exists()

    return Scheduler(command, folder / "logs", processes, ready, seconds=seconds).run(pieces)


def lines(folder: Path) -> list[str]:
    return (folder / "said").read_text().splitlines()


def test_the_longest_goes_first_and_each_has_a_log(tmp_path: Path) -> None:
    found = run(tmp_path, 'echo "$1" >>said; echo "this is $1"', [SHORT, LONG])
    assert lines(tmp_path) == [LONG.name, SHORT.name]
    assert set(found.finished) == {LONG.name, SHORT.name} and not found.failed and not found.left
    assert (tmp_path / "logs" / f"{LONG.name}.log").read_text() == f"this is {LONG.name}\n"


def test_pieces_of_one_classifier_wait_until_it_is_there(tmp_path: Path) -> None:
    """The first of two waits for the piece of another classifier, which starts before the second of its own."""
    script = (
        'echo "begin $2" >>said; [ "$1" != '
        + LONG.name
        + ' ] || until grep -q "begin attractive-1" said; do sleep 0.01; done; echo "end $1" >>said; touch $2.prepared'
    )
    run(tmp_path, script, [SHORT, LONG, OTHER], processes=3)
    said = lines(tmp_path)
    assert said.index(f"end {LONG.name}") < said.index(f"end {SHORT.name}")
    assert said.index("begin attractive-1") < said.index(f"end {LONG.name}")


def test_a_failure_is_told_and_the_others_go_on(tmp_path: Path) -> None:
    found = run(tmp_path, f'[ "$1" != {LONG.name} ]', [SHORT, LONG, OTHER])
    assert found.failed == (LONG.name,) and set(found.finished) == {SHORT.name, OTHER.name}


def test_what_is_not_finished_at_the_limit_is_ended_and_left_over(tmp_path: Path) -> None:
    began = time.monotonic()
    script = f'[ "$1" = {OTHER.name} ] || exec sleep 600'
    found = run(tmp_path, script, [SHORT, LONG, OTHER], processes=2, seconds=1)
    assert time.monotonic() - began < 60
    assert found.finished == (OTHER.name,) and set(found.left) == {LONG.name, SHORT.name} and not found.failed


def test_gpus_are_shared_out(tmp_path: Path) -> None:
    def command(piece: Piece) -> list[str]:
        return ["sh", "-c", f'echo "$CUDA_VISIBLE_DEVICES" >{tmp_path / piece.name}; sleep 0.3']

    Scheduler(command, tmp_path / "logs", 2, lambda _piece: True, gpus=2).run([LONG, OTHER])
    assert {(tmp_path / one.name).read_text() for one in (LONG, OTHER)} == {"0\n", "1\n"}
