"""The progress display of a run: live bars on a terminal, plain one-line records in a log.

    12:03:05  train triggers  120/400  30%  4.2/s  eta 1:07  loss=0.412  gap=0.213

A record appears at most every `every` seconds, and once at the end of each task.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Protocol, Self, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress
from rich.progress import Task as RichTask

from trainer.progress.run_tracker import RunTracker


class Task(Protocol):
    """One piece of work with a known number of parts."""

    def advance(self, parts: int = 1, **metrics: float) -> None:
        """Count finished parts; `metrics` replace the values that are shown."""


class Progress(Protocol):
    """The progress display of a run, a context manager: leaving it restores the terminal.

    `tracker` keeps the run's figures; None: nobody asked for that.
    """

    tracker: RunTracker | None

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @contextmanager
    def task(self, title: str, total: int, done: int = 0) -> Iterator[Task]:
        """Open a task of `total` parts, `done` of them finished before (a resumed run)."""
        ...

    def note(self, text: str) -> None:
        """Write one line that stays."""


def open_progress(stream: TextIO) -> Progress:
    """Live bars when `stream` is a terminal, records otherwise."""
    return LiveProgress(stream) if stream.isatty() else LineProgress(stream)


class LiveProgress:
    """Bars that redraw themselves, one per task, and notes above them."""

    tracker: RunTracker | None = None

    def __init__(self, stream: TextIO) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=30), MofNCompleteColumn())
        times = (_Rate(), TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("[dim]{task.fields[shown]}"))
        self._rich = RichProgress(*columns, *times, console=Console(file=stream))

    def __enter__(self) -> Self:
        self._rich.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._rich.stop()

    @contextmanager
    def task(self, title: str, total: int, done: int = 0) -> Iterator[Task]:
        """A bar with the time it took, the time left and the metrics."""
        yield _Bar(self._rich, self._rich.add_task(title, total=total, completed=done, shown=""))

    def note(self, text: str) -> None:
        """Print above the bars, without markup."""
        self._rich.console.print(text, markup=False, highlight=False)


class _Rate(ProgressColumn):
    """Parts per second, of late."""

    def render(self, task: RichTask) -> str:
        return f"{task.speed:.3g}/s" if task.speed else ""


class _Bar:
    def __init__(self, rich: RichProgress, task: TaskID) -> None:
        self._rich, self._task = rich, task
        self._metrics: dict[str, float] = {}

    def advance(self, parts: int = 1, **metrics: float) -> None:
        self._metrics |= metrics
        self._rich.update(self._task, advance=parts, shown=_metrics(self._metrics))


class LineProgress:
    """Records for a log file, a container or CI. `every`: seconds between two records of a task."""

    tracker: RunTracker | None = None

    def __init__(self, stream: TextIO, every: float = 10.0) -> None:
        self._stream, self._every = stream, every

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.flush()

    @contextmanager
    def task(self, title: str, total: int, done: int = 0) -> Iterator[Task]:
        """Records with parts done, parts per second, the time left and the metrics."""
        lines = _Lines(self, title, total, done, self._every)
        yield lines
        lines.finish()

    def note(self, text: str) -> None:
        """Write one line with the time of day, flushed at once."""
        self._stream.write(f"{time.strftime('%H:%M:%S')}  {text}\n")
        self._stream.flush()


class _Lines:
    def __init__(self, out: LineProgress, title: str, total: int, done: int, every: float) -> None:
        self._out, self._title, self._total, self._done, self._every = out, title, total, done, every
        self._first, self._began = done, time.monotonic()
        self._reported_at, self._reported = self._began, -1
        self._metrics: dict[str, float] = {}

    def advance(self, parts: int = 1, **metrics: float) -> None:
        self._done += parts
        self._metrics |= metrics
        if time.monotonic() - self._reported_at >= self._every:
            self._say()

    def finish(self) -> None:
        """Write the last record, unless it was just written."""
        if self._reported != self._done:
            self._say()

    def _say(self) -> None:
        self._reported_at, self._reported = time.monotonic(), self._done
        seconds = max(self._reported_at - self._began, 1e-9)
        rate = (self._done - self._first) / seconds
        left = "?" if rate == 0 else _clock((self._total - self._done) / rate)
        time_left = f"eta {left}" if self._done < self._total else f"in {_clock(seconds)}"
        share = f"{self._done}/{self._total}  {self._done / max(self._total, 1):.0%}"
        parts = [self._title, share, f"{rate:.3g}/s", time_left, _metrics(self._metrics)]
        self._out.note("  ".join(part for part in parts if part))


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _metrics(values: dict[str, float]) -> str:
    return "  ".join(f"{name}={value:.4g}" for name, value in values.items())
