"""Prometheus collectors of the queues, the serving triggers, live fairness and the guard's evidence.

A scrape reads memory only: engine processes and the ledger are read in the background (CachedReading), and a scrape
shows the latest reading.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from service.engine import ServedModel
from service.engine.endpoint_health import ENDPOINT_STATUSES
from service.fairness import FairnessMonitor
from service.guard import Guard
from service.rollout import TriggerState
from service.telemetry import METRIC_PREFIX, CachedReading
from triggers.errors import StoreError
from triggers.store.store import version_name

GAP_METRICS = {
    "fairness_demographic_parity_gap": "demographic_parity_difference",
    "fairness_equalized_odds_gap": "equalized_odds_difference",
}
SAMPLES = "fairness_samples"
QUEUE_SECONDS, FAIRNESS_SECONDS = 1.0, 5.0
"""Seconds between readings of the queues and of the fairness statistics; more where a reading takes long."""
MetricSample = tuple[list[str], float]
"""Label values of a sample, and its value."""
logger = logging.getLogger(__name__)


class ServingCollector(Collector):
    """Queue depth, an info sample per trigger of the rollout, the history's head, and whether it is followed."""

    def __init__(self, models: Mapping[str, ServedModel]) -> None:
        self._models = models
        self.reading = CachedReading("the queue's depth", self._depths, QUEUE_SECONDS)

    def _depths(self) -> Mapping[str, int]:
        """Queued rows by model. May wait for engine processes: not on the event loop."""
        return {name: model.backend.queued for name, model in self._models.items()}

    def collect(self) -> Iterable[Metric]:
        """Called by the registry."""
        depth = GaugeMetricFamily(f"{METRIC_PREFIX}_queue_depth", "Rows that wait for a batch", labels=["model"])
        labels = ["model", "version", "digest", "alias"]
        info = GaugeMetricFamily(f"{METRIC_PREFIX}_trigger_info", "The trigger that serves; always 1", labels=labels)
        history = GaugeMetricFamily(
            f"{METRIC_PREFIX}_history_entry",
            "Number of the history's last entry as it was followed",
            labels=["model", "hash"],
        )
        behind = GaugeMetricFamily(
            f"{METRIC_PREFIX}_rollout_behind", "1 while the store wants another", labels=["model"]
        )
        fault = GaugeMetricFamily(
            f"{METRIC_PREFIX}_rollout_fault",
            "1 while the store's rollout is refused, or was never read",
            labels=["model"],
        )
        for name, queued in (self.reading.value or {}).items():
            depth.add_metric([name], queued)
        for name, model in self._models.items():
            desired, head = model.controller.status.desired, model.controller.status.head
            if head:
                history.add_metric([name, head.hash], head.seq)
            for alias, version, digest in versions_by_alias(model.state):
                info.add_metric([name, version_name(version), digest or "", alias], 1)
            behind.add_metric([name], float(desired.revision != model.state.revision))
            fault.add_metric([name], float(model.controller.fault is not None))
        return [depth, info, history, behind, fault]


class EndpointCollector(Collector):
    """The status of every endpoint, as this process sees it: 1 for the present one, 0 for the others."""

    def __init__(self, models: Mapping[str, ServedModel]) -> None:
        self._models = models

    def collect(self) -> Iterable[Metric]:
        """Called by the registry."""
        gauge = GaugeMetricFamily(
            f"{METRIC_PREFIX}_endpoint_status",
            "1 for the status of a model's endpoint: unverified, answers, away or changed",
            labels=["model", "status"],
        )
        for name, model in self._models.items():
            if endpoint := model.backend.endpoint:
                for status in ENDPOINT_STATUSES:
                    gauge.add_metric([name, status], float(status == endpoint.status))
        return [gauge]


class LoadingCollector(Collector):
    """Which models of the settings are served, and which failed their self-check."""

    def __init__(self, served: Collection[str], failed: Collection[str]) -> None:
        self._served, self._failed = served, failed

    def collect(self) -> Iterable[Metric]:
        """Called by the registry."""
        up = GaugeMetricFamily(
            f"{METRIC_PREFIX}_model_up", "1 for a model that is served, 0 for one that failed", labels=["model"]
        )
        for name in (*self._served, *self._failed):
            up.add_metric([name], float(name in self._served))
        return [up]


