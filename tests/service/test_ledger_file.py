"""The file behind the ledger: taking over a file of the first schema, and what only a file can suffer."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from service.ledger import Ledger
from service.ledger_file import LedgerFile
from service.ledger_store import Release
from service.periods import Level
from tests.service.counted import MINUTE, NEVER, everything

FIRST_SCHEMA = """
    CREATE TABLE counts (
        model TEXT, minute INTEGER, version INTEGER, grp TEXT, label INTEGER, prediction INTEGER, bare INTEGER,
        n INTEGER NOT NULL,
        PRIMARY KEY (model, minute, version, grp, label, prediction, bare)) STRICT, WITHOUT ROWID;
    CREATE TABLE known (nonce BLOB PRIMARY KEY, label INTEGER NOT NULL, grp TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE runs (
        run TEXT PRIMARY KEY, started_at REAL NOT NULL, last_flush_at REAL NOT NULL, closed_at REAL,
        last_batch INTEGER NOT NULL) STRICT;
    CREATE TABLE losses (run TEXT, since REAL, until REAL, dropped INTEGER, reason TEXT) STRICT;
    CREATE TABLE people (model TEXT, grp TEXT, PRIMARY KEY (model, grp)) STRICT, WITHOUT ROWID;
    PRAGMA user_version = 1;
"""


def test_a_file_of_the_first_schema_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with sqlite3.connect(path) as db:
        db.executescript(FIRST_SCHEMA)
        for minute, n in ((MINUTE, 3), (MINUTE + 1, 4), (MINUTE + 2, -1)):
            db.execute("INSERT INTO counts VALUES ('m', ?, 1, 'a', -1, 1, -1, ?)", (minute, n))
        db.execute("INSERT INTO people VALUES ('m', 'a')")
        db.execute("INSERT INTO known VALUES (x'0102', 1, 'a')")
    db.close()
    with Ledger(path, flush_interval=NEVER) as ledger:
        assert everything(ledger) == {(1, "a", None, 1, None): 7}
        for level in (Level.MINUTE, Level.HOUR, Level.DAY):
            assert sum(ledger.series("m", level, 0, 2**31).values()) == 7


def test_what_is_too_old_is_deleted_level_by_level(tmp_path: Path) -> None:
    path, now = tmp_path / "ledger.sqlite", MINUTE * 60.0
    file = LedgerFile(path, 1.0)
    with file._file.write() as db:
        for level in (Level.MINUTE, Level.HOUR, Level.DAY):
            for model in ("m", "other"):
                for days in (1, 8, 20, 120):
                    period = (MINUTE - days * 1440) // level.minutes
                    db.execute("INSERT INTO cells VALUES (?, ?, ?, 1, 'a', -1, 1, -1, 1)", (model, level, period))
    file.bury(now)
    for model in ("m", "other"):
        kept = [sum(file.series(model, level, 0, 2**31).values()) for level in (Level.MINUTE, Level.HOUR, Level.DAY)]
        assert kept == [2, 3, 4]
    file.close()


def test_what_was_disclosed_is_deleted_after_400_days(tmp_path: Path) -> None:
    file = LedgerFile(tmp_path / "ledger.sqlite", 1.0)
    with file._file.write() as db:
        db.execute("INSERT INTO cells VALUES ('m', 2, 1, 1, 'a', -1, 1, -1, 1)")
    minutes = [(MINUTE // 1440 - days) * 1440 for days in (1, 399, 402, 1100)]
    for size in (60, 1440):
        for minute in minutes:
            file.release("m", size, minute, Release(1, "[]"))
    file.bury(MINUTE * 60.0)
    for size in (60, 1440):
        assert sorted(file.releases("m", size, 0, 2**31), reverse=True) == minutes[:2]
    file.close()
