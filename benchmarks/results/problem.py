"""A problem of the results, one task under one criterion: every system's figures as means over the seeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

from benchmarks.results.piece import kinds
from benchmarks.results.run_record import NOTHING, Figures, RunRecord
from benchmarks.results.seed_mean import SeedMean, seed_mean
from benchmarks.tasks import TASKS, Task
from trainer.evaluation.counts import ConfusionCounts
from trainer.evaluation.selection import comparable, recalls
from trainer.formatting import system_name

ADVISED = "as the report recommends"
MEASURES = ("hardt",)
"""Systems that ask for what a trigger never does, everybody's group when predicting: measures, not rivals."""
ASKS_FOR: Mapping[str, str] = {
    "hardt": "every group at prediction",
    "adv_post": "weights",
    "adv_in": "weights, fitting anew",
    "oxonfair": "features; it infers the group",
    "frappe": "features",
    "linear_post": "features; it infers the group",
    "faap": "nothing; a generator at prediction",
    "threshold": "the threshold",
}
"""What a system needs beside the classifier's answers; a trigger nothing, for it changes the input alone."""


@dataclass(frozen=True)
class LowestRecall:
    """The smallest ratio of a recall to the bare model's, and whose it is."""

    ratio: float
    label: str
    group: str | None

    @property
    def text(self) -> str:
        """`.91 (toxic, group women)`."""
        return f"{self.ratio:.2f} ({self.label}" + (f", {self.group})" if self.group else ")")


@dataclass(frozen=True, eq=False)
class Problem:
    """All records of one task and criterion; rivals are counted once, with the plain trigger kind where it has them."""

    task: Task
    criterion: str
    records: Sequence[RunRecord]

    @property
    def title(self) -> str:
        """Heading."""
        return self.task.heading(self.criterion)

    @property
    def gap_name(self) -> str:
        """The gap that is shown: the one that selection goes by."""
        return "demographic parity difference" if self.criterion == "demographic_parity" else "average odds difference"

    @cached_property
    def plain(self) -> list[RunRecord]:
        """The runs of the plain trigger kind, by seed."""
        name = kinds(self.task)[0]
        return sorted((one for one in self.records if one.kind == name), key=lambda one: one.seed)

    @property
    def seeds(self) -> list[int]:
        """Seeds of the plain kind."""
        return [one.seed for one in self.plain]

    @cached_property
    def by_seed(self) -> dict[str, dict[int, tuple[RunRecord, Figures]]]:
        """System to seed to its figures, with the run that they are from."""
        found: dict[str, dict[int, tuple[RunRecord, Figures]]] = {}
        order = kinds(self.task)
        for record in sorted(self.records, key=lambda one: (order.index(one.kind), one.seed)):
            for name, figures in record.systems.items():
                found.setdefault(name, {}).setdefault(record.seed, (record, figures))
        found[ADVISED] = {record.seed: (record, record.advised) for record in self.plain}
        return found

    @property
    def triggers(self) -> list[str]:
        """Trigger kinds that were run."""
        return [kind for kind in kinds(self.task) if kind in self.by_seed]

    @property
    def rivals(self) -> list[str]:
        """Everything else, measures included."""
        return [name for name in self.by_seed if name not in (*self.triggers, ADVISED)]

    def mean(self, system: str, figure: Callable[[Figures], float]) -> SeedMean:
        """A figure of a system."""
        return seed_mean([figure(own) for _, own in self.by_seed[system].values()])

    def change(self, system: str, figure: Callable[[Figures], float]) -> SeedMean:
        """A figure's change from the bare model, seed by seed."""
        return seed_mean([figure(own) - figure(record.bare) for record, own in self.by_seed[system].values()])

    def difference(self, system: str, other: str) -> SeedMean:
        """The gap of one system less another's, seed by seed."""
        ones, others = self.by_seed[system], self.by_seed[other]
        return seed_mean([ones[seed][1].gap - others[seed][1].gap for seed in ones if seed in others])

    def kept(self, system: str) -> tuple[int, int]:
        """In how many seeds validation allowed the system, and of how many."""
        own = self.by_seed[system].values()
        return sum(figures.kept for _, figures in own), len(own)

    @cached_property
    def bare(self) -> list[Figures]:
        """The bare model of every seed."""
        return [one.bare for one in self.plain]

    def lowest_recall(self, system: str) -> LowestRecall | None:
        """The label and group that lose most of their recall, over all seeds together; None: too few rows to say."""
        own = self.by_seed[system].values()
        before = recalls(_added(record.bare.counts for record, _ in own))
        after = recalls(_added(figures.counts for _, figures in own))
        ratios = {
            cell: (after[cell][0] / after[cell][1]) / (hits / rows)
            for cell, (hits, rows) in before.items()
            if comparable(cell, hits)
        }
        if not ratios:
            return None
        label, group = min(ratios, key=lambda cell: ratios[cell])
        return LowestRecall(ratios[label, group], self.plain[0].json["labels"][label], group)

    @cached_property
    def advice(self) -> Counter[str]:
        """How often the report recommends what, in runs of the plain kind."""
        return Counter(one.recommended for one in self.plain)

    @property
    def refitted(self) -> list[int]:
        """Seeds whose runs did not all have the same classifier."""
        models = {seed: {one.json["fingerprint"] for one in self.records if one.seed == seed} for seed in self.seeds}
        return [seed for seed, found in models.items() if len(found) > 1]

    @property
    def outcome(self) -> str:
        """What the report recommends in most seeds: "trigger", "other", NOTHING, or "mixed" where no one has most."""
        n = len(self.plain)
        counted = {
            "trigger": self.advice[kinds(self.task)[0]],
            NOTHING: self.advice[NOTHING],
        }
        counted["other"] = n - sum(counted.values())
        return next((name for name, times in counted.items() if 2 * times > n), "mixed")

    @property
    def rarest(self) -> tuple[str, float]:
        """The rarest label and its share of the test rows."""
        shares = self.plain[0].label_shares()
        label = min(shares, key=lambda name: shares[name])
        return label, shares[label]


def problems(records: Iterable[RunRecord]) -> list[Problem]:
    """The problems of all records that are no part of a curve, in the tasks' order; those without the plain kind's runs
    are left out.
    """
    places = list(TASKS)
    own = sorted(
        (one for one in records if one.tuning is None), key=lambda one: (places.index(one.problem[0]), one.problem[1])
    )
    found = [Problem(TASKS[task], criterion, list(ones)) for (task, criterion), ones in groupby(own, _problem)]
    return [one for one in found if one.plain]


def advice_words(problem: Problem) -> str:
    """`overlay 3, FRAPPE's head 1, nothing 1`, commonest first."""
    return ", ".join(f"{name_of(name)} {times}" for name, times in problem.advice.most_common())


def name_of(system: str) -> str:
    """A system in tables and sentences."""
    return system if system == ADVISED else system_name(system)


def _problem(one: RunRecord) -> tuple[str, str]:
    return one.problem


def _added(tables: Iterable[ConfusionCounts]) -> ConfusionCounts:
    total: Counter[tuple[str, int | None, int]] = Counter()
    for table in tables:
        total.update(table)
    return total
