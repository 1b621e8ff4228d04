"""The goals of performance beside the figures of records: real files, read and judged."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.check import GOALS, Goal, main, outcomes
from benchmarks.performance_record import RECORDS, read_records, write_record

PARTS = (
    Goal("a", "part.ms", 20, "most"),
    Goal("a", "part.ratio", 4, "least", at_least=True),
    Goal("a", "part.none", 1, "no figure"),
    Goal("b", "ms", 1, "no record"),
)


@pytest.mark.parametrize(
    ("ms", "ratio", "words"),
    [(20, 4.0, ["pass", "pass"]), (20.5, 3.9, ["miss", "miss"]), (0, 5, ["pass", "pass"])],
)
def test_a_figure_passes_at_its_goal_and_misses_beyond(
    tmp_path: Path, ms: float, ratio: float, words: list[str]
) -> None:
    path = write_record("a", ["benchmarks.a", "--quick"], {"part": {"ms": ms, "ratio": ratio}}, folder=tmp_path)
    records = read_records(tmp_path)
    assert path == tmp_path / "a.json" and records["a"].command == "python -m benchmarks.a --quick"
    assert [each.word for each in outcomes(records, PARTS)] == [*words, "not measured", "not measured"]


def test_a_miss_is_printed_and_is_the_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 0
    assert f"0 pass, 0 miss, {len(GOALS)} not measured" in capsys.readouterr().out
    write_record("serve", ["benchmarks.serve"], {"over_best_peer_16": 3.2, "cpu_ms_per_request": 0.2}, folder=tmp_path)
    assert main([str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert "miss                3.2      >= 4  requests/s at 16 connections" in out
    assert "1 pass, 1 miss" in out and "python -m benchmarks.serve\n" in out


def test_a_file_that_is_no_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "odd.json").write_text('{"figures": {}}')
    with pytest.raises(ValueError, match=r"odd\.json is no record of a benchmark"):
        read_records(tmp_path)


def test_the_records_of_the_documents_name_machine_command_and_date() -> None:
    known = {goal.benchmark for goal in GOALS}
    for name, record in read_records(RECORDS).items():
        assert name in known and record.command.startswith("python -m benchmarks.")
        assert record.machine and record.date and record.figures


def test_no_goal_is_there_twice() -> None:
    assert len({(goal.benchmark, goal.figure) for goal in GOALS}) == len(GOALS)
