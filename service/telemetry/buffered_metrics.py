"""A buffer in front of the Prometheus metrics of the predict path.

Updating a metric takes far longer than an append to a list, longest in the files that several processes share, and a
request makes some ten updates.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter as Multiset
from collections import defaultdict
from collections.abc import Iterable
from typing import TypeVar

from prometheus_client import Counter, Histogram

_T = TypeVar("_T")
MAX_BUFFERED = 2000
"""Most values in the buffer: few enough that no request is delayed noticeably by a flush."""


class BulkHistogram(Histogram):
    """A histogram that takes many values at once."""

    def observe_all(self, values: Iterable[float]) -> None:
        """As `observe` for each value."""
        bounds, total = self._upper_bounds, 0.0
        found = [0] * len(bounds)
        for value in values:
            found[bisect_left(bounds, value)] += 1
            total += value
        self._sum.inc(total)
        for bucket, count in zip(self._buckets, found, strict=True):
            if count:
                bucket.inc(count)


class BufferedMetrics:
    """Buffered values of counters and histograms. On any thread."""

    def __init__(self) -> None:
        self._counted: list[Counter] = []
        self._observed: list[tuple[BulkHistogram, float]] = []
        self._entering = threading.Lock()

    def count(self, counter: Counter) -> None:
        """Add 1 to a counter."""
        self._counted.append(counter)
        if len(self._counted) >= MAX_BUFFERED:
            self.flush()

    def observe(self, histogram: BulkHistogram, value: float) -> None:
        """Add a value to a histogram."""
        self._observed.append((histogram, value))
        if len(self._observed) >= MAX_BUFFERED:
            self.flush()

    def flush(self) -> None:
        """Apply all buffered values."""
        with self._entering:
            for counter, count in Multiset(_taken(self._counted)).items():
                counter.inc(count)
            values = defaultdict[BulkHistogram, list[float]](list)
            for histogram, value in _taken(self._observed):
                values[histogram].append(value)
            for histogram, each in values.items():
                histogram.observe_all(each)


def _taken(waiting: list[_T]) -> list[_T]:
    taken = waiting[:]
    del waiting[: len(taken)]  # values that another thread appends meanwhile stay
    return taken
