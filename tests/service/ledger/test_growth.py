"""What a ledger reads, writes and forgets costs the same after three months as after ten days: SQLite's steps."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service.ledger.backend import CountBatch
from service.ledger.events import Cell, Feedback, PredictionEvent
from service.ledger.sqlite_ledger import SqliteLedger
from service.ledger.time_buckets import Level

NOW = 1_790_000_000 // 86400 * 86400 + 12.5 * 3600
MINUTE = int(NOW // 60)
FEW, MANY = 12, 95
"""Days with counts."""
MORE = 1.3
STEPS = 10
CELLS = tuple(itertools.product((1, 2), ("a", "b"), (0, 1), (0, 1)))


def filled(path: Path, days: int) -> SqliteLedger:
    """Counts in every hour of so many days, and a label of each day; minutes of the last day."""
    ledger = SqliteLedger(path, 5.0)
    ledger.start("run", 1.0, NOW)
    with ledger._file.write() as db:
        for version, group, label, prediction in CELLS:
            key = (version, group, label, prediction, -1, 5)
            for level, span in ((Level.MINUTE, 1440), (Level.HOUR, 24 * days), (Level.DAY, days)):
                last = MINUTE // level.minutes
                rows = [("m", level, period, *key) for period in range(last - span, last + 1)]
                db.executemany("INSERT INTO cells VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        labels = [(day.to_bytes(12, "big"), MINUTE // 1440 - day, 1, "a") for day in range(days)]
        db.executemany("INSERT INTO labelled VALUES (?, ?, ?, ?)", labels)
    ledger.reap_dead_runs(NOW)
    return ledger


@pytest.fixture(scope="module")
def ledgers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, SqliteLedger]]:
    found = {days: filled(tmp_path_factory.mktemp("ledger") / "ledger.sqlite", days) for days in (FEW, MANY)}
    yield found
    for ledger in found.values():
        ledger.close()


def steps(ledger: SqliteLedger, call: Callable[[SqliteLedger], object]) -> int:
    """How far SQLite's machine runs for a call, in units of STEPS."""
    found = [0]

    def count() -> int:
        found[0] += 1
        return 0

    for each in ledger._file._connections:
        each.set_progress_handler(count, STEPS)
    call(ledger)
    for each in ledger._file._connections:
        each.set_progress_handler(None, STEPS)
    return found[0]


NUMBERS = itertools.count(1)


def batch(ledger: SqliteLedger) -> None:
    cells = {Cell("m", MINUTE, version, group, label, h, None): 3 for version, group, label, h in CELLS}
    ledger.apply("run", CountBatch(next(NUMBERS), NOW, cells, frozenset(), None))


def label(ledger: SqliteLedger) -> None:
    ledger.feedback([Feedback(PredictionEvent("m", MINUTE - 5, 1, 1, "a"), 1)], NOW)


CALLS: dict[str, Callable[[SqliteLedger], object]] = {
    "a flush": batch,
    "a late label": label,
    "every minute": lambda ledger: ledger.reap_dead_runs(NOW),
    "5m": lambda ledger: ledger.counts("m", MINUTE - 5, MINUTE),
    "24h": lambda ledger: ledger.counts("m", MINUTE - 1440, MINUTE),
    "7d": lambda ledger: ledger.counts("m", MINUTE // 60 * 60 - 7 * 1440, MINUTE),
    "24h by hours": lambda ledger: ledger.series("m", Level.HOUR, MINUTE - 1440, MINUTE),
    "groups": lambda ledger: ledger.groups(),
    "losses": lambda ledger: ledger.losses(NOW - 86400, NOW),
}


@pytest.mark.parametrize("name", CALLS)
def test_three_months_cost_no_more_than_ten_days(ledgers: dict[int, SqliteLedger], name: str) -> None:
    few, many = (steps(ledger, CALLS[name]) for ledger in ledgers.values())
    assert many <= MORE * few + 3


def test_a_quarter_is_read_by_its_days(ledgers: dict[int, SqliteLedger]) -> None:
    """90 days are 12 hours, 30 minutes and 90 days of the 129,600 minutes."""
    since = (MINUTE - 90 * 1440) // 1440 * 1440
    whole = steps(ledgers[MANY], lambda ledger: ledger.counts("m", since, MINUTE))
    day = steps(ledgers[MANY], CALLS["24h"])
    assert whole < 2.5 * day
