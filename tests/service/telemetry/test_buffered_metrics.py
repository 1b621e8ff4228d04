"""Values entered many at a time: the metrics say what they would say of values entered one by one."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from service.telemetry.buffered_metrics import MAX_BUFFERED, BufferedMetrics, BulkHistogram
from service.telemetry.metrics import LATENCY_BUCKETS

VALUES = st.lists(st.floats(0, 100) | st.sampled_from(LATENCY_BUCKETS))


@given(VALUES, VALUES)
def test_a_histogram_holds_the_same_as_one_that_was_told_one_by_one(first: list[float], second: list[float]) -> None:
    bulk, plain = CollectorRegistry(), CollectorRegistry()
    ours = BulkHistogram("seconds", "Test", ["model"], buckets=LATENCY_BUCKETS, registry=bulk).labels("faces")
    theirs = Histogram("seconds", "Test", ["model"], buckets=LATENCY_BUCKETS, registry=plain).labels("faces")
    tally = BufferedMetrics()
    for values in (first, second):
        for value in values:
            tally.observe(ours, value)
            theirs.observe(value)
        tally.flush()
    told, expected = ([each for each in _samples(registry) if "_sum" not in each[0]] for registry in (bulk, plain))
    assert told == expected
    assert abs(ours._sum.get() - theirs._sum.get()) < 1e-9 * (1 + sum(first + second))


def test_nothing_is_lost_or_counted_twice_when_threads_count_and_enter() -> None:
    registry, tally, each = CollectorRegistry(), BufferedMetrics(), 3 * MAX_BUFFERED
    counter = Counter("requests", "Test", registry=registry)
    histogram = BulkHistogram("seconds", "Test", buckets=LATENCY_BUCKETS, registry=registry)

    def count() -> None:
        for n in range(each):
            tally.count(counter)
            tally.observe(histogram, 0.25)
            if n % 50 == 0:
                tally.flush()

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tally.flush()
    assert registry.get_sample_value("requests_total") == 4 * each
    assert registry.get_sample_value("seconds_count") == 4 * each
    assert registry.get_sample_value("seconds_sum") == each


def test_no_more_wait_than_said() -> None:
    registry, tally = CollectorRegistry(), BufferedMetrics()
    counter = Counter("requests", "Test", registry=registry)
    for _ in range(MAX_BUFFERED - 1):
        tally.count(counter)
    assert registry.get_sample_value("requests_total") == 0
    tally.count(counter)
    assert registry.get_sample_value("requests_total") == MAX_BUFFERED


def _samples(registry: CollectorRegistry) -> list[tuple[str, str]]:
    lines = generate_latest(registry).decode().splitlines()
    return [(name, value) for name, _, value in (line.rpartition(" ") for line in lines) if "_created" not in name]
