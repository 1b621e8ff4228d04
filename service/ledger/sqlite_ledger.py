"""The ledger's store in SQLite, for the processes of one machine.

    cells     how many predictions are in each cell, by level and period (see time_buckets.py)
    arrivals  how many first labels arrived, by the minute of their arrival and that of the prediction
    observed  the receipt of each observation by its series and key; observed_days: how many of each day
    labelled  the current label and group of each prediction that got feedback, by the nonce of its id
    runs      one row per process; `last_batch` makes a batch count once, however often it is delivered
    losses    possible losses, with their time range
    people    the group names of each model
    released  disclosed tables, by period

A killed process loses nothing that was committed; a power cut may lose the last commits (`synchronous = NORMAL`).
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from service.ledger.backend import (
    NOTHING,
    CountBatch,
    FeedbackOutcome,
    Observation,
    Release,
    StoredObservation,
)
from service.ledger.events import Cell, Feedback
from service.ledger.process_liveness import LivenessFile, Loss, find_dead_runs
from service.ledger.time_buckets import (
    LABEL_DAYS,
    OBSERVED_DAYS,
    RELEASE_DAYS,
    SLACK_DAYS,
    WITNESS_DAYS,
    Level,
    believed,
    cover_minutes,
)
from triggers.metrics.fairness_report import UNKNOWN
from triggers.storage import SqliteFile
from triggers.storage.atomic_files import make_private_folder

_KEY = "version, grp, label, prediction, bare"
_V1 = """CREATE TABLE IF NOT EXISTS counts (
        model TEXT, minute INTEGER, version INTEGER, grp TEXT, label INTEGER, prediction INTEGER, bare INTEGER,
        n INTEGER NOT NULL,
        PRIMARY KEY (model, minute, version, grp, label, prediction, bare)) STRICT, WITHOUT ROWID"""
LEDGER_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS cells (
        model TEXT, level INTEGER, period INTEGER, version INTEGER, grp TEXT, label INTEGER, prediction INTEGER,
        bare INTEGER, n INTEGER NOT NULL,
        PRIMARY KEY (model, level, period, version, grp, label, prediction, bare)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS arrivals (
        model TEXT, came INTEGER, made INTEGER, version INTEGER, grp TEXT, label INTEGER, prediction INTEGER,
        bare INTEGER, n INTEGER NOT NULL,
        PRIMARY KEY (model, came, made, version, grp, label, prediction, bare)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS labelled (
        nonce BLOB PRIMARY KEY, day INTEGER NOT NULL, label INTEGER NOT NULL, grp TEXT NOT NULL)
        STRICT, WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS labelled_day ON labelled (day)",
    """CREATE TABLE IF NOT EXISTS observed (
        model TEXT, key BLOB, day INTEGER NOT NULL, receipt TEXT NOT NULL,
        PRIMARY KEY (model, key)) STRICT, WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS observed_day ON observed (day)",
    """CREATE TABLE IF NOT EXISTS observed_days (
        model TEXT, day INTEGER, n INTEGER NOT NULL, PRIMARY KEY (model, day)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS released (
        model TEXT, size INTEGER, minute INTEGER, revision INTEGER NOT NULL, text TEXT NOT NULL,
        PRIMARY KEY (model, size, minute)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS runs (
        run TEXT PRIMARY KEY, started_at REAL NOT NULL, last_flush_at REAL NOT NULL, closed_at REAL,
        last_batch INTEGER NOT NULL) STRICT""",
    "CREATE TABLE IF NOT EXISTS losses (run TEXT, since REAL, until REAL, dropped INTEGER, reason TEXT) STRICT",
    "CREATE TABLE IF NOT EXISTS people (model TEXT, grp TEXT, PRIMARY KEY (model, grp)) STRICT, WITHOUT ROWID",
    # ---- migration from schema 2, whose arrivals lack the minute of the prediction
    "DELETE FROM cells WHERE level = 3",
    # ---- migration from schema 1, which had minutes only
    _V1,
    "CREATE TABLE IF NOT EXISTS known (nonce BLOB PRIMARY KEY, label INTEGER, grp TEXT) STRICT, WITHOUT ROWID",
    f"INSERT INTO cells SELECT model, 0, minute, {_KEY}, n FROM counts",  # nosec B608
    f"INSERT INTO cells SELECT model, 1, minute / 60, {_KEY}, SUM(MAX(n, 0)) FROM counts GROUP BY 1, 2, 3, {_KEY}",  # nosec B608
    f"INSERT INTO cells SELECT model, 2, minute / 1440, {_KEY}, SUM(MAX(n, 0)) FROM counts GROUP BY 1, 2, 3, {_KEY}",  # nosec B608
    "INSERT INTO labelled SELECT nonce, CAST(strftime('%s', 'now') AS INTEGER) / 86400, label, grp FROM known",
    "DROP TABLE counts",
    "DROP TABLE known",
)
LEDGER_SCHEMA_VERSION = 4
RUN_DAYS = 30
"""Days for which the row of a closed run is kept."""
PRUNED_AT_ONCE = 20_000
"""Most observations forgotten in one transaction, a minute; counts wait for it meanwhile."""


