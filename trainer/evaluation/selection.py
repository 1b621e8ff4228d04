"""Scores of predictions on validation: how much accuracy they cost, and how fair they are.

A trigger may cost at most the budget (`max_accuracy_drop`) of what `measure` names, against the bare model, and may
take no label's recall, over all rows and in any group, below `min_recall_ratio` of the bare model's: without floors
the constant predictor, perfectly fair and useless, wins. Plain accuracy is no floor where one label is rare.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from trainer.config import Criterion, RunConfig, SelectConfig
from trainer.evaluation.counts import ConfusionCounts, accuracy
from triggers.errors import ConfigError
from triggers.metrics import FairnessReport, evaluate_counts
from triggers.metrics.fairness_report import Gap
from triggers.metrics.overlapping_groups import identities_of
from triggers.model import FrozenClassifier

FEW_HITS = 10
"""Rows of a label in one group that the bare model gets right below which a ratio of recalls says nothing.

Over all rows a label counts from the first one on: a label that is rare or hardly ever found may not be given up.
"""

RecallCell = tuple[int, str | None]
"""A label, and a group or None for everybody."""


@dataclass(frozen=True)
class ValidationScore:
    """Figures of one set of predictions. `loss` is of the selection's measure against the bare model, negative: a gain.

    `gap` None: some group has no rows to measure it on. `recall_ratio` is the lowest of a recall to the bare model's,
    that of `recall_cell`; 1 where none can be compared.
    """

    accuracy: float
    gap: float | None
    loss: float
    recall_ratio: float
    recall_cell: RecallCell | None


@dataclass(frozen=True)
class ValidationSnapshot:
    """A system after `step` steps: its counts and score on validation, and its predictions there (N,) if kept."""

    step: int
    counts: ConfusionCounts
    score: ValidationScore
    predictions: Tensor | None = None


class SelectionCriterion:
    """Scoring and ranking of validation counts against those of the bare model."""

    def __init__(
        self,
        bare: ConfusionCounts,
        criterion: Criterion,
        select: SelectConfig,
        pos_label: int,
        labels: int,
        *,
        overlapping: bool = False,
        recall_labels: Sequence[int] = (),
    ) -> None:
        self._recall_labels = recall_labels
        self.objective, self.pos_label, self._labels = criterion, pos_label, labels
        self._overlapping, self.select = overlapping, select
        self.bare_counts = bare
        self._bare_recalls = recalls(bare, overlapping=overlapping)
        self.bare = self.score(bare)

    def score(self, counts: ConfusionCounts) -> ValidationScore:
        """Figures of one system's counts."""
        report = evaluate_counts(counts, pos_label=self.pos_label, labels=self._labels, overlapping=self._overlapping)
        now, before = recalls(counts, overlapping=self._overlapping), self._bare_recalls
        ratios = {cell: _ratio(now[cell], before[cell]) for cell in before if comparable(cell, before[cell][0])}
        lowest = min(ratios, key=lambda cell: ratios[cell]) if ratios else None
        gap = selection_gap(report, self.objective)[1].value
        return ValidationScore(
            accuracy(counts), gap, self._loss(counts, now), 1.0 if lowest is None else ratios[lowest], lowest
        )

    def affordable(self, score: ValidationScore) -> bool:
        """Whether it keeps the budget and the floor of recalls; rounding does not turn "equal" into "below"."""
        return self._excess(score) <= 1e-9

    def feasible(self, score: ValidationScore) -> bool:
        """Whether it is affordable, with a gap that can be measured."""
        return score.gap is not None and self.affordable(score)

    def rank(self, score: ValidationScore) -> tuple[float, ...]:
        """A sort key, better first: feasible ones by gap, then loss; others by what they lack, then gap."""
        gap = float("inf") if score.gap is None else score.gap
        return (0, gap, score.loss) if self.feasible(score) else (1, self._excess(score), gap)

    def better(self, new: ValidationSnapshot, old: ValidationSnapshot | None) -> bool:
        """Whether `new` replaces `old`; of equal ones the earlier stays."""
        return old is None or self.rank(new.score) < self.rank(old.score)

    def counts_cell(self, cell: RecallCell) -> bool:
        """Whether the measure "recall" looks at a label and group: those that are named, else every one."""
        (label, group), named = cell, self.select.recall_groups
        return (group in named if named else True) and (not self._recall_labels or label in self._recall_labels)

    def kept(self, score: ValidationScore) -> float:
        """The recall ratio of an affordable score, without the rounding that `affordable` allows."""
        return max(score.recall_ratio, self.select.min_recall_ratio)

    def _loss(self, counts: ConfusionCounts, now: Mapping[RecallCell, tuple[int, int]]) -> float:
        before = self._bare_recalls
        losses = {cell: (before[cell][0] - hits) / rows for cell, (hits, rows) in now.items()}
        match self.select.measure:
            case "accuracy":
                return accuracy(self.bare_counts) - accuracy(counts)
            case "balanced_accuracy":
                per_label = [loss for (_, group), loss in losses.items() if group is None]
                return sum(per_label) / len(per_label)
            case "recall":
                named = [loss for cell, loss in losses.items() if self.counts_cell(cell)]
                if not named:
                    raise ConfigError(
                        "select.recall_labels and recall_groups name no row of validation; leave one of them out."
                    )
                return max(named)

    def _excess(self, score: ValidationScore) -> float:
        """How far it is beyond the budget and below the floor of recalls."""
        over = max(0.0, score.loss - self.select.max_accuracy_drop)
        return over + max(0.0, self.select.min_recall_ratio - score.recall_ratio)


