"""An SQLite file with one schema: one writer at a time, for which readers never wait.

Two connections, each behind its own lock, serve all threads of a process; WAL mode serves several processes. Do not
carry an open file over a fork: open it in the child. A file that is gone, as when a disk was unmounted, raises
StoreUnavailable at once; a file that replaced it is opened in its place.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from triggers.errors import StoreError, StoreUnavailable


class SqliteFile:
    """An open file, made with mode 0600 when it is missing. `read` and `write` lend a connection in a transaction."""

    def __init__(
        self,
        path: Path,
        schema: Sequence[str],
        schema_version: int,
        *,
        busy_seconds: float = 30.0,
        synchronous: Literal["FULL", "NORMAL"] = "FULL",
    ) -> None:
        self.path = path
        self._busy_seconds, self._synchronous = busy_seconds, synchronous
        self._schema_version = schema_version
        self._locks = (threading.Lock(), threading.Lock())
        with self._translated():
            _make(path)
            self._connections = [self._connect(), self._connect()]  # for reading, for writing
            self._opened = [self._identity()] * 2
            self._prepare(schema, schema_version)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=self._busy_seconds, isolation_level=None, check_same_thread=False
        )
        try:
            self._patiently(connection, "PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {self._synchronous}")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def _patiently(self, connection: sqlite3.Connection, statement: str) -> None:
        """Retry a statement while the file is locked: switching to WAL mode does not wait for other processes."""
        deadline = time.monotonic() + self._busy_seconds
        while True:
            try:
                connection.execute(statement)
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def _prepare(self, schema: Sequence[str], version: int) -> None:
        (found,) = self._connections[1].execute("PRAGMA user_version").fetchone()
        if found == version:
            return
        if found > version:
            self.close()
            raise StoreError(f"{self.path} was made by a newer release (schema {found}): upgrade fairtrigger.")
        with self.write() as db:
            if db.execute("PRAGMA user_version").fetchone() == (version,):
                return  # another process made it meanwhile
            for statement in schema:
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {version}")

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Lend the reading connection: all reads of the block see the same snapshot."""
        with self._lent(0, "DEFERRED") as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Lend the writing connection: no other writer overlaps the block, and an error undoes it."""
        with self._lent(1, "IMMEDIATE") as connection:
            yield connection

    @contextmanager
    def _lent(self, which: int, mode: str) -> Iterator[sqlite3.Connection]:
        with self._locks[which], self._translated(), _transaction(self._current(which), mode) as connection:
            yield connection

    def _current(self, which: int) -> sqlite3.Connection:
        """The connection; a new one if another file is now at the path."""
        there = self._identity()
        if there != self._opened[which]:
            fresh = self._reconnected()
            self._connections[which].close()
            self._connections[which], self._opened[which] = fresh, there
        return self._connections[which]

    def _identity(self) -> tuple[int, int]:
        """Device and inode of the file at the path. Raises FileNotFoundError."""
        found = os.stat(self.path)
        return found.st_dev, found.st_ino

    def _reconnected(self) -> sqlite3.Connection:
        fresh = self._connect()
        (found,) = fresh.execute("PRAGMA user_version").fetchone()
        if found != self._schema_version:
            fresh.close()
            raise StoreUnavailable(f"{self.path} was replaced by a file with schema {found}; put back the right one.")
        return fresh

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StoreUnavailable(f"{self.path} cannot be used: {error}.") from error

    def close(self) -> None:
        """Close both connections; safe to call twice."""
        for lock, connection in zip(self._locks, self._connections, strict=True):
            with lock:
                connection.close()


def _make(path: Path) -> None:
    """Make the file if it is missing, private. Never opens one that exists.

    Closing any descriptor of a file gives up all locks that this process holds on it through other connections, and
    the next process to close it would then delete the journal under them.
    """
    with suppress(FileExistsError):
        os.close(os.open(os.path.realpath(path), os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


@contextmanager
def _transaction(connection: sqlite3.Connection, mode: str) -> Iterator[sqlite3.Connection]:
    connection.execute(f"BEGIN {mode}")
    try:
        yield connection
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
