"""A cached reading: whoever asks waits for nothing, whatever the one who reads waits for."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable

import pytest

from service.cached_reading import LEAST_PAUSE, CachedReading
from tests.service.live import wait_until


def test_it_is_read_at_once_and_again() -> None:
    numbers = itertools.count(1)
    reading = CachedReading("a number", lambda: next(numbers), 0.01)
    assert reading.value is None
    reading.start()
    wait_until(lambda: (reading.value or 0) >= 3)
    reading.stop()
    last = reading.value
    time.sleep(0.05)
    assert reading.value == last


def test_one_that_hangs_holds_nobody() -> None:
    free, began = threading.Event(), threading.Event()

    def read() -> int:
        began.set()
        free.wait(30)
        return 1

    reading = CachedReading("something slow", read, 0.01)
    reading.start()
    assert began.wait(10)
    started = time.monotonic()
    assert reading.value is None
    reading.stop()  # waits a moment only
    assert time.monotonic() - started < 10
    free.set()


def test_one_that_fails_keeps_the_one_before_and_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    steps: list[Callable[[], int]] = [lambda: 7, *[lambda: 1 // 0] * 3]
    done = threading.Event()

    def read() -> int:
        if not steps:
            done.set()
            return 8
        return steps.pop(0)()

    reading = CachedReading("the figures", read, 0.01)
    reading.start()
    wait_until(lambda: len(steps) < 3)
    assert reading.value in (7, 8)  # not None: what failed took nothing away
    assert done.wait(10)
    wait_until(lambda: reading.value == 8)
    reading.stop()
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == ["the figures cannot be read"]


def test_a_slow_one_is_made_less_often() -> None:
    times: list[float] = []

    def read() -> None:
        times.append(time.monotonic())
        time.sleep(0.02)

    reading = CachedReading("something slow", read, 0.0)
    reading.start()
    wait_until(lambda: len(times) == 2)
    reading.stop()
    assert times[1] - times[0] >= LEAST_PAUSE * 0.02
