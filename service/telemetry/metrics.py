"""Prometheus metrics of one service, in a registry of its own: base units, bounded labels.

Where several processes are one service, each writes its counts into files of a folder (PROMETHEUS_MULTIPROC_DIR, set by
the supervisor), and the process that is scraped sums them all, those of dead processes too, so that no counter falls.
Counts of other processes may be LATE seconds old.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from service.telemetry.buffered_metrics import BufferedMetrics, BulkHistogram
from service.telemetry.reserved_memory import reserve_file

MULTIPROC_DIR_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
METRIC_PREFIX = "fairtrigger"
LATENCY_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
WHY = "as their client had gone or their deadline had passed"
BATCH_SIZE_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
EXACT = (f"{METRIC_PREFIX}_trigger_flips", f"{METRIC_PREFIX}_guard_e_value")
"""Metrics that depend on single predictions and their labels: for readers of exact counts only."""
LATE = 0.5
"""Seconds after which other processes can see this one's counts."""

FILES, FILE_BYTES = ("counter", "histogram", "gauge_livesum"), 128 * 1024
"""Files that prometheus_client maps in each process, by its names, and the bytes reserved for each: it reserves none
itself, and doubles a file only beyond that size."""

logger = logging.getLogger(__name__)
_M = TypeVar("_M", Counter, BulkHistogram)


class Metrics:
    """All counters and histograms of the service; collectors add further metrics.

    Raises ConfigError if there is no room for the files that several processes share.
    """

    def __init__(self) -> None:
        if MULTIPROC_DIR_VARIABLE in os.environ:
            _reserve(Path(os.environ[MULTIPROC_DIR_VARIABLE]))
        self.registry, self.tally = CollectorRegistry(), BufferedMetrics()
        self._added: list[Collector] = []
        self.requests = self._counter("requests", "Answered requests", "route", "model", "code")
        self.request_seconds = self._histogram(
            "request_duration_seconds", "Whole request", LATENCY_BUCKETS, "route", "model"
        )
        self.decode_seconds = self._histogram(
            "decode_duration_seconds", "Decoding one request's inputs", LATENCY_BUCKETS, "model"
        )
        self.queue_seconds = self._histogram("queue_duration_seconds", "Waiting for a batch", LATENCY_BUCKETS, "model")
        self.infer_seconds = self._histogram("infer_duration_seconds", "One forward pass", LATENCY_BUCKETS, "model")
        self.batch_size = self._histogram("batch_size", "Rows in one forward pass", BATCH_SIZE_BUCKETS, "model")
        self.in_flight = 0  # changed on the event loop only
        self._in_flight = Gauge(
            f"{METRIC_PREFIX}_requests_in_flight",
            "Requests being answered",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self.rejected = self._counter("requests_rejected", "Requests turned away", "model", "reason")
        self.requests_dropped = self._counter("requests_dropped", f"Requests not computed to the end, {WHY}", "model")
        self.items_dropped = self._counter("items_dropped", f"Queued inputs not computed, {WHY}", "model")
        self.predictions = self._counter("predictions", "Predictions by the version that made them", "model", "version")
        self.observations = self._counter(
            "observations", "Observed predictions by the version that made them elsewhere", "model", "version"
        )
        self.shadows = self._counter("shadow_predictions", "Predictions that nobody got", "model", "version")
        self.shed = self._counter("shadow_rows_shed", "Sampled twins and shadows left out under load", "model")
        self.item_errors = self._counter("item_errors", "Inputs that could not be used", "model", "code")
        self.swaps = self._counter("trigger_swaps", "Rollouts followed, by result", "model", "result")
        self.rollbacks = self._counter("rollbacks", "Rollbacks made at this replica, by cause", "model", "reason")
        self.alarms = self._counter("guard_alarms", "Tests of the guard that fired", "model", "version", "test")
        self.flips = self._counter("trigger_flips", "Twins whose label the trigger changed", "model")
        self._child: Callable[..., Any] = cache(_child)
        self._closed = threading.Event()
        if MULTIPROC_DIR_VARIABLE in os.environ:
            threading.Thread(target=self._tell_the_others, name="metrics", daemon=True).start()

    def close(self) -> None:
        """Flush the buffer; nothing is counted after that."""
        self._closed.set()
        self._enter()

    def child(self, metric: _M, *labels: str | int) -> _M:
        """The child of a metric with these labels, cached: a look-up takes longer than counting."""
        found: _M = self._child(metric, *labels)
        return found

    def on_request(self, route: str, model: str, status: int, seconds: float) -> None:
        """Count one answered request; `model` is empty unless it is one that is served."""
        self.tally.count(self.child(self.requests, route, model, status))
        self.tally.observe(self.child(self.request_seconds, route, model), seconds)

    def on_batch(self, model: str, waits: Sequence[float], infer: float, rows: int) -> None:
        """Count one batch of `rows`: a wait per request in it and one forward pass, in seconds; from any thread."""
        queue_seconds = self.child(self.queue_seconds, model)
        for wait in waits:
            self.tally.observe(queue_seconds, wait)
        self.tally.observe(self.child(self.infer_seconds, model), infer)
        self.tally.observe(self.child(self.batch_size, model), rows)

    def on_dropped(self, model: str, items: int) -> None:
        """Count a request that was dropped, and its `items` that were not computed."""
        self.requests_dropped.labels(model).inc()
        self.items_dropped.labels(model).inc(items)

    def add(self, collector: Collector) -> None:
        """Register a collector, which is read at every scrape."""
        self._added.append(collector)
        self.registry.register(collector)

    def render(self, *, exact: bool) -> tuple[bytes, str]:
        """The text exposition and its content type; without `exact` it lacks EXACT."""
        self._enter()
        registry = self._of_all_processes() if MULTIPROC_DIR_VARIABLE in os.environ else self.registry
        return generate_latest(registry if exact else _Public(registry)), CONTENT_TYPE_LATEST

    def _enter(self) -> None:
        self.tally.flush()
        self._in_flight.set(self.in_flight)

    def _tell_the_others(self) -> None:
        while not self._closed.wait(LATE):
            try:
                self._enter()
            except Exception:  # the thread boundary: the next flush tries again
                logger.exception("counts for /metrics could not be told to the other processes")

    def _of_all_processes(self) -> CollectorRegistry:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        for collector in self._added:
            registry.register(collector)
        return registry

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"{METRIC_PREFIX}_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: Sequence[float], *labels: str) -> BulkHistogram:
        return BulkHistogram(f"{METRIC_PREFIX}_{name}", text, labels, buckets=buckets, registry=self.registry)


class _Public(Collector):
    """A registry without the metrics in EXACT."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterable[Metric]:
        """Called by the exposition."""
        return (metric for metric in self._registry.collect() if metric.name.removesuffix("_total") not in EXACT)


def _child(metric: _M, *labels: str | int) -> _M:
    return metric.labels(*labels)


def _reserve(folder: Path) -> None:
    """Reserve the files of this process before they are mapped."""
    for kind in FILES:
        what = f"The processes share their counts in {folder.parent}"
        remedy = "raise it (docker run --shm-size, shm_size in compose, a larger emptyDir), or lower http_workers"
        reserve_file(folder / f"{kind}_{os.getpid()}.db", FILE_BYTES, what, remedy)
