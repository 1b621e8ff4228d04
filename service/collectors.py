"""Gauges that are looked up at every scrape: the queue, the trigger that serves, and live fairness."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

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
logger = logging.getLogger(__name__)


class ServingCollector(Collector):
    """Queue depth, and one info line per trigger of the rollout that names it."""

    def __init__(self, models: Mapping[str, ServedModel]) -> None:
        self._models = models

    def collect(self) -> Iterable[Metric]:
        """Called by the registry."""
        depth = GaugeMetricFamily(f"{PREFIX}_queue_depth", "Rows that wait for a batch", labels=["model"])
        labels = ["model", "version", "digest", "alias"]
        info = GaugeMetricFamily(f"{PREFIX}_trigger_info", "The trigger that serves; always 1", labels=labels)
        history = GaugeMetricFamily(
            f"{PREFIX}_history_entry", "Number of the history's last entry as it was followed", labels=["model", "hash"]
        )
        behind = GaugeMetricFamily(f"{PREFIX}_rollout_behind", "1 while the store wants another", labels=["model"])
        for name, model in self._models.items():
            desired, head = model.follower.status.desired, model.follower.status.head
            if head:
                history.add_metric([name, head.hash], head.seq)
            depth.add_metric([name], model.batcher.queued)
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

    def __init__(self, guard: Guard, models: Mapping[str, ServedModel]) -> None:
        self._guard, self._models = guard, models

    def collect(self) -> Iterable[Metric]:
        """Called by the registry."""
        keys = ["model", "version", "test"]
        value = GaugeMetricFamily(f"{PREFIX}_guard_e_value", "Largest e-value of the test so far", labels=keys)
        threshold = GaugeMetricFamily(f"{PREFIX}_guard_threshold", "E-value at which the test fires", labels=keys)
        for model in self._models:
            for each in self._guard.report(model):
                labels = [model, each["version"], each["test"]]
                value.add_metric(labels, float(f"{each['peak']:.0e}"))
                threshold.add_metric(labels, each["threshold"])
        return [value, threshold]


def aliased(snapshot: Applied) -> list[tuple[str, int | None, str | None]]:
    """What the rollout calls the triggers that it uses: champion, challenger, shadow."""
    plan = snapshot.plan
    trial = [("challenger", plan.challenger.version)] if plan.challenger else []
    named = [("champion", plan.champion), *trial, *(("shadow", version) for version in plan.shadow.versions)]
    return [(alias, version, snapshot.digest(version)) for alias, version in named]


class FairnessCollector(Collector):
    """The gaps of the last hour (or day), per model and version, as everybody may see them.

    A gap that is undefined has no sample.
    """

    def __init__(self, monitor: Monitor, models: Mapping[str, ServedModel]) -> None:
        self._monitor, self._models = monitor, models

    def collect(self) -> Iterable[Metric]:
        """Called by the registry."""
        keys = ["model", "version", "window"]
        gaps = {name: GaugeMetricFamily(f"{PREFIX}_{name}", f"{key}", labels=keys) for name, key in GAPS.items()}
        samples = GaugeMetricFamily(f"{PREFIX}_fairness_samples", "Predictions counted", labels=[*keys, "group"])
        window = self._monitor.windows.shortest
        for model in self._models:
            try:
                versions = self._monitor.fairness(model, window, exact=False)["versions"]
            except StoreError as error:
                logger.warning("no fairness metrics for %s: %s", model, error)
                continue
            for version, report in versions.items():
                for name, gauge in gaps.items():
                    value = report["gaps"][GAPS[name]]["value"]
                    if value is not None:
                        gauge.add_metric([model, version, window], value)
                for group, each in report["groups"].items():
                    samples.add_metric([model, version, window, group], each["n"])
        return [*gaps.values(), samples]
