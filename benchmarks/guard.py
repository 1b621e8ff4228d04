"""What the guard and a scrape cost: a sealed minute at many groups, and the text of /metrics afterwards.

`python -m benchmarks.guard` prints two tables, of processor time. Drawn traffic with labels and twins, a challenger and
every limit of the rules, so six questions; the history must not matter.
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.draws import heads, random, row
from benchmarks.guarding import Trial
from service.fairness import FairnessMonitor
from service.guard import Guard
from service.guard.guard import hypotheses_of
from service.guard.observations import ServingState
from service.guard.sequential_tests import SequentialTests
from service.ledger import Cell, Ledger, Level
from service.runtime_collectors import FairnessCollector, GuardCollector
from service.telemetry import Metrics
from triggers.rollout import GuardRules

GROUPS, MINUTES, TIMED = (2, 16, 64), (60, 480), 20
ROWS = 60
"""Rows per minute, version and group."""
METRICS = ("demographic_parity_difference", "equalized_odds_difference")
OUTCOMES = list(product((0, 1), repeat=3))
"""Label, prediction, bare prediction."""


def minute(groups: int, at: int, high: float = 0.45) -> dict[Cell, int]:
    """One minute of champion v1 and challenger v2, whose last group is selected more often."""
    drawn, cells = random(at), {}
    for version, group in product((1, 2), range(groups)):
        rate = high if version == 2 and group == groups - 1 else 0.3
        odds = [(rate if h else 1 - rate) * (0.9 if y == h else 0.1) * (0.9 if b == h else 0.1) for y, h, b in OUTCOMES]
        for outcome, n in zip(OUTCOMES, drawn.multinomial(ROWS, np.array(odds) / sum(odds)).tolist(), strict=True):
            if n:
                cells[Cell("m", at, version, f"g{group:02}", *outcome)] = n
    return cells


def tests_of(metric: str) -> SequentialTests:
    """Every question that there is about a metric."""
    rules = GuardRules(metric=metric, max_disparity=0.1, worse_by=0.05, accuracy_loss=0.02)
    stand = ServingState(1, 0.0, 1, 2, challenged=True, twins=True, rules=rules)
    return SequentialTests(hypotheses_of(stand, rules), alpha=rules.alpha, pos_label=1)


def milliseconds(tests: SequentialTests, minutes: Mapping[int, Mapping[Cell, int]]) -> float:
    """Median time to weigh one minute more and say what it means."""
    taken = []
    for at, cells in minutes.items():
        started = time.thread_time()
        tests.add({at: cells}, {at: cells})
        tests.evidence()
        taken.append(time.thread_time() - started)
    return 1000 * float(np.median(taken))


def weighing(metric: str, groups: int, length: int) -> tuple[float, float]:
    """Milliseconds of a sealed minute after `length` others, and the most memory that it takes meanwhile, in MB."""
    tests = tests_of(metric)
    for at in range(length):
        cells = minute(groups, at)
        tests.add({at: cells}, {at: cells})
    taken = milliseconds(tests, {at: minute(groups, at) for at in range(length, length + TIMED)})
    last = minute(groups, length + TIMED)
    tracemalloc.start()
    tests.add({length + TIMED: last}, {length + TIMED: last})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return taken, peak / 1e6


@dataclass(frozen=True)
class TwoLabels:
    """What the monitor must know of the model."""

    labels: tuple[str, ...] = ("no", "yes")
    pos_label: int = 1


def scraping(groups: int) -> float:
    """Milliseconds of a scrape of the guard's and the fairness gauges of one model, usually."""
    began = int(time.time() // 60) - 5
    rules = GuardRules(max_disparity=0.1, worse_by=0.05, accuracy_loss=0.02, action="alarm")
    drawn: list[dict[Cell, int]] = [minute(groups, at) for at in range(5)]
    with TemporaryDirectory() as folder, Ledger(Path(folder) / "ledger.sqlite") as ledger:
        for at, cells in enumerate(drawn):
            for cell, n in cells.items():
                for _ in range(n):
                    ledger.count(cell._replace(minute=began + at))
        trial = Trial(rules, now=60.0 * 6, minutes={level: [{}, *drawn] for level in (Level.MINUTE, Level.ARRIVAL)})
        guard = Guard({"m": trial}, trial.read, seal_seconds=0, every_seconds=60, clock=lambda: trial.now, acts=False)
        guard.check("m")
        fairness, metrics = FairnessCollector(FairnessMonitor(ledger, {"m": TwoLabels()}), ["m"]), Metrics()
        for collector in (fairness, GuardCollector(guard, ["m"])):
            metrics.add(collector)
        fairness.reading.start()
        while fairness.reading.value is None:
            time.sleep(0.05)
        fairness.reading.stop()
        taken = []
        for _ in range(TIMED):
            started = time.thread_time()
            metrics.render(exact=True)
            taken.append(time.thread_time() - started)
        metrics.close()
    return 1000 * float(np.median(taken))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the shortest history only")
    chosen = parser.parse_args()
    print(heads("metric", "groups", "minutes before", "a sealed minute (ms)", "memory meanwhile (MB)"))
    for metric, groups, length in product(METRICS, GROUPS, MINUTES[:1] if chosen.quick else MINUTES):
        taken, megabytes = weighing(metric, groups, length)
        print(row(metric, str(groups), str(length), f"{taken:.1f}", f"{megabytes:.1f}"), flush=True)
    print("\n" + heads("groups", "a scrape (ms)"))
    for groups in GROUPS:
        print(row(str(groups), f"{scraping(groups):.1f}"), flush=True)


if __name__ == "__main__":
    main()
