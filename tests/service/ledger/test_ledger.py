"""The ledger: exact counts through threads, failures, repeats, corrections and sudden death."""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.ledger.events import Feedback, PredictionEvent
from service.ledger.ledger import OTHER_GROUP, Ledger
from tests.service.counted import MINUTE, NEVER, everything, locked, prediction
from triggers.errors import StoreError, StoreUnavailable


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    with Ledger(path, flush_interval=NEVER, busy_seconds=0.05) as opened:
        yield opened


# ---- counting --------------------------------------------------------------------------------------------------


def test_predictions_are_counted_by_cell(ledger: Ledger) -> None:
    for event in (prediction(1), prediction(1), prediction(0), prediction(1, "b"), prediction(1, version=None)):
        ledger.record(event)
    ledger.record(prediction(1, bare=0))
    assert everything(ledger) == {
        (1, "a", None, 1, None): 2,
        (1, "a", None, 0, None): 1,
        (1, "b", None, 1, None): 1,
        (None, "a", None, 1, None): 1,
        (1, "a", None, 1, 0): 1,
    }


def test_models_and_minutes_are_kept_apart(ledger: Ledger) -> None:
    for minute in range(MINUTE, MINUTE + 10):
        ledger.record(prediction(minute=minute))
    ledger.record(PredictionEvent("other model", MINUTE, 1, 1, "a"))
    assert sum(ledger.counts("m", MINUTE + 2, MINUTE + 5).values()) == 3
    assert sum(ledger.counts("other model", 0, 2**31).values()) == 1
    assert ledger.counts("no model", 0, 2**31) == {}


def test_counts_survive_a_restart(path: Path) -> None:
    with Ledger(path, flush_interval=NEVER) as first:
        first.record(prediction())
    with Ledger(path, flush_interval=NEVER) as second:
        second.record(prediction())
        assert everything(second) == {(1, "a", None, 1, None): 2}
        assert second.possible_loss(0, 2**40) == []


def test_the_thread_flushes_by_itself(path: Path) -> None:
    with Ledger(path, flush_interval=0.02) as writing, Ledger(path, flush_interval=NEVER) as reading:
        writing.record(prediction())
        deadline = time.monotonic() + 10
        while not everything(reading) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert everything(reading) == {(1, "a", None, 1, None): 1}


def test_threads_lose_nothing(path: Path) -> None:
    draw = random.Random(0)
    streams = [[prediction(draw.randrange(2), draw.choice("ab")) for _ in range(3000)] for _ in range(4)]

    def work(busy: Ledger, stream: list[PredictionEvent]) -> None:
        for event in stream:
            busy.record(event)

    with Ledger(path, flush_interval=0.005) as shared:
        threads = [threading.Thread(target=work, args=(shared, stream)) for stream in streams]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert everything(shared) == Counter(event.cell()[2:] for stream in streams for event in stream)


# ---- group names -----------------------------------------------------------------------------------------------


def test_a_group_may_be_missing_or_blank(ledger: Ledger) -> None:
    assert [ledger.canonical_group("m", name) for name in (None, "", "  ", " a ")] == [
        "unknown",
        "unknown",
        "unknown",
        "a",
    ]


def test_too_many_groups_become_other(path: Path) -> None:
    with Ledger(path, flush_interval=NEVER, max_groups=3) as ledger:
        names = [ledger.canonical_group("m", f"g{i}") for i in range(5)]
        assert names == ["g0", "g1", "g2", OTHER_GROUP, OTHER_GROUP]
        assert ledger.canonical_group("m", "g1") == "g1"
        assert ledger.canonical_group("m", None) == "unknown"
        assert ledger.canonical_group("another model", "g9") == "g9"
        assert (ledger.group_limit_reached("m"), ledger.group_limit_reached("another model")) == (True, False)
        event = prediction(group="g0")
        ledger.record(event)
        ledger.feedback([Feedback(event, 1, "g7")])
        assert everything(ledger) == {(1, OTHER_GROUP, 1, 1, None): 1}
    with Ledger(path, flush_interval=NEVER, max_groups=3) as reopened:
        assert [reopened.canonical_group("m", name) for name in ("g2", "g3")] == ["g2", OTHER_GROUP]


# ---- when the file cannot be written ---------------------------------------------------------------------------


def test_a_file_that_is_busy_delays_and_loses_nothing(ledger: Ledger, path: Path) -> None:
    early, late = prediction(), prediction(0)
    ledger.record(early)
    ledger.flush()
    with locked(path):
        ledger.record(late)
        with pytest.raises(StoreUnavailable):
            ledger.flush()
        with pytest.raises(StoreUnavailable):
            ledger.feedback([Feedback(early, 1)])
        ledger.record(late)
        assert everything(ledger) == {(1, "a", None, 1, None): 1}  # what was written can still be read
    ledger.feedback([Feedback(early, 1)])
    assert everything(ledger) == {(1, "a", 1, 1, None): 1, (1, "a", None, 0, None): 2}


def test_as_of_stands_still_while_nothing_can_be_written(path: Path) -> None:
    now = 1000.0
    with Ledger(path, flush_interval=NEVER, busy_seconds=0.05, clock=lambda: now) as ledger:
        ledger.record(prediction())
        with locked(path):
            now = 1100.0
            everything(ledger)
            assert ledger.as_of == 1000.0
        everything(ledger)
        assert ledger.as_of == 1100.0


def test_memory_is_bounded_and_drops_are_told(path: Path) -> None:
    now = 1000.0
    with Ledger(path, flush_interval=NEVER, max_cells=4, busy_seconds=0.05, clock=lambda: now) as ledger:
        with locked(path):
            for moment in (1000.0, 1001.0, 1002.0):
                now = moment
                for group in "abcdef":
                    ledger.record(prediction(group=group))
            with pytest.raises(StoreUnavailable):
                ledger.flush()
            ledger.record(prediction(group="g"))
            told = ledger.possible_loss(990, 1010)
            assert [(loss.since, loss.until, loss.dropped) for loss in told] == [(1000, 1002, 6), (1002, 1002, 1)]
        assert sum(everything(ledger).values()) == 12
        told = ledger.possible_loss(990, 1010)
        assert sum(loss.dropped for loss in told) == 7
        assert {loss.reason for loss in told} == {"dropped"}
        assert ledger.possible_loss(0, 900) == []


def test_closing_while_the_file_is_busy_leaves_a_possible_loss(path: Path) -> None:
    now = 1000.0
    ledger = Ledger(path, flush_interval=NEVER, busy_seconds=0.05, clock=lambda: now)
    with locked(path):
        ledger.record(prediction())
        ledger.close()
    now = 1005.0
    with Ledger(path, flush_interval=NEVER, clock=lambda: now) as next_one:
        assert [(loss.since, loss.until) for loss in next_one.lost_at_start] == [(1000.0, 1005.0)]


def test_a_ledger_of_a_newer_release_is_refused(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StoreError, match="newer release"):
        Ledger(path)


def test_recording_after_closing_harms_nobody(path: Path) -> None:
    ledger = Ledger(path, flush_interval=NEVER)
    ledger.close()
    ledger.close()
    witness = path.with_name("witness")
    with witness.open("wb") as file:  # gets the number of a file that the ledger closed
        ledger.record(prediction())
        file.write(b"untouched")
    assert witness.read_bytes() == b"untouched"
