"""Selection of the triggers that are kept and recommended, on validation alone; the test split is never used here.

A trigger has to stay above an accuracy floor, the bare model's accuracy minus `max_accuracy_drop`: without a floor the
constant predictor, perfectly fair and useless, wins. Above it, the smallest gap of the trained criterion wins.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from trainer.config import Criterion, RunConfig
from trainer.evaluation.counts import accuracy
from trainer.evaluation.run_result import ConfusionCounts
from triggers.metrics import FairnessReport, evaluate_counts
from triggers.metrics.fairness_report import Gap
from triggers.model import FrozenClassifier


@dataclass(frozen=True)
class ValidationScore:
    """Accuracy and gap of one trigger on validation; gap None: some group has no rows to measure it on."""

    accuracy: float
    gap: float | None


@dataclass(frozen=True)
class ValidationSnapshot:
    """The triggers of a strength after `step` steps: their counts and score on validation."""

    step: int
    counts: ConfusionCounts
    score: ValidationScore


@dataclass(frozen=True)
class Selection:
    """Indices into the snapshots: the recommended one, the trade-off front in order of accuracy, and why in words."""

    best: int | None
    front: tuple[int, ...]
    notes: tuple[str, ...]


class SelectionCriterion:
    """Scoring and ranking of validation counts, by accuracy and the gap that `selection_gap` gives."""

    def __init__(
        self,
        bare: ConfusionCounts,
        criterion: Criterion,
        max_accuracy_drop: float,
        pos_label: int,
        labels: int,
        *,
        overlapping: bool = False,
    ) -> None:
        self._criterion, self._pos_label, self._labels = criterion, pos_label, labels
        self._overlapping = overlapping
        self.max_accuracy_drop = max_accuracy_drop
        self.bare_counts = bare
        self.bare = self.score(bare)
        self.floor = self.bare.accuracy - max_accuracy_drop

    def score(self, counts: ConfusionCounts) -> ValidationScore:
        """Accuracy and gap of one trigger's counts."""
        report = evaluate_counts(counts, pos_label=self._pos_label, labels=self._labels, overlapping=self._overlapping)
        return ValidationScore(accuracy(counts), selection_gap(report, self._criterion)[1].value)

    def feasible(self, score: ValidationScore) -> bool:
        """Whether it is above the floor, with a measurable gap; rounding does not turn "equal" into "below"."""
        return score.gap is not None and score.accuracy >= self.floor - 1e-9

    def rank(self, score: ValidationScore) -> tuple[float, ...]:
        """A sort key, better first: above the floor by gap, then accuracy; below it by accuracy, then gap."""
        gap = float("inf") if score.gap is None else score.gap
        return (0, gap, -score.accuracy) if self.feasible(score) else (1, -score.accuracy, gap)

    def better(self, new: ValidationSnapshot, old: ValidationSnapshot | None) -> bool:
        """Whether `new` replaces `old`; of equal ones the earlier stays."""
        return old is None or self.rank(new.score) < self.rank(old.score)


def selection_criterion(config: RunConfig, classifier: FrozenClassifier, bare: ConfusionCounts) -> SelectionCriterion:
    """The selection criterion of a configuration, given the bare model's counts on validation."""
    criterion, drop = config.objective.criterion, config.select.max_accuracy_drop
    labels, overlapping = len(classifier.labels), config.data.groups_overlap
    return SelectionCriterion(bare, criterion, drop, classifier.pos_label, labels, overlapping=overlapping)


def selection_gap(report: FairnessReport, criterion: Criterion) -> tuple[str, Gap]:
    """The gap used by selection, and its name in words: the quantity that the objective lowers.

    For equalized odds it is the average odds difference, less noisy than the worst of the two gaps, which the reports
    also show. With more than two labels every class counts, each against the rest, as published. Groups that overlap
    are measured against everyone, as published: the spread of many small groups is mostly noise.
    """
    parity = criterion == "demographic_parity"
    name = "demographic parity difference" if parity else "average odds difference"
    if report.overlapping:
        rates = "selection rate" if parity else "error rates"
        return f"mean distance to the overall {rates}", report.paper_dp if parity else report.paper_eo
    macro = report.macro_demographic_parity_difference if parity else report.macro_average_odds_difference
    if macro is not None:
        return f"{name}, mean over labels", macro
    return name, report.demographic_parity_difference if parity else report.average_odds_difference


