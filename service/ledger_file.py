"""The SQLite side of the ledger: counts per cell, what is known of labelled predictions, runs and losses.

    counts    how many predictions are in each cell; a cell is (model, minute, version, group, label, prediction, bare)
    known     the current label and group of each prediction that got feedback, by the nonce of its receipt
    runs      one row per process; `last_batch` makes a batch count once, however often it is delivered
    losses    what may be missing, and when
    people    the group names of each model

A killed process loses nothing that was committed; a power cut may lose the last commits (`synchronous = NORMAL`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from service.event import Cell, Feedback
from service.runs import Loss, Presence, find_dead
from triggers.fairness import UNKNOWN
from triggers.sqlite_file import SqliteFile

NONE = -1  # a label or a bare prediction that there is not; version 0 is the bare model
SCHEMA = (
    """CREATE TABLE counts (
        model TEXT, minute INTEGER, version INTEGER, grp TEXT, label INTEGER, prediction INTEGER, bare INTEGER,
        n INTEGER NOT NULL,
        PRIMARY KEY (model, minute, version, grp, label, prediction, bare)) STRICT, WITHOUT ROWID""",
    "CREATE TABLE known (nonce BLOB PRIMARY KEY, label INTEGER NOT NULL, grp TEXT NOT NULL) STRICT, WITHOUT ROWID",
    """CREATE TABLE runs (
        run TEXT PRIMARY KEY, started_at REAL NOT NULL, last_flush_at REAL NOT NULL, closed_at REAL,
        last_batch INTEGER NOT NULL) STRICT""",
    "CREATE TABLE losses (run TEXT, since REAL, until REAL, dropped INTEGER, reason TEXT) STRICT",
    "CREATE TABLE people (model TEXT, grp TEXT, PRIMARY KEY (model, grp)) STRICT, WITHOUT ROWID",
)
SCHEMA_VERSION = 1


class Outcome(StrEnum):
    """What feedback did: it added something, it replaced something known, or it said nothing new."""

    COUNTED = "counted"
    CORRECTED = "corrected"
    UNCHANGED = "unchanged"


@dataclass(frozen=True)
class Batch:
    """What one process recorded between two flushes; `number` grows by one per batch of a run."""

    number: int
    taken_at: float
    cells: Mapping[Cell, int]
    groups: frozenset[tuple[str, str]]
    loss: Loss | None


class LedgerFile:
    """An open ledger file. Everything that changes it is one transaction and may safely be repeated."""

    def __init__(self, path: Path, busy_seconds: float) -> None:
        self._file = SqliteFile(path, SCHEMA, SCHEMA_VERSION, busy_seconds=busy_seconds, synchronous="NORMAL")
        self._runs = path.with_name(f"{path.name}.runs")
        self._runs.mkdir(mode=0o700, exist_ok=True)

    def start(self, run: str, interval: float, now: float) -> Presence:
        """Enter a run. Under the write lock, so that nobody takes its file for that of a dead process."""
        with self._file.write() as db:
            presence = Presence(self._runs / run, interval, now)
            db.execute("INSERT INTO runs VALUES (?, ?, ?, NULL, 0)", (run, now, now))
        return presence

    def finish(self, run: str, now: float) -> None:
        """Note that a run ended in good order."""
        with self._file.write() as db:
            db.execute("UPDATE runs SET closed_at = ? WHERE run = ?", (now, run))

    def bury(self, now: float) -> list[Loss]:
        """Close the runs of killed processes, once each, and return what they may have lost."""
        with self._file.write() as db:
            found = find_dead(self._runs, now)
            lost = {each.run: each.loss for each in found} | self._untraceable(db, now)
            entered = {run: loss for run, loss in lost.items() if _close(db, run, now) and loss}
            for run, loss in entered.items():
                _insert_loss(db, run, loss)
        for each in found:
            each.path.unlink(missing_ok=True)
        return list(entered.values())

    def _untraceable(self, db: sqlite3.Connection, now: float) -> dict[str, Loss | None]:
        """Open runs whose state file is gone, as after a restored backup: all since their last batch may be lost."""
        rows = db.execute("SELECT run, last_flush_at FROM runs WHERE closed_at IS NULL").fetchall()
        return {run: Loss(last, now, 0, "killed") for run, last in rows if not (self._runs / run).exists()}

    def apply(self, run: str, batch: Batch) -> None:
        """Count a batch, unless it was counted before."""
        with self._file.write() as db:
            fresh = db.execute(
                "UPDATE runs SET last_batch = ?, last_flush_at = ? WHERE run = ? AND last_batch < ?",
                (batch.number, batch.taken_at, run, batch.number),
            )
            if fresh.rowcount == 0:
                return
            _add(db, batch.cells.items())
            db.executemany("INSERT OR IGNORE INTO people VALUES (?, ?)", sorted(batch.groups))
            if batch.loss:
                _insert_loss(db, run, batch.loss)

    def feedback(self, items: Sequence[Feedback]) -> list[Outcome]:
        """Move each prediction from the cell it is counted in to the one where it belongs now."""
        with self._file.write() as db:
            return [_learn(db, item) for item in items]

    def counts(self, model: str, since_minute: int, until_minute: int) -> dict[Cell, int]:
        """Counts of a model from `since_minute` up to and without `until_minute`, summed over minutes (given as 0).

        A cell below zero belongs to a prediction whose label came through another process before its count, or whose
        count was lost: the prediction happened, and is counted where its label put it, so the debt counts as zero.
        """
        query = """SELECT version, grp, label, prediction, bare, SUM(MAX(n, 0)) AS total FROM counts
            WHERE model = ? AND minute >= ? AND minute < ? GROUP BY version, grp, label, prediction, bare
            HAVING total > 0"""
        with self._file.read() as db:
            rows = db.execute(query, (model, since_minute, until_minute)).fetchall()
        return {
            Cell(model, 0, version or None, group, _optional(label), prediction, _optional(bare)): n
            for version, group, label, prediction, bare, n in rows
        }

    def groups(self) -> set[tuple[str, str]]:
        """All (model, group name) ever counted."""
        with self._file.read() as db:
            return set(db.execute("SELECT model, grp FROM people"))

    def losses(self, since: float, until: float) -> list[Loss]:
        """What may be missing from the counts of a stretch of time, oldest first."""
        query = "SELECT since, until, dropped, reason FROM losses WHERE until >= ? AND since <= ? ORDER BY since"
        with self._file.read() as db:
            return [Loss(*row) for row in db.execute(query, (since, until))]

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _add(db: sqlite3.Connection, cells: Iterable[tuple[Cell, int]]) -> None:
    db.executemany(
        "INSERT INTO counts VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n",
        ((*_row(cell), n) for cell, n in cells),
    )


def _row(cell: Cell) -> tuple[str, int, int, str, int, int, int]:
    label = NONE if cell.label is None else cell.label
    bare = NONE if cell.bare is None else cell.bare
    return cell.model, cell.minute, cell.version or 0, cell.group, label, cell.prediction, bare


def _optional(value: int) -> int | None:
    return None if value == NONE else value


def _learn(db: sqlite3.Connection, item: Feedback) -> Outcome:
    event = item.event
    row = db.execute("SELECT label, grp FROM known WHERE nonce = ?", (event.nonce,)).fetchone()
    label, group = (_optional(row[0]), row[1]) if row else (None, event.group)
    new_label = label if item.label is None else item.label
    new_group = item.group or group
    if (new_label, new_group) == (label, group):
        return Outcome.UNCHANGED
    _add(db, [(event.cell(label, group), -1), (event.cell(new_label, new_group), 1)])
    stored = NONE if new_label is None else new_label
    db.execute("REPLACE INTO known VALUES (?, ?, ?)", (event.nonce, stored, new_group))
    replaced = label not in (None, new_label) or group not in (UNKNOWN, new_group)
    return Outcome.CORRECTED if replaced else Outcome.COUNTED


def _close(db: sqlite3.Connection, run: str, now: float) -> bool:
    return db.execute("UPDATE runs SET closed_at = ? WHERE run = ? AND closed_at IS NULL", (now, run)).rowcount == 1


def _insert_loss(db: sqlite3.Connection, run: str, loss: Loss) -> None:
    db.execute("INSERT INTO losses VALUES (?, ?, ?, ?, ?)", (run, loss.since, loss.until, loss.dropped, loss.reason))
