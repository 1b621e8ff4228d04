"""Liveness files of the processes that write to a ledger, and the possible loss of a killed process.

Every running process holds a lock on its own small file in a shared folder; the kernel releases it however the process
ends, so a dead process is recognised at once, across containers too, where process ids mean nothing. The file holds

    clean_at   everything recorded before this moment is in the ledger
    alive_at   nothing was recorded later than `alive_at` + one flush interval
    dirty      something was recorded since `clean_at`

so a killed process lost at most what it recorded between `clean_at` and `alive_at` + interval, and nothing when it was
not dirty. The file is changed by one write into the page cache, which outlives the process.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_STATE = struct.Struct(">dddB")  # clean_at, alive_at, interval, dirty


@dataclass(frozen=True)
class Loss:
    """Counts that may be missing: recorded between `since` and `until` (seconds since 1970).

    `dropped` is how many were knowingly given up for lack of memory; a killed process leaves that number unknown (0).
    `reason` is "dropped", "killed", or "store_reset" when the store itself lost its data.
    """

    since: float
    until: float
    dropped: int
    reason: str

    @property
    def seconds(self) -> float:
        """Length of the gap in seconds."""
        return max(self.until - self.since, 0.0)


class LivenessFile:
    """Lock and state file of this process; see the module."""

    def __init__(self, path: Path, interval: float, now: float) -> None:
        self.path, self.interval, self.started_at = path, interval, now
        self.clean_at, self.alive_at, self.dirty = now, now, False
        self._handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._write()

    def recorded(self, now: float) -> None:
        """Note that something was recorded: cheap, and writes at most once or twice per interval."""
        if not self.dirty or now > self.alive_at + self.interval:
            self.dirty, self.alive_at = True, max(now, self.alive_at)
            self._write()

    def flushed(self, clean_at: float, *, dirty: bool) -> None:
        """Note that everything recorded before `clean_at` is in the ledger; `dirty` if more was recorded since."""
        self.clean_at, self.dirty = clean_at, dirty
        self.alive_at = max(clean_at, self.alive_at)
        self._write()

    def close(self, *, in_order: bool = True) -> None:
        """Release the lock and delete the file; unless `in_order`, leave the file for `find_dead_runs`."""
        if in_order:
            self.path.unlink(missing_ok=True)
        handle, self._handle = self._handle, -1  # the descriptor's number may be reused
        os.close(handle)

    def _write(self) -> None:
        with suppress(OSError):  # a broken disk makes the estimate coarser, it must not fail a prediction
            os.pwrite(self._handle, _STATE.pack(self.clean_at, self.alive_at, self.interval, self.dirty), 0)


@dataclass(frozen=True)
class DeadRun:
    """A process that ended without closing; `loss` is None when everything it recorded is in the ledger."""

    path: Path
    loss: Loss | None

    @property
    def run(self) -> str:
        """Id of the run in the ledger."""
        return self.path.name


@contextmanager
def exclusive_scan(folder: Path) -> Iterator[None]:
    """Lock `folder` against other processes that start there or look for dead runs."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def find_dead_runs(folder: Path, now: float) -> list[DeadRun]:
    """Runs whose lock is free. The caller writes each into the ledger, then unlinks its `path`."""
    return [found for path in sorted(folder.iterdir()) if (found := _examine(path, now))]


def _examine(path: Path, now: float) -> DeadRun | None:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return None  # it closed just now
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return DeadRun(path, _loss(os.read(handle, _STATE.size), now))
    except BlockingIOError:
        return None  # alive
    finally:
        os.close(handle)


def _loss(state: bytes, now: float) -> Loss | None:
    if len(state) < _STATE.size:
        return None  # killed while it started, before it could record anything
    clean_at, alive_at, interval, dirty = _STATE.unpack(state)
    return Loss(clean_at, min(now, alive_at + interval), 0, "killed") if dirty else None