def choose(
    criterion: SelectionCriterion, snapshots: Sequence[ValidationSnapshot], strengths: Sequence[float]
) -> Selection:
    """Pick among the best snapshots of each strength. A tie goes to the strength that was named first."""
    feasible = [i for i, snapshot in enumerate(snapshots) if criterion.feasible(snapshot.score)]
    if not feasible:
        return Selection(None, (), (_nothing_above(criterion, snapshots, strengths),))
    best = min(feasible, key=lambda i: criterion.rank(snapshots[i].score))
    notes = [*_ties(criterion, snapshots, strengths, best, feasible), *_below(criterion, snapshots, strengths)]
    front = _front(snapshots, feasible)
    chosen, bare = snapshots[best].score, criterion.bare
    if bare.gap is not None and chosen.gap is not None and chosen.gap >= bare.gap:
        text = f"No trigger is recommended: the best one's gap on validation is {chosen.gap:.4f}, without one it is"
        return Selection(None, front, (f"{text} {bare.gap:.4f}. Raise objective.strengths or train longer.", *notes))
    return Selection(best, front, tuple(notes))


def _front(snapshots: Sequence[ValidationSnapshot], feasible: Iterable[int]) -> tuple[int, ...]:
    """By falling accuracy, those whose gap is below that of every more accurate one."""
    front: list[int] = []
    order = sorted(feasible, key=lambda i: (-snapshots[i].score.accuracy, snapshots[i].score.gap, i))
    lowest = float("inf")
    for i in order:
        gap = snapshots[i].score.gap
        if gap is not None and gap < lowest:
            front.append(i)
            lowest = gap
    return tuple(front)


def _nothing_above(
    criterion: SelectionCriterion, snapshots: Sequence[ValidationSnapshot], strengths: Sequence[float]
) -> str:
    nearest = min(range(len(snapshots)), key=lambda i: criterion.rank(snapshots[i].score))
    score = snapshots[nearest].score
    if score.gap is None:
        return "No trigger is recommended: validation cannot measure the gap, a group or label has no rows there."
    return (
        f"No trigger is recommended: none reaches the accuracy floor {criterion.floor:.4f} on validation "
        f"(without a trigger"
        f" {criterion.bare.accuracy:.4f}, allowed drop {criterion.max_accuracy_drop:g}). Nearest: strength"
        f" {strengths[nearest]:g} with {score.accuracy:.4f}. Raise select.max_accuracy_drop or lower"
        " objective.strengths."
    )


def _ties(
    criterion: SelectionCriterion,
    snapshots: Sequence[ValidationSnapshot],
    strengths: Sequence[float],
    best: int,
    feasible: Sequence[int],
) -> list[str]:
    rank = criterion.rank(snapshots[best].score)
    equal = [i for i in feasible if i != best and criterion.rank(snapshots[i].score) == rank]
    if not equal:
        return []
    others = ", ".join(f"{strengths[i]:g}" for i in equal)
    return [f"Strength {strengths[best]:g} ties with {others} on validation and is taken because it was named first."]


def _below(
    criterion: SelectionCriterion, snapshots: Sequence[ValidationSnapshot], strengths: Sequence[float]
) -> list[str]:
    low = [i for i, snapshot in enumerate(snapshots) if not criterion.feasible(snapshot.score)]
    if not low:
        return []
    listed = ", ".join(f"{strengths[i]:g} ({snapshots[i].score.accuracy:.4f})" for i in low)
    return [f"Never above the accuracy floor {criterion.floor:.4f} on validation, by strength: {listed}."]
