"""Several pieces of work at once, each in a process of its own, all reporting to one progress display."""

from __future__ import annotations

import multiprocessing
import queue
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from types import TracebackType
from typing import Any, Protocol, Self

from trainer.progress import Progress, RunTracker, Task
from triggers.errors import DataError, FairtriggerError

CHANNEL_SECONDS = 0.2


@dataclass(frozen=True)
class Work:
    """`run(progress, *arguments)`, a module's function, under a short name that its lines begin with."""

    name: str
    run: Callable[..., None]
    arguments: tuple[Any, ...]


class Channel(Protocol):
    """The part of a multiprocessing queue that is used here."""

    def put(self, item: tuple[Any, ...]) -> None: ...

    def get(self, *, timeout: float) -> tuple[Any, ...]: ...


def run_all(works: Sequence[Work], progress: Progress) -> None:
    """Run them to the end. The first that fails ends the others; raises DataError with what it said."""
    context = multiprocessing.get_context("spawn")  # a forked torch may hang
    channel: Channel = context.Queue()
    processes = {
        work.name: context.Process(target=_child, args=(channel, work), name=work.name, daemon=True) for work in works
    }
    for process in processes.values():
        process.start()
    try:
        _relay(channel, processes, progress)
    except BaseException:
        for process in processes.values():
            process.terminate()
        raise
    finally:
        for process in processes.values():
            process.join()


def _relay(channel: Channel, processes: dict[str, Any], progress: Progress) -> None:
    running, opened = set(processes), dict[tuple[str, int], tuple[Task, ExitStack]]()
    while running:
        try:
            name, what, *rest = channel.get(timeout=CHANNEL_SECONDS)
        except queue.Empty:
            _refuse_dead(running, processes)
            continue
        if what == "task":
            number, title, total, done = rest
            stack = ExitStack()
            opened[name, number] = stack.enter_context(progress.task(f"{name}: {title}", total, done)), stack
        elif what == "advance":
            number, parts, metrics = rest
            opened[name, number][0].advance(parts, **metrics)
        elif what == "close":
            opened.pop((name, rest[0]))[1].close()
        elif what == "note":
            progress.note(f"{name}: {rest[0]}")
        elif what == "failed":
            raise DataError(f"{name}: {rest[0]}")
        else:
            running.remove(name)


def _refuse_dead(running: set[str], processes: dict[str, Any]) -> None:
    for name in running:
        status = processes[name].exitcode
        if status not in (None, 0):
            raise DataError(f"The process for {name} ended with status {status}; what it wrote above says why.")


def _child(channel: Channel, work: Work) -> None:
    try:
        with _Sender(channel, work.name) as progress:
            work.run(progress, *work.arguments)
    except FairtriggerError as error:
        channel.put((work.name, "failed", str(error)))
    else:
        channel.put((work.name, "finished"))


class _Sender:
    """A `trainer.progress.Progress` whose words go through a channel."""

    tracker: RunTracker | None = None

    def __init__(self, channel: Channel, name: str) -> None:
        self._channel, self._name, self._numbers = channel, name, count()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    @contextmanager
    def task(self, title: str, total: int, done: int = 0) -> Iterator[Task]:
        """A task that is opened at the other end."""
        number = next(self._numbers)
        self._channel.put((self._name, "task", number, title, total, done))
        yield _SentTask(self._channel, self._name, number)
        self._channel.put((self._name, "close", number))

    def note(self, text: str) -> None:
        """A line that stays, at the other end."""
        self._channel.put((self._name, "note", text))


@dataclass(frozen=True)
class _SentTask:
    channel: Channel
    name: str
    number: int

    def advance(self, parts: int = 1, **metrics: float) -> None:
        self.channel.put((self.name, "advance", self.number, parts, metrics))
