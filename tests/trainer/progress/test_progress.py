"""Progress: plain records in a log, bars on a terminal."""

from __future__ import annotations

import io
import os
import pty
import re
from pathlib import Path

import pytest

from trainer.progress import LineProgress, LiveProgress, open_progress


class Terminal(io.StringIO):
    """A text buffer that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_record_has_time_share_rate_time_left_and_metrics() -> None:
    out = io.StringIO()
    with LineProgress(out, every=0.0) as progress, progress.task("train", 4, done=1) as task:
        task.advance(1, loss=0.51234)
        task.advance(2)
    first, last = out.getvalue().splitlines()
    assert re.fullmatch(r"\d\d:\d\d:\d\d  train  2/4  50%  [\d.e+]+/s  eta \d+:\d\d  loss=0\.5123", first)
    assert re.fullmatch(r"\d\d:\d\d:\d\d  train  4/4  100%  [\d.e+]+/s  in \d+:\d\d  loss=0\.5123", last)


def test_records_are_rare_and_the_last_is_always_there() -> None:
    out = io.StringIO()
    with LineProgress(out, every=3600) as progress, progress.task("train", 1000) as task:
        for _ in range(1000):
            task.advance()
    (line,) = out.getvalue().splitlines()
    assert "1000/1000  100%" in line


def test_a_task_that_fails_is_not_reported_as_done() -> None:
    out = io.StringIO()
    with pytest.raises(RuntimeError), LineProgress(out) as progress, progress.task("train", 10) as task:
        task.advance()
        raise RuntimeError
    assert out.getvalue() == ""


def test_an_empty_task_is_said_once() -> None:
    out = io.StringIO()
    with LineProgress(out) as progress, progress.task("decode", 0):
        pass
    assert "decode  0/0" in out.getvalue()


def test_notes_appear_at_once_with_the_time_of_day() -> None:
    out = io.StringIO()
    LineProgress(out).note("data: [base] 5")
    assert re.fullmatch(r"\d\d:\d\d:\d\d  data: \[base\] 5\n", out.getvalue())


def test_a_terminal_gets_bars_and_literal_notes() -> None:
    out = Terminal()
    progress = open_progress(out)
    assert isinstance(progress, LiveProgress)
    with progress, progress.task("train", 2) as task:
        progress.note("data: [base] 5")
        task.advance(2, loss=0.25)
    shown = out.getvalue()
    assert "data: [base] 5" in shown
    assert "2/2" in shown
    assert "loss=0.25" in shown


def test_a_file_gets_records(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as file:
        assert isinstance(open_progress(file), LineProgress)
    leader, follower = pty.openpty()
    with os.fdopen(follower, "w") as terminal:
        assert isinstance(open_progress(terminal), LiveProgress)
    os.close(leader)
