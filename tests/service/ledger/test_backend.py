"""What every backing store of the ledger owes: the same tests on a file and on a real Redis."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest

from service.ledger.backend import CountBatch, FeedbackOutcome, Release
from service.ledger.events import Feedback, PredictionEvent
from service.ledger.ledger import Ledger
from service.ledger.process_liveness import Loss
from service.ledger.time_buckets import Level
from tests.service.counted import MINUTE, everything, prediction
from tests.service.stores import Where


@pytest.fixture
def ledger(where: Where) -> Iterator[Ledger]:
    with where.open() as opened:
        yield opened


def test_a_label_moves_the_count(ledger: Ledger) -> None:
    event = prediction()
    ledger.record(event)
    ledger.record(prediction())
    assert ledger.feedback([Feedback(event, label=0)]) == [FeedbackOutcome.COUNTED]
    assert everything(ledger) == {(1, "a", None, 1, None): 1, (1, "a", 0, 1, None): 1}


def test_repeating_feedback_changes_nothing(ledger: Ledger) -> None:
    event = prediction(group="unknown")
    ledger.record(event)
    outcomes = ledger.feedback([Feedback(event, 1, "b")] * 3)
    assert outcomes == [FeedbackOutcome.COUNTED, FeedbackOutcome.UNCHANGED, FeedbackOutcome.UNCHANGED]
    assert everything(ledger) == {(1, "b", 1, 1, None): 1}


def test_a_correction_moves_the_count_again(ledger: Ledger) -> None:
    event = prediction(group="unknown")
    ledger.record(event)
    said = [Feedback(event, 0), Feedback(event, group="b"), Feedback(event, 1), Feedback(event, group="c")]
    assert ledger.feedback(said) == [
        FeedbackOutcome.COUNTED,
        FeedbackOutcome.COUNTED,
        FeedbackOutcome.CORRECTED,
        FeedbackOutcome.CORRECTED,
    ]
    assert everything(ledger) == {(1, "c", 1, 1, None): 1}


def test_feedback_is_known_after_a_restart(where: Where) -> None:
    event = prediction()
    with where.open() as first:
        first.record(event)
        first.feedback([Feedback(event, 1)])
    with where.open() as second:
        assert second.feedback([Feedback(event, 1)]) == [FeedbackOutcome.UNCHANGED]
        assert everything(second) == {(1, "a", 1, 1, None): 1}


def test_feedback_writes_what_was_recorded_before_it(where: Where) -> None:
    event = prediction()
    with where.open() as learning, where.open() as watching:
        learning.record(event)
        learning.record(prediction())
        learning.feedback([Feedback(event, 1)])
        assert everything(watching) == {(1, "a", 1, 1, None): 1, (1, "a", None, 1, None): 1}


def test_feedback_that_overtook_a_count_takes_nothing_from_other_minutes(where: Where) -> None:
    event = prediction()
    with where.open() as counting, where.open() as learning:
        counting.record(event)
        learning.record(prediction(minute=MINUTE - 1))
        learning.feedback([Feedback(event, 1)])
        assert everything(learning) == {(1, "a", 1, 1, None): 1, (1, "a", None, 1, None): 1}


def test_feedback_through_another_process_may_overtake_the_count(where: Where) -> None:
    event = prediction()
    with where.open() as counting, where.open() as learning:
        counting.record(event)
        learning.feedback([Feedback(event, 1)])
        assert everything(learning) == {(1, "a", 1, 1, None): 1}
        counting.flush()
        assert everything(learning) == {(1, "a", 1, 1, None): 1}


def test_a_flush_whose_answer_was_lost_is_repeated_safely(ledger: Ledger) -> None:
    """The batch is in the store, but the process never learned it and delivers it again."""
    ledger.record(prediction())
    delivered = ledger._next_batch()
    assert delivered is not None
    ledger._store.apply(ledger._run, delivered)
    ledger.record(prediction())
    ledger.flush()
    assert everything(ledger) == {(1, "a", None, 1, None): 2}


def test_a_batch_counts_once_however_often_it_is_delivered(ledger: Ledger) -> None:
    batch = CountBatch(1, 0.0, {prediction().cell(): 5}, frozenset({("m", "a")}), Loss(1.0, 2.0, 3, "dropped"))
    for _ in range(3):
        ledger._store.apply(ledger._run, batch)
    ledger._store.apply(ledger._run, CountBatch(2, 0.0, batch.cells, frozenset(), None))
    assert list(ledger.counts("m", 0, 2**31).values()) == [10]
    assert ledger._store.losses(0, 10) == [Loss(1.0, 2.0, 3, "dropped")]
    assert ledger._store.groups() == {("m", "a")}


def test_counts_survive_a_restart(where: Where) -> None:
    for n in (1, 2, 3):
        with where.open() as ledger:
            ledger.record(prediction())
            assert everything(ledger) == {(1, "a", None, 1, None): n}
            assert ledger.possible_loss(0, 2**40) == []


def test_models_versions_and_groups_with_odd_names_are_kept_apart(ledger: Ledger) -> None:
    odd = ("a|b", "1|2|3|4|5", "ü{x}:", "a")
    for group in odd:
        ledger.record(prediction(group=group, version=None))
    ledger.record(PredictionEvent("m|2", MINUTE, 1, 1, "a"))
    assert everything(ledger) == {(None, group, None, 1, None): 1 for group in odd}
    assert sum(ledger.counts("m|2", 0, 2**31).values()) == 1


def test_hours_and_days_are_the_sums_of_their_minutes(ledger: Ledger) -> None:
    events = [prediction(minute=MINUTE + 17 * n, h=n % 2) for n in range(40)]
    for event in events:
        ledger.record(event)
    ledger.feedback([Feedback(event, 1) for event in events[:25]])
    ledger.feedback([Feedback(event, 0, "b") for event in events[:9]])
    for since, until in ((0, 2**31), (MINUTE, MINUTE + 60), (MINUTE + 5, MINUTE + 500), (MINUTE - 1440, MINUTE + 611)):
        inside = [n for n, event in enumerate(events) if since <= event.minute < until]
        found = ledger.counts("m", since, until)
        assert sum(found.values()) == len(inside)
        assert sum(n for cell, n in found.items() if cell.group == "b") == sum(1 for n in inside if n < 9)
    for level in (Level.HOUR, Level.DAY):
        for cell, n in ledger.series("m", level, 0, 2**31).items():
            assert cell.minute % level.minutes == 0
            minutes = ledger.counts("m", cell.minute, cell.minute + level.minutes)
            assert minutes[cell._replace(minute=0)] == n


def test_the_minutes_of_a_window_can_be_had_one_by_one(ledger: Ledger) -> None:
    for minute in (MINUTE, MINUTE + 1, MINUTE + 1, MINUTE + 7):
        ledger.record(prediction(minute=minute))
    found = ledger.series("m", Level.MINUTE, MINUTE, MINUTE + 7)
    assert {cell.minute: n for cell, n in found.items()} == {MINUTE: 1, MINUTE + 1: 2}


def test_a_first_label_is_also_counted_when_it_came(where: Where) -> None:
    with where.open(clock=lambda: (MINUTE + 90) * 60.0) as ledger:
        first, second = prediction(group="unknown"), prediction()
        ledger.record(first)
        ledger.record(second)
        ledger.feedback([Feedback(first, group="b")])
        ledger.feedback([Feedback(first, 1), Feedback(first, 0), Feedback(second, 0)])
        came = ledger.series("m", Level.ARRIVAL, MINUTE, MINUTE + 100)
        assert {(cell.minute, cell.group, cell.label): n for cell, n in came.items()} == {
            (MINUTE + 90, "b", 1): 1,  # the correction came later: every prediction is used once
            (MINUTE + 90, "a", 0): 1,
        }
        late = prediction(minute=MINUTE + 5)
        ledger.record(late)
        ledger.feedback([Feedback(late, 1)])
        for made_since, n in ((MINUTE, 3), (MINUTE + 5, 1), (MINUTE + 6, 0)):
            assert sum(ledger.series("m", Level.ARRIVAL, MINUTE, MINUTE + 100, made_since).values()) == n
        assert ledger.series("m", Level.ARRIVAL, MINUTE, MINUTE + 90) == {}


def test_a_label_that_comes_after_its_minutes_were_deleted_moves_what_is_left(where: Where) -> None:
    now = MINUTE * 60.0
    with where.open(clock=lambda: now) as ledger:
        event = prediction()
        for each in (event, prediction(), prediction(minute=MINUTE + 1)):
            ledger.record(each)
        ledger.flush()
        now += 30 * 86400
        ledger.feedback([Feedback(event, 1)])
        assert everything(ledger) == {(1, "a", 1, 1, None): 1, (1, "a", None, 1, None): 2}
        hour = ledger.series("m", Level.HOUR, MINUTE, MINUTE + 60)
        assert {cell.label: n for cell, n in hour.items()} == {1: 1, None: 2}


def test_only_one_process_changes_what_is_disclosed(where: Where) -> None:
    with where.open() as one, where.open() as two:
        assert one.release("m", 60, MINUTE, Release(1, '{"a|b": 1}'))
        assert not two.release("m", 60, MINUTE, Release(1, "late"))
        assert two.releases("m", 60, MINUTE, MINUTE + 60) == {MINUTE: Release(1, '{"a|b": 1}')}
        assert two.release("m", 60, MINUTE, Release(2, "next"))
        assert one.releases("m", 60, 0, 2**31) == {MINUTE: Release(2, "next")}
        assert one.releases("m", 60, 0, MINUTE) == one.releases("m", 1440, 0, 2**31) == {}


def test_two_replicas_share_group_names(where: Where) -> None:
    with where.open(max_groups=2) as one, where.open(max_groups=2) as two:
        for name in "ab":
            one.record(prediction(group=one.canonical_group("m", name)))
        one.flush()
        two._refresh()
        assert [two.canonical_group("m", name) for name in "abc"] == ["a", "b", "other"]


def test_a_killed_replica_is_found_by_its_neighbour_and_told_once(where: Where) -> None:
    now = 1000.0
    with where.open(clock=lambda: now) as neighbour:
        victim = where.open(clock=lambda: now)
        victim.record(prediction())
        victim._stop.set()
        victim._presence.close(in_order=False)  # what the kernel does to a killed process
        now = 1030.0
        neighbour._refresh()
        neighbour._refresh()
        told = neighbour.possible_loss(0, 2000)
        assert [(loss.reason, loss.since) for loss in told] == [("killed", 1000.0)]
        with suppress(OSError):
            victim._store.close()
