"""Which processes count into a ledger, and what one that was killed may have lost.

Every running process holds a lock on a small file of its own beside the ledger; the kernel lets go of it however the
process ends, so a dead one is recognised at once, in containers too, where process ids say nothing. The file holds

    clean_at   everything recorded before this moment is in the ledger
    alive_at   nothing was recorded later than `alive_at` + one flush interval
    dirty      something was recorded since `clean_at`

so a killed process lost at most what it recorded between `clean_at` and `alive_at` + interval, and nothing when it was
not dirty. The file is changed by one write into the page cache, which a killed process does not undo.
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
    `reason` is "dropped", "killed", or "store_reset" when the store itself lost what it had.
    """

    since: float
    until: float
    dropped: int
    reason: str

    @property
    def seconds(self) -> float:
        """The length of the gap."""
        return max(self.until - self.since, 0.0)


class Presence:
    """The lock and the state of this process; see the module."""

    def __init__(self, path: Path, interval: float, now: float) -> None:
        self.path, self.interval, self.started_at = path, interval, now
        self.clean_at, self.alive_at, self.dirty = now, now, False
        self._handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._write()

    def recorded(self, now: float) -> None:
        """Something was recorded: cheap, and writes at most once or twice per interval."""
        if not self.dirty or now > self.alive_at + self.interval:
            self.dirty, self.alive_at = True, max(now, self.alive_at)
            self._write()

    def flushed(self, clean_at: float, *, dirty: bool) -> None:
        """All that was recorded before `clean_at` is in the ledger; `dirty` if more came since."""
        self.clean_at, self.dirty = clean_at, dirty
        self.alive_at = max(clean_at, self.alive_at)
        self._write()

    def close(self, *, in_order: bool = True) -> None:
        """Leave; unless `in_order`, as a killed process would, for others to find."""
        if in_order:
            self.path.unlink(missing_ok=True)
        handle, self._handle = self._handle, -1  # never write to a number that another file may get
        os.close(handle)

    def _write(self) -> None:
        with suppress(OSError):  # a broken disk makes the estimate coarser, it must not fail a prediction
            os.pwrite(self._handle, _STATE.pack(self.clean_at, self.alive_at, self.interval, self.dirty), 0)


@dataclass(frozen=True)
class Dead:
    """A process that left without closing; `loss` is None when everything it recorded is in the ledger."""

    path: Path
    loss: Loss | None

    @property
    def run(self) -> str:
        """Its id in the ledger."""
        return self.path.name


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """While the block runs no other process that asks the same starts in `folder` or looks for dead ones there."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def find_dead(folder: Path, now: float) -> list[Dead]:
    """Processes whose lock is free. Enter each in the ledger, then unlink its `path`."""
    return [found for path in sorted(folder.iterdir()) if (found := _examine(path, now))]


def _examine(path: Path, now: float) -> Dead | None:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return None  # it closed just now
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return Dead(path, _loss(os.read(handle, _STATE.size), now))
    except BlockingIOError:
        return None  # alive
    finally:
        os.close(handle)


def _loss(state: bytes, now: float) -> Loss | None:
    if len(state) < _STATE.size:
        return None  # killed while it started, before it could record anything
    clean_at, alive_at, interval, dirty = _STATE.unpack(state)
    return Loss(clean_at, min(now, alive_at + interval), 0, "killed") if dirty else None