class SqliteLedger:
    """The LedgerStore of one machine: an open SQLite file."""

    def __init__(self, path: Path, busy_seconds: float, runs: Path | None = None) -> None:
        self._file = SqliteFile(
            path, LEDGER_SCHEMA, LEDGER_SCHEMA_VERSION, busy_seconds=busy_seconds, synchronous="NORMAL"
        )
        self._runs = runs or path.with_name(f"{path.name}.runs")
        make_private_folder(self._runs)

    def start(self, run: str, interval: float, now: float) -> LivenessFile:
        """Register a run, under the write lock, so that no scan takes its new file for that of a dead process."""
        with self._file.write() as db:
            presence = LivenessFile(self._runs / run, interval, now)
            db.execute("INSERT INTO runs VALUES (?, ?, ?, NULL, 0)", (run, now, now))
        return presence

    def finish(self, run: str, now: float) -> None:
        """Record that a run ended cleanly."""
        with self._file.write() as db:
            db.execute("UPDATE runs SET closed_at = ? WHERE run = ?", (now, run))

    def reap_dead_runs(self, now: float) -> list[Loss]:
        """Close the runs of killed processes, once each, and return their possible losses; delete expired rows."""
        with self._file.write() as db:
            found = find_dead_runs(self._runs, now)
            lost = {each.run: each.loss for each in found} | self._untraceable(db, now)
            entered = {run: loss for run, loss in lost.items() if _close(db, run, now) and loss}
            for run, loss in entered.items():
                _insert_loss(db, run, loss)
            _prune(db, _believed(db, now))
        for each in found:
            each.path.unlink(missing_ok=True)
        return list(entered.values())

    def _untraceable(self, db: sqlite3.Connection, now: float) -> dict[str, Loss | None]:
        """Open runs without a liveness file, as after a restored backup: all since their last batch may be lost."""
        rows = db.execute("SELECT run, last_flush_at FROM runs WHERE closed_at IS NULL").fetchall()
        return {run: Loss(last, now, 0, "killed") for run, last in rows if not (self._runs / run).exists()}

    def apply(self, run: str, batch: CountBatch) -> None:
        """Count a batch, unless it was counted before."""
        with self._file.write() as db:
            fresh = db.execute(
                "UPDATE runs SET last_batch = ?, last_flush_at = ? WHERE run = ? AND last_batch < ?",
                (batch.number, batch.taken_at, run, batch.number),
            )
            if fresh.rowcount == 0:
                return
            _add(db, batch.cells.items(), batch.taken_at)
            db.executemany("INSERT OR IGNORE INTO people VALUES (?, ?)", sorted(batch.groups))
            if batch.loss:
                _insert_loss(db, run, batch.loss)

    def feedback(self, items: Sequence[Feedback], now: float) -> list[FeedbackOutcome]:
        """Move each prediction from its current cell to that of its new label and group."""
        with self._file.write() as db:
            held = _believed(db, now)
            return [_apply_feedback(db, item, now, held) for item in items]

    def observe(self, items: Sequence[Observation], now: float, most: int) -> list[StoredObservation | None]:
        """Count observations of one series whose keys are not known there, all in one transaction."""
        with self._file.write() as db:
            room = most - _observed(db, items[0].cell.model)
            stored = []
            for item in items:
                found = _remember(db, item, now) if room > 0 else _remembered(db, item)
                room -= found is not None and found.fresh
                stored.append(found)
            _count_observed(db, [item for item, found in zip(items, stored, strict=True) if found and found.fresh], now)
        return stored

    def counts(self, model: str, since_minute: int, until_minute: int) -> dict[Cell, int]:
        """Counts of a model over the minutes [since, until)."""
        query = f"""SELECT {_KEY}, SUM(n) FROM cells
            WHERE model = ? AND level = ? AND period >= ? AND period < ? AND n > 0 GROUP BY {_KEY}"""  # nosec B608
        total = Counter[tuple[int, str, int, int, int]]()
        with self._file.read() as db:
            for span in cover_minutes(since_minute, until_minute):
                for *key, n in db.execute(query, (model, *span)):
                    total[tuple(key)] += n
        return {_cell(model, 0, *key): n for key, n in total.items()}

    def series(
        self, model: str, level: Level, since_minute: int, until_minute: int, made_since: int = 0
    ) -> dict[Cell, int]:
        """Counts by period of one level; ARRIVAL: only labels of predictions made in `made_since` or later."""
        if level is Level.ARRIVAL:
            return self._arrivals(model, since_minute, until_minute, made_since)
        query = f"""SELECT period, {_KEY}, n FROM cells
            WHERE model = ? AND level = ? AND period >= ? AND period < ? AND n > 0"""  # nosec B608
        size = level.minutes
        with self._file.read() as db:
            rows = db.execute(query, (model, level, -(-since_minute // size), until_minute // size))
            return {_cell(model, period * size, *key): n for period, *key, n in rows}

    def _arrivals(self, model: str, since: int, until: int, made_since: int) -> dict[Cell, int]:
        query = f"""SELECT came, {_KEY}, SUM(n) FROM arrivals
            WHERE model = ? AND came >= ? AND came < ? AND made >= ? GROUP BY came, {_KEY}"""  # nosec B608
        with self._file.read() as db:
            rows = db.execute(query, (model, since, until, made_since))
            return {_cell(model, came, *key): n for came, *key, n in rows}

    def groups(self) -> set[tuple[str, str]]:
        """All (model, group name) ever counted."""
        with self._file.read() as db:
            return set(db.execute("SELECT model, grp FROM people"))

    def losses(self, since: float, until: float) -> list[Loss]:
        """Possible losses between two times (seconds since 1970), oldest first."""
        query = "SELECT since, until, dropped, reason FROM losses WHERE until >= ? AND since <= ? ORDER BY since"
        with self._file.read() as db:
            return [Loss(*row) for row in db.execute(query, (since, until))]

    def releases(self, model: str, size: int, since_minute: int, until_minute: int) -> dict[int, Release]:
        """Releases by first minute of the period."""
        query = (
            "SELECT minute, revision, text FROM released WHERE model = ? AND size = ? AND minute >= ? AND minute < ?"
        )
        with self._file.read() as db:
            rows = db.execute(query, (model, size, since_minute, until_minute))
            return {minute: Release(revision, text) for minute, revision, text in rows}

    def release(self, model: str, size: int, minute: int, new: Release) -> bool:
        """Store a period's release; False if its revision was taken meanwhile."""
        statement = """INSERT INTO released VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE
            SET revision = excluded.revision, text = excluded.text WHERE revision < excluded.revision"""
        with self._file.write() as db:
            return db.execute(statement, (model, size, minute, *new)).rowcount == 1

    def close(self) -> None:
        """Close the file."""
        self._file.close()


_ADD = "INSERT INTO cells VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n"


_ARRIVED = "INSERT INTO arrivals VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1) ON CONFLICT DO UPDATE SET n = n + 1"


def _add(db: sqlite3.Connection, cells: Iterable[tuple[Cell, int]], now: float) -> None:
    """Change counts at every level. A minute's count may be negative; hours and days sum its positive part."""
    for cell, n in cells:
        key, change = _key(cell), n
        if Level.MINUTE.holds(cell.minute, now):
            row = (cell.model, Level.MINUTE, cell.minute, *key, n)
            ((after,),) = db.execute(f"{_ADD} RETURNING n", row).fetchall()
            change = max(after, 0) - max(after - n, 0)
        for level in (Level.HOUR, Level.DAY):
            if change and level.holds(cell.minute, now):
                db.execute(_ADD, (cell.model, level, cell.minute // level.minutes, *key, change))


def _key(cell: Cell) -> tuple[int, str, int, int, int]:
    label = NOTHING if cell.label is None else cell.label
    bare = NOTHING if cell.bare is None else cell.bare
    return cell.version or 0, cell.group, label, cell.prediction, bare


def _cell(model: str, minute: int, version: int, group: str, label: int, prediction: int, bare: int) -> Cell:
    return Cell(model, minute, version or None, group, _optional(label), prediction, _optional(bare))


def _optional(value: int) -> int | None:
    return None if value == NOTHING else value


def _apply_feedback(db: sqlite3.Connection, item: Feedback, now: float, held: float) -> FeedbackOutcome:
    """Apply one piece of feedback that arrived at `now`, to every level that is still kept at `held`."""
    event = item.event
    row = db.execute("SELECT label, grp FROM labelled WHERE nonce = ?", (event.nonce,)).fetchone()
    label, group = (_optional(row[0]), row[1]) if row else (None, event.group)
    new_label = label if item.label is None else item.label
    new_group = item.group or group
    if (new_label, new_group) == (label, group):
        return FeedbackOutcome.UNCHANGED
    here = event.cell(new_label, new_group)
    _add(db, [(event.cell(label, group), -1), (here, 1)], held)
    stored = NOTHING if new_label is None else new_label
    day = event.minute // Level.DAY.minutes
    db.execute("REPLACE INTO labelled VALUES (?, ?, ?, ?)", (event.nonce, day, stored, new_group))
    if label is None and new_label is not None:
        db.execute(_ARRIVED, (here.model, int(now // 60), here.minute, *_key(here)))
    replaced = label not in (None, new_label) or group not in (UNKNOWN, new_group)
    return FeedbackOutcome.CORRECTED if replaced else FeedbackOutcome.COUNTED


def _observed(db: sqlite3.Connection, series: str) -> int:
    (n,) = db.execute("SELECT COALESCE(SUM(n), 0) FROM observed_days WHERE model = ?", (series,)).fetchone()
    return int(n)


def _remember(db: sqlite3.Connection, item: Observation, now: float) -> StoredObservation | None:
    row = (item.cell.model, item.key, int(now // 86400), item.receipt)
    fresh = db.execute("INSERT OR IGNORE INTO observed VALUES (?, ?, ?, ?)", row).rowcount == 1
    return StoredObservation(item.receipt, True) if fresh else _remembered(db, item)


def _remembered(db: sqlite3.Connection, item: Observation) -> StoredObservation | None:
    query = "SELECT receipt FROM observed WHERE model = ? AND key = ?"
    row = db.execute(query, (item.cell.model, item.key)).fetchone()
    return StoredObservation(row[0], False) if row else None


def _count_observed(db: sqlite3.Connection, items: Sequence[Observation], now: float) -> None:
    """Count observations, and the labels that came with them, as a prediction and its feedback would."""
    _add(db, Counter(item.cell for item in items).items(), now)
    for item in items:
        if item.label is not None:
            event, cell = item.event, item.cell
            row = (event.nonce, event.minute // Level.DAY.minutes, item.label, event.group)
            db.execute("REPLACE INTO labelled VALUES (?, ?, ?, ?)", row)
            db.execute(_ARRIVED, (cell.model, int(now // 60), cell.minute, *_key(cell)))
    if items:
        added = (items[0].cell.model, int(now // 86400), len(items))
        db.execute("INSERT INTO observed_days VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n", added)


def _prune(db: sqlite3.Connection, now: float) -> None:
    for level in Level:
        if level.kept_days is not None:
            first = int(now // 60 - (level.kept_days + SLACK_DAYS) * Level.DAY.minutes) // level.minutes
            for model in _models(db):
                db.execute("DELETE FROM cells WHERE model = ? AND level = ? AND period < ?", (model, level, first))
    oldest = int(now // 60) - ((Level.ARRIVAL.kept_days or 0) + SLACK_DAYS) * Level.DAY.minutes
    for model in _models(db):
        db.execute("DELETE FROM arrivals WHERE model = ? AND came < ?", (model, oldest))
    disclosed = int(now // 60) - (RELEASE_DAYS + SLACK_DAYS) * Level.DAY.minutes
    for model in _models(db):
        for level in (Level.HOUR, Level.DAY):
            where = (model, level.minutes, disclosed)
            db.execute("DELETE FROM released WHERE model = ? AND size = ? AND minute < ?", where)
    _forget_observed(db, int(now // 86400) - OBSERVED_DAYS - SLACK_DAYS)
    oldest_day = int(now // 86400) - LABEL_DAYS - SLACK_DAYS
    db.execute("DELETE FROM labelled WHERE day < ?", (oldest_day,))
    db.execute("DELETE FROM losses WHERE until < ?", (oldest_day * 86400,))
    db.execute("DELETE FROM runs WHERE closed_at < ?", (now - RUN_DAYS * 86400,))


def _forget_observed(db: sqlite3.Connection, oldest_day: int) -> None:
    some = "SELECT model, key FROM observed WHERE day < ? LIMIT ?"
    db.execute(f"DELETE FROM observed WHERE (model, key) IN ({some})", (oldest_day, PRUNED_AT_ONCE))  # nosec B608
    db.execute("DELETE FROM observed_days WHERE day < ?", (oldest_day,))


def _believed(db: sqlite3.Connection, now: float) -> float:
    """The reference time of deletions; see `believed`."""
    query = "SELECT DISTINCT period FROM cells WHERE model = ? AND level = ? ORDER BY period DESC LIMIT ?"
    rows = (db.execute(query, (model, Level.DAY, WITNESS_DAYS)).fetchall() for model in _models(db))
    return believed(now, sorted({day for found in rows for (day,) in found}, reverse=True))


def _models(db: sqlite3.Connection) -> list[str]:
    """All models that have counts, by one step along the index for each; DISTINCT would read every row."""
    found: list[str] = []
    while (row := db.execute("SELECT MIN(model) FROM cells WHERE model > ?", (found[-1] if found else "",)).fetchone())[
        0
    ]:
        found.append(row[0])
    return found


def _close(db: sqlite3.Connection, run: str, now: float) -> bool:
    return db.execute("UPDATE runs SET closed_at = ? WHERE run = ? AND closed_at IS NULL", (now, run)).rowcount == 1


def _insert_loss(db: sqlite3.Connection, run: str, loss: Loss) -> None:
    db.execute("INSERT INTO losses VALUES (?, ?, ?, ?, ?)", (run, loss.since, loss.until, loss.dropped, loss.reason))
