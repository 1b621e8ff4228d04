"""Work in several processes that reports to one display, and what happens when one of them fails."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from fairtrigger.demo.work import Work, run_all
from trainer.progress import LineProgress, Progress
from triggers.errors import DataError


def count_up(progress: Progress, path: Path, parts: int) -> None:
    with progress.task("count", parts) as task:
        for part in range(parts):
            task.advance(part=part)
    progress.note("counted")
    path.write_text(str(os.getpid()))


def refuse(progress: Progress) -> None:
    raise DataError("no such numbers")


def crash(progress: Progress) -> None:
    os._exit(7)


def test_every_process_reports_to_the_one_display(tmp_path: Path) -> None:
    said = io.StringIO()
    works = [Work(name, count_up, (tmp_path / name, parts)) for name, parts in (("a", 3), ("b", 5))]
    run_all(works, LineProgress(said))
    for line in ("a: count  3/3", "b: count  5/5", "a: counted", "b: counted"):
        assert line in said.getvalue()
    pids = {(tmp_path / name).read_text() for name in "ab"}
    assert len(pids | {str(os.getpid())}) == 3


def test_a_failure_is_said_with_the_name_of_the_work() -> None:
    with pytest.raises(DataError, match="digits: no such numbers"):
        run_all([Work("digits", refuse, ())], LineProgress(io.StringIO()))


def test_a_process_that_dies_is_noticed() -> None:
    with pytest.raises(DataError, match="status 7"):
        run_all([Work("digits", crash, ())], LineProgress(io.StringIO()))