class ProcessCollector(Collector):
    """Which engine processes are connected, as seen by the HTTP worker that is scraped."""

    def __init__(self, states: Callable[[], Sequence[tuple[str, bool]]]) -> None:
        self._states = states

    def collect(self) -> Iterable[Metric]:
        """Called by the registry."""
        labels = ["process", "device"]
        up = GaugeMetricFamily(f"{METRIC_PREFIX}_device_up", "1 while a process computes on this device", labels=labels)
        for number, (device, there) in enumerate(self._states()):
            up.add_metric([str(number), device], float(there))
        return [up]


class GuardCollector(Collector):
    """The evidence of the guard's tests: an alarm is raised when an e-value reaches its threshold.

    E-values have one digit, since readers of metrics may not see exact counts.
    """

    def __init__(self, guard: Guard, models: Collection[str]) -> None:
        self._guard, self._models = guard, models

    def collect(self) -> Iterable[Metric]:
        """Called by the registry."""
        keys = ["model", "version", "test"]
        value = GaugeMetricFamily(f"{METRIC_PREFIX}_guard_e_value", "Largest e-value of the test so far", labels=keys)
        threshold = GaugeMetricFamily(
            f"{METRIC_PREFIX}_guard_threshold", "E-value at which the test fires", labels=keys
        )
        for model in self._models:
            for each in self._guard.evidence(model):
                labels = [model, version_name(each.hypothesis.version), each.hypothesis.test]
                value.add_metric(labels, float(f"{each.peak:.0e}"))
                threshold.add_metric(labels, each.threshold)
        return [value, threshold]


def versions_by_alias(state: TriggerState) -> list[tuple[str, int | None, str | None]]:
    """(alias, version, digest) of every version in the plan: champion, challenger, shadow."""
    plan = state.plan
    trial = [("challenger", plan.challenger.version)] if plan.challenger else []
    named = [("champion", plan.champion), *trial, *(("shadow", version) for version in plan.shadow.versions)]
    return [(alias, version, state.digest(version)) for alias, version in named]


class FairnessCollector(Collector):
    """Gaps over the shortest window (hour or day) by model and version, as disclosed without a token.

    Undefined gaps, and models whose counts could not be read, have no sample.
    """

    def __init__(self, monitor: FairnessMonitor, models: Collection[str]) -> None:
        self._monitor, self._models = monitor, models
        self.reading = CachedReading("fairness for the metrics", self._rows, FAIRNESS_SECONDS)

    def collect(self) -> Iterable[Metric]:
        """Called by the registry."""
        keys = ["model", "version", "window"]
        gauges = {
            name: GaugeMetricFamily(f"{METRIC_PREFIX}_{name}", key, labels=keys) for name, key in GAP_METRICS.items()
        }
        gauges[SAMPLES] = GaugeMetricFamily(
            f"{METRIC_PREFIX}_{SAMPLES}", "Predictions counted", labels=[*keys, "group"]
        )
        for name, rows in (self.reading.value or {}).items():
            for labels, value in rows:
                gauges[name].add_metric(labels, value)
        return gauges.values()

    def _rows(self) -> Mapping[str, list[MetricSample]]:
        found: dict[str, list[MetricSample]] = {name: [] for name in (*GAP_METRICS, SAMPLES)}
        window = self._monitor.windows.shortest
        for model in self._models:
            try:
                versions = self._monitor.fairness_report(model, window, exact=False)["versions"]
            except StoreError as error:
                logger.warning("no fairness metrics for %s: %s", model, error)
                continue
            for version, report in versions.items():
                labels = [model, version, window]
                for name, key in GAP_METRICS.items():
                    if (value := report["gaps"][key]["value"]) is not None:
                        found[name].append((labels, value))
                found[SAMPLES] += [([*labels, group], each["n"]) for group, each in report["groups"].items()]
        return found
