"""Delivery to trackers: batches in order, failures said once and made up for, and a close that ends."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from tests.service.live import wait_until
from tests.trainer.progress.memory_tracker import MemoryTracker
from trainer.progress.figure_journal import FigureJournal
from trainer.progress.run_tracker import FIGURES_AT_ONCE, MOST_WAITING, RunTracker


def test_figures_come_in_order_and_the_ending_last() -> None:
    memory, notes = MemoryTracker(), list[str]()
    tracker = RunTracker([memory], notes.append)
    for step in range(3 * FIGURES_AT_ONCE):
        tracker.log(step, {"loss": 0.5, "bad": float("nan")})
    tracker.close("FINISHED")
    assert memory.steps() == list(range(3 * FIGURES_AT_ONCE))
    assert max(map(len, memory.batches)) <= FIGURES_AT_ONCE
    assert (memory.endings, notes) == (["FINISHED"], [])


def test_what_failed_is_said_once_and_comes_later_complete() -> None:
    memory, notes = MemoryTracker(), list[str]()
    memory.works.clear()
    tracker = RunTracker([memory], notes.append, pause=0.001)
    for step in range(50):
        tracker.log(step, {"loss": 0.5})
    wait_until(lambda: memory.tries >= 3)
    memory.works.set()
    wait_until(lambda: len(memory.steps()) == 50)
    tracker.close("KILLED")
    assert memory.steps() == list(range(50))
    assert notes == ["memory takes nothing now: gone. The run goes on, and it is tried again."]


def test_a_tracker_that_stays_away_is_given_up_and_the_other_gets_everything() -> None:
    gone, memory, notes = MemoryTracker(), MemoryTracker(), list[str]()
    gone.works.clear()
    tracker = RunTracker([gone, memory], notes.append, pause=3600.0)
    tracker.log(1, {"loss": 0.5})
    wait_until(lambda: bool(notes))
    tracker.close("FINISHED")  # at once, whatever the pause
    assert notes[1:] == ["memory took nothing to the end; the same command, later, delivers it."]
    assert (memory.steps(), memory.endings, gone.batches) == ([1], ["FINISHED"], [])


def test_figures_that_wait_are_bounded_and_the_latest_stay() -> None:
    memory = MemoryTracker()
    memory.works.clear()
    tracker = RunTracker([memory], lambda _: None, pause=3600.0)
    for step in range(MOST_WAITING + 10):
        tracker.log(step, {"loss": 0.5})
    memory.works.set()
    tracker.close("FINISHED")
    assert memory.steps() == list(range(10, MOST_WAITING + 10))


def test_what_a_kill_took_from_the_queue_comes_again_and_every_step_once(tmp_path: Path) -> None:
    notes, path = list[str](), tmp_path / "figures.jsonl"
    gone = MemoryTracker()
    gone.works.clear()
    killed = RunTracker([gone], notes.append, FigureJournal(path, notes.append, keep=False), pause=3600.0)
    for step in range(1, 8):
        killed.log(step, {"loss": step / 2, "late": step / 4})
    with path.open("ab") as file:
        file.write(b"[8, 17")  # the line that the kill cut off
    memory = MemoryTracker()
    again = RunTracker([memory], notes.append, FigureJournal(path, notes.append, keep=True))
    for step in range(5, 12):  # from the last checkpoint
        again.log(step, {"loss": step / 2})
    again.close("FINISHED")
    found = [(one.step, one.value) for batch in memory.batches for one in batch if one.name == "loss"]
    assert found == [(step, step / 2) for step in range(1, 12)]
    killed.close("KILLED")
    with closing(FigureJournal(path, notes.append, keep=True)) as journal:
        assert len(journal.earlier) == 7 + 11
    with closing(FigureJournal(path, notes.append, keep=False)) as journal:
        assert not journal.earlier and path.read_bytes() == b""
