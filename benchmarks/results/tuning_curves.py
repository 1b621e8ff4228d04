"""Curves of the gap over the size of the tuning part, and the size at which each system reaches a given gap."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import exp, log

from benchmarks.results.piece import kinds
from benchmarks.results.run_record import RunRecord
from benchmarks.results.seed_mean import SeedMean, seed_mean
from benchmarks.tasks import TASKS, Task

BESIDE = ("adv_post", "frappe")
"""Systems that stand beside the trigger, where they were run."""
LEFT = (0.75, 0.5, 0.35)
"""Shares of the bare gap that are asked for."""


@dataclass(frozen=True)
class Reached:
    """At how many rows of tuning a gap is reached: the geometric mean over the seeds that reach it at all.

    `at_once`: seeds that are there with the smallest size already, which count as that size.
    """

    rows: SeedMean | None
    seeds: int
    of: int
    at_once: int

    @property
    def text(self) -> str:
        """`870 (410 to 1,850)`, and how many seeds get there."""
        if self.rows is None:
            return f"none of {self.of}"
        value, low, high = self.rows.value, self.rows.low, self.rows.high
        interval = "" if low is None or high is None or self.at_once == self.seeds else f" ({low:,.0f} to {high:,.0f})"
        some = "" if self.seeds == self.of else f", {self.seeds} of {self.of} seeds"
        return ("at most " if self.at_once else "") + f"{value:,.0f}{interval}{some}"


@dataclass(frozen=True, eq=False)
class TuningCurve:
    """All runs of one task at all sizes."""

    task: Task
    criterion: str
    records: Sequence[RunRecord]

    @property
    def title(self) -> str:
        """Heading."""
        return self.task.heading(self.criterion)

    @cached_property
    def sizes(self) -> list[int]:
        """Sizes that were run, rising."""
        return sorted({one.tuning for one in self.records if one.tuning is not None})

    @cached_property
    def seeds(self) -> list[int]:
        """Seeds that were run."""
        return sorted({one.seed for one in self.records})

    @property
    def systems(self) -> list[str]:
        """The trigger, then what stands beside it."""
        present = {name for one in self.records for name in one.systems}
        return [name for name in (kinds(self.task)[0], *BESIDE) if name in present]

    @cached_property
    def bare(self) -> SeedMean:
        """The bare gap; all sizes of a seed have the same classifier and test part."""
        return seed_mean(list({one.seed: one.bare.gap for one in self.records}.values()))

    def gaps(self, system: str) -> dict[int, dict[int, float]]:
        """Size to seed to the gap on test."""
        found: dict[int, dict[int, float]] = {size: {} for size in self.sizes}
        for one in self.records:
            if one.tuning is not None and system in one.systems:
                found[one.tuning][one.seed] = one.systems[system].gap
        return {size: own for size, own in found.items() if own}

    def means(self, system: str) -> dict[int, SeedMean]:
        """Size to the mean gap."""
        return {size: seed_mean(list(own.values())) for size, own in self.gaps(system).items()}

    def balanced_change(self, system: str, size: int) -> SeedMean:
        """Change of balanced accuracy at a size."""
        own = [one for one in self.records if one.tuning == size and system in one.systems]
        return seed_mean([one.systems[system].balanced - one.bare.balanced for one in own])

    def reached(self, system: str, gap: float) -> Reached:
        """The size at which the system's gap first falls to this one."""
        gaps, sizes, smallest = self.gaps(system), list[float](), 0
        seeds = sorted({seed for own in gaps.values() for seed in own})
        for seed in seeds:
            curve = {size: own[seed] for size, own in gaps.items() if seed in own}
            size = size_at(curve, gap)
            if size is not None:
                sizes.append(log(size))
                smallest += size == min(curve)
        if not sizes:
            return Reached(None, 0, len(seeds), 0)
        found = seed_mean(sizes)
        limits = [None if limit is None else exp(limit) for limit in (found.low, found.high)]
        return Reached(SeedMean(exp(found.value), limits[0], limits[1], found.n), len(sizes), len(seeds), smallest)


def size_at(curve: Mapping[int, float], gap: float) -> float | None:
    """Rows at which a curve first falls to a gap, between sizes by the logarithm of the rows; None: it never does."""
    points = sorted(curve.items())
    if points[0][1] <= gap:
        return float(points[0][0])
    for (size, above), (larger, below) in pairwise(points):
        if below <= gap:
            share = (above - gap) / (above - below)
            return exp(log(size) + share * (log(larger) - log(size)))
    return None


def tuning_curves(records: Iterable[RunRecord]) -> list[TuningCurve]:
    """The curves of all records that are at a size, in the tasks' order; a single size makes none."""
    by_task: dict[str, list[RunRecord]] = {}
    for one in records:
        if one.tuning is not None:
            by_task.setdefault(one.problem[0], []).append(one)
    found = [TuningCurve(TASKS[name], own[0].problem[1], own) for name in TASKS if (own := by_task.get(name))]
    return [curve for curve in found if len(curve.sizes) > 1]
