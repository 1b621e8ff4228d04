"""Sudden death: what a killed process lost is bounded and told once, and nothing is counted twice."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from service.ledger.ledger import Ledger
from tests.service.counted import NEVER, everything, prediction

pytestmark = pytest.mark.process


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


VICTIM = """
import sys, time
from service.ledger.events import PredictionEvent
from service.ledger.ledger import Ledger
ledger = Ledger(sys.argv[1], flush_interval=float(sys.argv[2]))
print("ready", flush=True)
for number in range(10**9):
    if number == int(sys.argv[3]):
        print("paused", flush=True)
        time.sleep(60)
    ledger.record(PredictionEvent("m", 29000000, 1, 1, "a"))
    print(time.time(), flush=True)
    time.sleep(0.001)
"""


def killed(path: Path, interval: float, *, after: float, pause_at: int = -1) -> list[float]:
    """Moments at which a process recorded predictions until it was killed, `after` seconds of work or of its pause."""
    process = subprocess.Popen(
        [sys.executable, "-c", VICTIM, str(path), str(interval), str(pause_at)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    lines = [process.stdout.readline().strip()]
    while pause_at >= 0 and lines[-1] != "paused":
        lines.append(process.stdout.readline().strip())
    time.sleep(after)
    process.send_signal(signal.SIGKILL)
    lines += process.stdout.read().split("\n")[:-1]
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL
    return [float(line) for line in lines if line not in ("ready", "paused")]


def test_a_killed_process_loses_at_most_one_interval_and_says_so(path: Path) -> None:
    recorded = killed(path, 0.4, after=1.3)
    with Ledger(path, flush_interval=NEVER) as ledger:
        (loss,) = ledger.lost_at_start
        assert loss.reason == "killed"
        assert loss.seconds <= 1.0  # a busy test machine may be late for a flush, and then says so
        counted = sum(everything(ledger).values())
        safe = sum(1 for moment in recorded if moment < loss.since)
        assert 0 < safe <= counted <= len(recorded) + 1  # the last print may have died with the process
        assert recorded[-1] <= loss.until + 0.05
        assert ledger.possible_loss(loss.since, loss.until) == [loss]
    with Ledger(path, flush_interval=NEVER) as again:
        assert again.lost_at_start == []
        assert sum(everything(again).values()) == counted
        assert again.possible_loss(loss.since, loss.until) == [loss]


def test_a_process_killed_when_all_was_written_lost_nothing(path: Path) -> None:
    recorded = killed(path, 0.05, after=0.5, pause_at=50)
    assert len(recorded) == 50
    with Ledger(path, flush_interval=NEVER) as ledger:
        assert ledger.lost_at_start == []
        assert sum(everything(ledger).values()) == 50


def test_a_living_neighbour_is_not_taken_for_dead(path: Path) -> None:
    with Ledger(path, flush_interval=NEVER) as first:
        first.record(prediction())
        with Ledger(path, flush_interval=NEVER) as second:
            assert second.lost_at_start == []
            second.record(prediction())
        first.record(prediction())
        assert everything(first) == {(1, "a", None, 1, None): 3}
    assert list(path.with_name("ledger.sqlite.runs").iterdir()) == []


def test_a_run_whose_state_was_lost_is_told_from_its_last_batch(path: Path) -> None:
    killed(path, 0.05, after=0.5)
    for state in path.with_name("ledger.sqlite.runs").iterdir():
        state.unlink()
    with Ledger(path, flush_interval=NEVER) as ledger:
        (loss,) = ledger.lost_at_start
        assert loss.since < time.time() <= loss.until + 5
