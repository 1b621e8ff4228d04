"""The file behind the ledger: late labels, corrections and repeats leave exact counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.event import Cell, Event, Feedback
from service.ledger import Ledger
from service.ledger_file import Batch, LedgerFile, Outcome
from tests.service.counted import MINUTE, NEVER, everything, prediction


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    with Ledger(path, flush_interval=NEVER, busy_seconds=0.05) as opened:
        yield opened


def test_a_label_moves_the_count(ledger: Ledger) -> None:
    event = prediction()
    ledger.record(event)
    ledger.record(prediction())
    assert ledger.feedback([Feedback(event, label=0)]) == [Outcome.COUNTED]
    assert everything(ledger) == {(1, "a", None, 1, None): 1, (1, "a", 0, 1, None): 1}


def test_repeating_feedback_changes_nothing(ledger: Ledger) -> None:
    event = prediction(group="unknown")
    ledger.record(event)
    outcomes = ledger.feedback([Feedback(event, 1, "b")] * 3)
    assert outcomes == [Outcome.COUNTED, Outcome.UNCHANGED, Outcome.UNCHANGED]
    assert everything(ledger) == {(1, "b", 1, 1, None): 1}


def test_a_correction_moves_the_count_again(ledger: Ledger) -> None:
    event = prediction(group="unknown")
    ledger.record(event)
    said = [Feedback(event, 0), Feedback(event, group="b"), Feedback(event, 1), Feedback(event, group="c")]
    assert ledger.feedback(said) == [Outcome.COUNTED, Outcome.COUNTED, Outcome.CORRECTED, Outcome.CORRECTED]
    assert everything(ledger) == {(1, "c", 1, 1, None): 1}


def test_feedback_is_known_after_a_restart(path: Path) -> None:
    event = prediction()
    with Ledger(path, flush_interval=NEVER) as first:
        first.record(event)
        first.feedback([Feedback(event, 1)])
    with Ledger(path, flush_interval=NEVER) as second:
        assert second.feedback([Feedback(event, 1)]) == [Outcome.UNCHANGED]
        assert everything(second) == {(1, "a", 1, 1, None): 1}


def test_feedback_writes_what_was_recorded_before_it(path: Path) -> None:
    event = prediction()
    with Ledger(path, flush_interval=NEVER) as learning, Ledger(path, flush_interval=NEVER) as watching:
        learning.record(event)
        learning.record(prediction())
        learning.feedback([Feedback(event, 1)])
        assert everything(watching) == {(1, "a", 1, 1, None): 1, (1, "a", None, 1, None): 1}


def test_feedback_that_overtook_a_count_takes_nothing_from_other_minutes(path: Path) -> None:
    event = prediction()
    with Ledger(path, flush_interval=NEVER) as counting, Ledger(path, flush_interval=NEVER) as learning:
        counting.record(event)
        learning.record(prediction(minute=MINUTE - 1))
        learning.feedback([Feedback(event, 1)])
        assert everything(learning) == {(1, "a", 1, 1, None): 1, (1, "a", None, 1, None): 1}


def test_feedback_through_another_process_may_overtake_the_count(path: Path) -> None:
    event = prediction()
    with Ledger(path, flush_interval=NEVER) as counting, Ledger(path, flush_interval=NEVER) as learning:
        counting.record(event)
        learning.feedback([Feedback(event, 1)])
        assert everything(learning) == {(1, "a", 1, 1, None): 1}
        counting.flush()
        assert everything(learning) == {(1, "a", 1, 1, None): 1}


steps = st.lists(
    st.tuples(
        st.sampled_from(["predict", "predict", "feedback", "flush", "restart"]),
        st.integers(0, 1),  # which process
        st.integers(0, 10**6),  # which earlier prediction
        st.sampled_from([None, 0, 1]),
        st.sampled_from([None, "a", "b", "unknown"]),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(steps)
def test_counts_equal_a_recount_of_the_log(
    tmp_path_factory: pytest.TempPathFactory,
    log: list[tuple[str, int, int, int | None, str | None]],
) -> None:
    """Two processes on one file, labels and groups late, corrected and repeated, restarts in between."""
    path = tmp_path_factory.mktemp("recount") / "ledger.sqlite"
    ledgers = [Ledger(path, flush_interval=NEVER) for _ in range(2)]
    truth: dict[bytes, Cell] = {}
    events: list[Event] = []
    for action, process, number, label, group in log:
        if action == "predict":
            event = prediction(number % 2, group or "unknown", number % 3 or None, label, MINUTE + number % 5)
            events.append(event)
            truth[event.nonce] = event.cell()
            ledgers[process].record(event)
        elif action == "feedback" and events:
            event = events[number % len(events)]
            old = truth[event.nonce]
            truth[event.nonce] = event.cell(old.label if label is None else label, group or old.group)
            for _ in range(1 + number % 2):
                ledgers[process].feedback([Feedback(event, label, group)])
        elif action == "flush":
            ledgers[process].flush()
        elif action == "restart":
            ledgers[process].close()
            ledgers[process] = Ledger(path, flush_interval=NEVER)
    for each in ledgers:
        each.close()
    with Ledger(path, flush_interval=NEVER) as final:
        assert everything(final) == Counter(cell[2:] for cell in truth.values())


def test_a_batch_counts_once_however_often_it_is_delivered(path: Path) -> None:
    file = LedgerFile(path, 1.0)
    presence = file.start("run", 1.0, 0.0)
    batch = Batch(1, 0.0, {prediction().cell(): 5}, frozenset(), None)
    for _ in range(3):
        file.apply("run", batch)
    file.apply("run", Batch(2, 0.0, batch.cells, frozenset(), None))
    assert list(file.counts("m", 0, 2**31).values()) == [10]
    presence.close()
    file.close()


def test_a_flush_whose_answer_was_lost_is_repeated_safely(ledger: Ledger, path: Path) -> None:
    """The batch is in the file, but the process never learned it and delivers it again."""
    ledger.record(prediction())
    delivered = ledger._next_batch()
    assert delivered is not None
    ledger._file.apply(ledger._run, delivered)
    ledger.record(prediction())
    ledger.flush()
    assert everything(ledger) == {(1, "a", None, 1, None): 2}