def selection_criterion(config: RunConfig, classifier: FrozenClassifier, bare: ConfusionCounts) -> SelectionCriterion:
    """The selection criterion of a configuration, given the bare model's counts on validation."""
    return SelectionCriterion(
        bare,
        config.objective.criterion,
        config.select,
        classifier.pos_label,
        len(classifier.labels),
        overlapping=config.data.groups_overlap,
        recall_labels=[classifier.labels.index(name) for name in config.select.recall_labels],
    )


def require_known_names(select: SelectConfig, labels: Sequence[str], groups: Sequence[str]) -> None:
    """Refuse names of labels and groups in [select] that the model or the data do not have. Raises ConfigError."""
    for key, names, known in (("labels", select.recall_labels, labels), ("groups", select.recall_groups, groups)):
        unknown = [name for name in names if name not in known]
        if unknown:
            raise ConfigError(f"select.recall_{key} names {unknown[0]!r}; there are {', '.join(known)}.")


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


def recalls(counts: ConfusionCounts, *, overlapping: bool = False) -> dict[RecallCell, tuple[int, int]]:
    """(hits, rows) of every label, over all rows and in every group that has rows of it; "no group" is none."""
    found: dict[RecallCell, list[int]] = defaultdict(lambda: [0, 0])
    for (cell, label, prediction), n in counts.items():
        if label is None:
            continue
        for group in (None, *(identities_of(cell) if overlapping else (cell,))):
            found[label, group][0] += n * (label == prediction)
            found[label, group][1] += n
    return {cell: (hits, rows) for cell, (hits, rows) in sorted(found.items(), key=lambda item: _place(item[0]))}


def comparable(cell: RecallCell, hits: float) -> bool:
    """Whether a ratio of recalls says something, where the bare model gets so many rows of the cell right."""
    return hits >= (1 if cell[1] is None else FEW_HITS)


def best_of(criterion: SelectionCriterion, snapshots: Sequence[ValidationSnapshot]) -> int | None:
    """Index of the feasible snapshot with the smallest gap; None if none is. A tie goes to the first."""
    feasible = [at for at, snapshot in enumerate(snapshots) if criterion.feasible(snapshot.score)]
    return min(feasible, key=lambda at: criterion.rank(snapshots[at].score), default=None)


def _place(cell: RecallCell) -> tuple[int, str]:
    return cell[0], cell[1] or ""


def _ratio(now: tuple[int, int], before: tuple[int, int]) -> float:
    return (now[0] / now[1]) / (before[0] / before[1])
