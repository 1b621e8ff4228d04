"""Admission control: a bound on the rows in work, and Retry-After from the measured drain rate."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from service.errors import Overloaded

RATE_WINDOW_SECONDS = 0.25
"""Least seconds of one measurement of the drain rate."""


class AdmissionControl:
    """Counts the rows in work, at most `capacity`. On the event loop."""

    def __init__(self, capacity: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.capacity, self._clock = capacity, clock
        self.in_flight = 0
        self._freed, self._since = 0, clock()
        self._rate = 0.0

    def acquire(self, rows: int) -> Permit:
        """A Permit for `rows`, taken now. Raises Overloaded if they do not fit."""
        if self.in_flight + rows > self.capacity:
            message = f"{self.in_flight} rows are in work already and {rows} more do not fit into {self.capacity}."
            raise Overloaded(message + " Retry later, or raise queue_size.", self.retry_after())
        if not self.in_flight:
            self._freed, self._since = 0, self._clock()  # idle time says nothing about the drain rate
        self.in_flight += rows
        return Permit(self, rows)

    def release(self, rows: int) -> None:
        """These rows are done."""
        self.in_flight -= rows
        self._measure(rows)

    def retry_after(self) -> int:
        """Whole seconds, 1 to 60, until the rows in work are done at the measured rate."""
        return min(60, max(1, math.ceil(self.in_flight / self._rate))) if self._rate else 1

    def _measure(self, rows: int) -> None:
        """A moving average of the rows freed per second while there was work."""
        self._freed += rows
        seconds = self._clock() - self._since
        if seconds >= RATE_WINDOW_SECONDS:
            self._rate = 0.5 * (self._rate or self._freed / seconds) + 0.5 * self._freed / seconds
            self._freed, self._since = 0, self._clock()


class Permit:
    """A request's admitted rows; leaving the block gives them back."""

    __slots__ = ("_admission", "_rows")

    def __init__(self, admission: AdmissionControl, rows: int) -> None:
        self._admission, self._rows = admission, rows

    def __enter__(self) -> None:
        """Nothing to do: `acquire` took the rows."""

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """The rows are done, or will not be computed."""
        self._admission.release(self._rows)
