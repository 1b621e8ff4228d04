"""An SQLite file: private, made once, whole or unchanged, and errors that name it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from triggers.errors import StoreError, StoreUnavailable
from triggers.storage.sqlite_file import SqliteFile

SCHEMA = ("CREATE TABLE things (name TEXT)",)


def opened(path: Path, busy_seconds: float = 5.0) -> SqliteFile:
    return SqliteFile(path, SCHEMA, 1, busy_seconds=busy_seconds)


def names(file: SqliteFile) -> list[str]:
    with file.read() as db:
        return [name for (name,) in db.execute("SELECT name FROM things")]


def test_what_is_written_is_read_after_opening_again(tmp_path: Path) -> None:
    for name in ("a", "b"):
        file = opened(tmp_path / "f.sqlite")
        with file.write() as db:
            db.execute("INSERT INTO things VALUES (?)", (name,))
        assert name in names(file)
        file.close()
    file = opened(tmp_path / "f.sqlite")
    assert names(file) == ["a", "b"]
    file.close()
    file.close()
    assert (tmp_path / "f.sqlite").stat().st_mode & 0o777 == 0o600


WRITE_AND_END = """
import sqlite3, sys
with sqlite3.connect(sys.argv[1]) as db:
    db.execute("INSERT INTO things VALUES ('of a child')")
db.close()
"""


@pytest.mark.process
def test_a_file_may_be_opened_twice_while_other_processes_come_and_go(tmp_path: Path) -> None:
    """Closing any descriptor of a file gives up all locks of the process on it, and others then delete its journal."""
    path = tmp_path / "f.sqlite"
    first = opened(path)
    second = opened(path)
    for _ in range(2):
        subprocess.run([sys.executable, "-c", WRITE_AND_END, str(path)], check=True)
        with first.write() as db:
            db.execute("INSERT INTO things VALUES ('of the first')")
    third = opened(path)
    assert names(third) == names(second) == names(first) == ["of a child", "of the first"] * 2
    for file in (first, second, third):
        file.close()


def test_a_file_behind_a_link_is_private_too(tmp_path: Path) -> None:
    (tmp_path / "link.sqlite").symlink_to(tmp_path / "f.sqlite")
    opened(tmp_path / "link.sqlite").close()
    assert (tmp_path / "f.sqlite").stat().st_mode & 0o777 == 0o600


def test_an_error_undoes_the_block(tmp_path: Path) -> None:
    file = opened(tmp_path / "f.sqlite")
    with pytest.raises(KeyError), file.write() as db:
        db.execute("INSERT INTO things VALUES ('half')")
        raise KeyError
    assert names(file) == []
    file.close()


def test_many_may_open_a_new_file_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        files = list(pool.map(lambda _: opened(tmp_path / "f.sqlite", 30.0), range(8)))
    for file in files:
        assert names(file) == []
        file.close()


def test_a_newer_file_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "f.sqlite") as db:
        db.execute("PRAGMA user_version = 2")
    db.close()
    with pytest.raises(StoreError, match=r"schema 2.*upgrade"):
        opened(tmp_path / "f.sqlite")


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "f.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(StoreUnavailable, match=r"f\.sqlite cannot be used"):
        opened(tmp_path / "f.sqlite")


def test_waiting_for_another_writer_ends(tmp_path: Path) -> None:
    first, second = opened(tmp_path / "f.sqlite"), opened(tmp_path / "f.sqlite", 0.05)
    with first.write():
        assert names(second) == []
        with pytest.raises(StoreUnavailable, match="locked"), second.write():
            pass
    first.close()
    second.close()
