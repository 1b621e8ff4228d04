"""The file behind the ledger: taking over a file of the first schema, and what only a file can suffer."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from service.ledger.backend import FeedbackOutcome, Release
from service.ledger.events import Feedback
from service.ledger.ledger import Ledger
from service.ledger.sqlite_ledger import SqliteLedger
from service.ledger.time_buckets import Level
from tests.service.counted import MINUTE, NEVER, everything, prediction

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
    file = SqliteLedger(path, 1.0)
    with file._file.write() as db:
        for level in (Level.MINUTE, Level.HOUR, Level.DAY):
            for model in ("m", "other"):
                for days in (0, 1, 2, 8, 20, 120):
                    period = (MINUTE - days * 1440) // level.minutes
                    db.execute("INSERT INTO cells VALUES (?, ?, ?, 1, 'a', -1, 1, -1, 1)", (model, level, period))
    file.reap_dead_runs(now)
    for model in ("m", "other"):
        kept = [sum(file.series(model, level, 0, 2**31).values()) for level in (Level.MINUTE, Level.HOUR, Level.DAY)]
        assert kept == [4, 5, 6]
    file.close()


def test_what_was_disclosed_is_deleted_after_400_days(tmp_path: Path) -> None:
    now = MINUTE * 60.0
    counted_on(tmp_path / "ledger.sqlite", now - 2 * DAY, now - DAY, now)
    file = SqliteLedger(tmp_path / "ledger.sqlite", 1.0)
    minutes = [(MINUTE // 1440 - days) * 1440 for days in (1, 399, 402, 1100)]
    for size in (60, 1440):
        for minute in minutes:
            file.release("m", size, minute, Release(1, "[]"))
    file.reap_dead_runs(now)
    for size in (60, 1440):
        assert sorted(file.releases("m", size, 0, 2**31), reverse=True) == minutes[:2]
    file.close()


DAY = 86400.0


def counted_on(path: Path, *moments: float) -> None:
    """A service runs at each of these moments, for as long as one prediction takes, and stops."""
    for moment in moments:
        with Ledger(path, flush_interval=NEVER, clock=lambda moment=moment: moment) as ledger:  # type: ignore[misc]
            ledger.record(prediction(minute=int(moment // 60)))


@pytest.mark.parametrize("starts", [1, 2])
def test_a_clock_that_jumps_ahead_forgets_no_label(tmp_path: Path, starts: int) -> None:
    path, now = tmp_path / "ledger.sqlite", MINUTE * 60.0
    counted_on(path, now - 2 * DAY, now - DAY)
    event = prediction()
    with Ledger(path, flush_interval=NEVER, clock=lambda: now) as ledger:
        ledger.record(event)
        assert ledger.feedback([Feedback(event, 1)]) == [FeedbackOutcome.COUNTED]
    counted_on(path, *(now + 402 * DAY + start for start in range(starts)))
    with Ledger(path, flush_interval=NEVER, clock=lambda: now + 60) as ledger:
        ledger._refresh()
        assert ledger.feedback([Feedback(event, 1)]) == [FeedbackOutcome.UNCHANGED]
        minutes = ledger.series("m", Level.MINUTE, MINUTE, MINUTE + 1)
        assert [(cell.label, n) for cell, n in minutes.items()] == [(1, 1)]


def test_a_label_under_a_clock_that_is_ahead_moves_every_level(tmp_path: Path) -> None:
    path, now = tmp_path / "ledger.sqlite", MINUTE * 60.0
    counted_on(path, now - 2 * DAY, now - DAY)
    event = prediction()
    with Ledger(path, flush_interval=NEVER, clock=lambda: now) as ledger:
        ledger.record(event)
    with Ledger(path, flush_interval=NEVER, clock=lambda: now + 300 * DAY) as ledger:
        ledger.feedback([Feedback(event, 1)])
        for level in (Level.MINUTE, Level.HOUR, Level.DAY):
            told = ledger.series("m", level, MINUTE // 1440 * 1440, (MINUTE // 1440 + 1) * 1440)
            assert [cell.label for cell in told] == [1]


def test_a_label_that_comes_after_its_hours_were_deleted_changes_the_day_alone(tmp_path: Path) -> None:
    """A part of an hour that was deleted would be read as the whole."""
    path, now, minute = tmp_path / "ledger.sqlite", MINUTE * 60.0, MINUTE - 150 * 1440
    event, other = prediction(minute=minute), prediction(minute=minute)
    with Ledger(path, flush_interval=NEVER, clock=lambda: minute * 60.0) as ledger:
        ledger.record(event)
        ledger.record(other)
    counted_on(path, now - 2 * DAY, now - DAY, now)
    with Ledger(path, flush_interval=NEVER, clock=lambda: now) as ledger:
        ledger._refresh()
        ledger.feedback([Feedback(event, 1)])
        told = [ledger.series("m", level, *(minute // 1440 * 1440 + end for end in (0, 1440))) for level in Level]
        assert [{cell.label: n for cell, n in level.items()} for level in told[: Level.ARRIVAL]] == [
            {}, {}, {1: 1, None: 1}
        ]  # fmt: skip


def test_a_service_that_stood_still_for_long_deletes_after_some_days(tmp_path: Path) -> None:
    path, now = tmp_path / "ledger.sqlite", MINUTE * 60.0
    counted_on(path, now - 30 * DAY, now - 29 * DAY, now - 28 * DAY, now, now + DAY)
    kept = [MINUTE - 30 * 1440, MINUTE + 2 * 1440]
    with Ledger(path, flush_interval=NEVER, clock=lambda: now + 2 * DAY) as ledger:
        assert sum(ledger.series("m", Level.MINUTE, *kept).values()) == 5
        ledger.record(prediction(minute=MINUTE + 2 * 1440 - 1))
        ledger.record(prediction(minute=MINUTE + 2 * 1440))
        ledger.flush()
        ledger._refresh()
        assert sum(ledger.series("m", Level.MINUTE, *kept).values()) == 3


def test_runs_and_losses_are_forgotten_in_the_end(tmp_path: Path) -> None:
    path, now = tmp_path / "ledger.sqlite", MINUTE * 60.0
    counted_on(path, now - 2 * DAY, now - DAY, now)
    with Ledger(path, flush_interval=NEVER, clock=lambda: now) as ledger:
        file = ledger._store
        assert isinstance(file, SqliteLedger)
        with file._file.write() as db:
            for days in (31, 402):
                db.execute("INSERT INTO runs VALUES (?, 0, 0, ?, 1)", (f"old {days}", now - days * DAY))
                loss = (f"old {days}", now - days * DAY - 1, now - days * DAY, "killed")
                db.execute("INSERT INTO losses VALUES (?, ?, ?, 0, ?)", loss)
        ledger._refresh()
        with file._file.read() as db:
            assert db.execute("SELECT count(*) FROM runs WHERE run LIKE 'old%'").fetchone() == (0,)
            assert db.execute("SELECT run FROM losses").fetchall() == [("old 31",)]
