"""Places and the drain rate, on a clock that the test turns."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from service.engine.batching.admission_control import AdmissionControl
from service.errors import Overloaded


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def drained(places: AdmissionControl, clock: Clock, rows: int, seconds: float) -> None:
    """`rows` come in at once and are done one by one, evenly."""
    held = [ExitStack() for _ in range(rows)]
    for stack in held:
        stack.enter_context(places.acquire(1))
    for stack in held:
        clock.now += seconds / rows
        stack.close()


def test_retry_after_is_the_time_that_the_work_in_hand_takes() -> None:
    clock = Clock()
    places = AdmissionControl(400, clock)
    for _ in range(10):
        drained(places, clock, rows=200, seconds=5.0)  # 40 rows a second
        clock.now += 1000.0  # idle time is no measure of speed
    with places.acquire(400):
        with pytest.raises(Overloaded, match="400 rows are in work already") as refused, places.acquire(1):
            pass
        assert refused.value.retry_after == pytest.approx(10, abs=1)


def test_it_follows_a_change_of_speed_and_keeps_within_a_minute() -> None:
    clock = Clock()
    places = AdmissionControl(400, clock)
    assert places.retry_after() == 1
    drained(places, clock, rows=200, seconds=0.4)
    with places.acquire(400):
        assert places.retry_after() == 1
    for _ in range(8):
        drained(places, clock, rows=10, seconds=10.0)
    with places.acquire(400):
        assert places.retry_after() == 60


def test_room_is_given_back_also_after_an_error() -> None:
    places = AdmissionControl(2)
    with pytest.raises(ValueError, match="broken"), places.acquire(2):
        raise ValueError("broken")
    with places.acquire(2):
        pass
