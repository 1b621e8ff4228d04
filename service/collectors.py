"""Gauges of what others know: the queue, the trigger that serves, live fairness, and the guard's evidence.

A scrape looks into memory only. What takes longer - other processes, the ledger - is read in the background, and a
scrape sees the latest reading.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from service.cached_reading import CachedReading
from service.guard import Guard
from service.metrics import PREFIX
from service.monitor import Monitor
from service.parts import Processes
from service.residents import Applied
from service.served import ServedModel
from triggers.errors import StoreError
from triggers.store import version_name

GAPS = {
    "fairness_demographic_parity_gap": "demographic_parity_difference",
    "fairness_equalized_odds_gap": "equalized_odds_difference",
}
SAMPLES = "fairness_samples"
QUEUE_SECONDS, FAIRNESS_SECONDS = 1.0, 5.0
"""How often the queues and the fairness statistics are read, or less often where that takes long."""
Row = tuple[list[str], float]
"""Label values of a sample, and its value."""
logger = logging.getLogger(__name__)


class ServingCollector(Collector):
    """Queue depth, and one info line per trigger of the rollout that names it."""

    def __init__(self, models: Mapping[str, ServedModel]) -> None:
        self._models = models
        self.reading = CachedReading("the queue's depth", self._depths, QUEUE_SECONDS)

    def _depths(self) -> Mapping[str, int]:
        """Of queues in other processes these have to be asked."""
        return {name: model.batcher.queued for name, model in self._models.items()}

    def collect(self) -> Iterable[Metric]:
        """Called by the registry."""
        depth = GaugeMetricFamily(f"{PREFIX}_queue_depth", "Rows that wait for a batch", labels=["model"])
        labels = ["model", "version", "digest", "alias"]
        info = GaugeMetricFamily(f"{PREFIX}_trigger_info", "The trigger that serves; always 1", labels=labels)
        history = GaugeMetricFamily(
            f"{PREFIX}_history_entry", "Number of the history's last entry as it was followed", labels=["model", "hash"]
        )
        behind = GaugeMetricFamily(f"{PREFIX}_rollout_behind", "1 while the store wants another", labels=["model"])
        for name, queued in (self.reading.value or {}).items():
            depth.add_metric([name], queued)
        for name, model in self._models.items():
            desired, head = model.follower.status.desired, model.follower.status.head
            if head:
                history.add_metric([name, head.hash], head.seq)
            for alias, version, digest in aliased(model.predictor.snapshot):
                info.add_metric([name, version_name(version), digest or "", alias], 1)
            behind.add_metric([name], float(desired.revision != model.predictor.snapshot.revision))
        return [depth, info, history, behind]


class ProcessCollector(Collector):
    """Which of the processes that compute are there, as the HTTP process that is asked sees it."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes

    def collect(self) -> Iterable[Metric]:
        """Called by the registry."""
        labels = ["process", "device"]
        up = GaugeMetricFamily(f"{PREFIX}_device_up", "1 while a process computes on this device", labels=labels)
        for number, (device, there) in enumerate(self._processes.states):
            up.add_metric([str(number), device], float(there))
        return [up]


class GuardCollector(Collector):
    """The evidence of the guard's tests: an alarm is raised when an e-value reaches its threshold.

    To one digit, since metrics are read by people who may not see exact counts.
    """

    def __init__(self, guard: Guard, models: Collection[str]) -> None:
        self._guard, self._models = guard, models

    def collect(self) -> Iterable[Metric]:
        """Called by the registry."""
        keys = ["model", "version", "test"]
        value = GaugeMetricFamily(f"{PREFIX}_guard_e_value", "Largest e-value of the test so far", labels=keys)
        threshold = GaugeMetricFamily(f"{PREFIX}_guard_threshold", "E-value at which the test fires", labels=keys)
        for model in self._models:
            for each in self._guard.evidence(model):
                labels = [model, version_name(each.question.version), each.question.test]
                value.add_metric(labels, float(f"{each.peak:.0e}"))
                threshold.add_metric(labels, each.threshold)
        return [value, threshold]


def aliased(snapshot: Applied) -> list[tuple[str, int | None, str | None]]:
    """What the rollout calls the triggers that it uses: champion, challenger, shadow."""
    plan = snapshot.plan
    trial = [("challenger", plan.challenger.version)] if plan.challenger else []
    named = [("champion", plan.champion), *trial, *(("shadow", version) for version in plan.shadow.versions)]
    return [(alias, version, snapshot.digest(version)) for alias, version in named]


class FairnessCollector(Collector):
    """The gaps of the last hour (or day), per model and version, as everybody may see them.

    A gap that is undefined has no sample, nor has a model whose counts could never be read.
    """

    def __init__(self, monitor: Monitor, models: Collection[str]) -> None:
        self._monitor, self._models = monitor, models
        self.reading = CachedReading("fairness for the metrics", self._rows, FAIRNESS_SECONDS)

    def collect(self) -> Iterable[Metric]:
        """Called by the registry."""
        keys = ["model", "version", "window"]
        gauges = {name: GaugeMetricFamily(f"{PREFIX}_{name}", key, labels=keys) for name, key in GAPS.items()}
        gauges[SAMPLES] = GaugeMetricFamily(f"{PREFIX}_{SAMPLES}", "Predictions counted", labels=[*keys, "group"])
        for name, rows in (self.reading.value or {}).items():
            for labels, value in rows:
                gauges[name].add_metric(labels, value)
        return gauges.values()

    def _rows(self) -> Mapping[str, list[Row]]:
        found: dict[str, list[Row]] = {name: [] for name in (*GAPS, SAMPLES)}
        window = self._monitor.windows.shortest
        for model in self._models:
            try:
                versions = self._monitor.fairness(model, window, exact=False)["versions"]
            except StoreError as error:
                logger.warning("no fairness metrics for %s: %s", model, error)
                continue
            for version, report in versions.items():
                labels = [model, version, window]
                for name, key in GAPS.items():
                    if (value := report["gaps"][key]["value"]) is not None:
                        found[name].append((labels, value))
                found[SAMPLES] += [([*labels, group], each["n"]) for group, each in report["groups"].items()]
        return found
