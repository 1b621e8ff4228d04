"""The fairness report on counts of predictions: rates per group, gaps between groups, an interval for each.

Counts per (group, label, prediction) are all that any of these figures needs; they are exact, can be summed over
replicas and minutes, and contain no inputs. Names are fairlearn's. Three rules differ from it on purpose:

* A rate with nothing in its denominator is `None` with a reason, never 0; its group is left out of the gap and
  listed in `excluded`.
* A gap needs two groups with that rate. With fewer it is `None`, never "perfectly fair".
* `unknown` and `undeclared` are groups: shown and counted in the overall figures, but no gap compares them with others.

With more than two labels a prediction is "selected" when it is `pos_label`, true and false positive rates are
`pos_label` against the rest, and accuracy is over all labels. Five more gaps then look at all classes: each class
against the rest, as the mean or the worst over the classes, and whole distributions of predictions.

Where groups overlap, the group string of a count holds all identities of its rows (`overlapping_groups`). A group's
figures are over all rows that belong to it; overall figures count every row once. `none` is shown, but in no gap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from triggers.metrics import gaps
from triggers.metrics.gaps import INSUFFICIENT_GROUPS, Gap
from triggers.metrics.overlapping_groups import NO_GROUP, UNDECLARED, UNKNOWN
from triggers.metrics.rates import (
    NO_IDENTITY,
    NO_LABELS,
    UNKNOWN_GROUP,
    ZERO_DENOMINATOR,
    Counts,
    CountTable,
    Estimate,
    Rate,
)

__all__ = [
    "INSUFFICIENT_GROUPS", "NO_GROUP", "NO_IDENTITY", "NO_LABELS", "UNKNOWN", "UNKNOWN_GROUP", "ZERO_DENOMINATOR",
    "Counts", "Coverage", "Estimate", "FairnessReport", "Gap", "GroupReport", "evaluate_counts",
]  # fmt: skip


@dataclass(frozen=True)
class GroupReport:
    """Counts and rates of one group; rates that need labels are over labelled predictions."""

    n: int
    labelled: int
    selection_rate: Estimate
    accuracy: Estimate
    true_positive_rate: Estimate
    false_positive_rate: Estimate


@dataclass(frozen=True)
class Coverage:
    """Shares of predictions with a known group (also: known to be in none) and with a label; labels by group.

    `by_group` is group -> prediction -> {"labelled", "n"}. When labels arrive more often for one prediction than
    for another, every figure that needs labels is biased.
    """

    group: float | None
    label: float | None
    by_group: Mapping[str, Mapping[str, Mapping[str, int]]]


@dataclass(frozen=True)
class FairnessReport:
    """Every fairness figure of one set of counts; the last five gaps need more than two labels, else they are None."""

    n: int
    labelled: int
    pos_label: int
    confidence: float
    overall: GroupReport
    groups: Mapping[str, GroupReport]
    demographic_parity_difference: Gap
    demographic_parity_ratio: Gap
    demographic_parity_to_overall: Gap
    equal_opportunity_difference: Gap
    false_positive_rate_difference: Gap
    equalized_odds_difference: Gap
    average_odds_difference: Gap
    accuracy_difference: Gap
    paper_dp: Gap
    paper_eo: Gap
    coverage: Coverage
    overlapping: bool = False
    macro_demographic_parity_difference: Gap | None = None
    worst_class_demographic_parity_difference: Gap | None = None
    macro_average_odds_difference: Gap | None = None
    worst_class_average_odds_difference: Gap | None = None
    total_variation_distance: Gap | None = None

    @property
    def gaps(self) -> dict[str, Gap]:
        """The fields that compare groups, by name; those for more than two labels only if there are more."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Gap)}

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-ready values, with all gaps under one key; `groups_overlap` only where they do."""
        document = {
            "n": self.n,
            "labelled": self.labelled,
            "pos_label": self.pos_label,
            "confidence": self.confidence,
            "overall": asdict(self.overall),
            "groups": {name: asdict(group) for name, group in self.groups.items()},
            "gaps": {name: asdict(gap) for name, gap in self.gaps.items()},
            "coverage": asdict(self.coverage),
        }
        return document | ({"groups_overlap": True} if self.overlapping else {})


def evaluate_counts(
    counts: Counts, *, pos_label: int = 1, labels: int = 2, confidence: float = 0.95, overlapping: bool = False
) -> FairnessReport:
    """All figures of `counts`: (group, label or None, prediction) -> how many.

    `labels` is the number of classes; `pos_label` is the class whose rate is the selection rate; `overlapping` says
    that group strings are identities joined by " + ", or "none". The paper's DP and EO
    are the mean distance of the groups to the overall rate (of predictions; of false negatives and false positives,
    averaged, not summed), with more than two classes averaged over each class against the rest.
    Raises DataError for a negative count or a class out of range.
    """
    table = CountTable.of(counts, labels, overlapping=overlapping)
    selection, accuracy = table.selection(pos_label), table.accuracy()
    tpr, fpr = table.true_positive(pos_label), table.false_positive(pos_label)
    classes = [pos_label] if labels == 2 else range(labels)  # two classes against the rest are mirror images
    n, labelled = int(table.n[-1]), int(table.labelled[-1])
    rates = [selection, accuracy, tpr, fpr]
    return FairnessReport(
        n=n,
        labelled=labelled,
        pos_label=pos_label,
        confidence=confidence,
        overall=GroupReport(n, labelled, *(rate.overall(confidence) for rate in rates)),
        groups=_groups(table, rates, confidence),
        demographic_parity_difference=gaps.difference(selection, confidence),
        demographic_parity_ratio=gaps.ratio(selection, confidence),
        demographic_parity_to_overall=gaps.worst_to_overall(selection, confidence),
        equal_opportunity_difference=gaps.difference(tpr, confidence),
        false_positive_rate_difference=gaps.difference(fpr, confidence),
        equalized_odds_difference=gaps.of_two(tpr, fpr, confidence, worst=True),
        average_odds_difference=gaps.of_two(tpr, fpr, confidence, worst=False),
        accuracy_difference=gaps.difference(accuracy, confidence),
        paper_dp=gaps.mean_to_overall([table.selection(c) for c in classes], confidence),
        paper_eo=gaps.mean_to_overall(
            [rate(c) for c in classes for rate in (table.true_positive, table.false_positive)], confidence
        ),
        coverage=_coverage(table),
        overlapping=overlapping,
        **(_over_classes(table, labels, confidence) if labels > 2 else {}),
    )


def _over_classes(table: CountTable, labels: int, confidence: float) -> dict[str, Gap]:
    """The gaps that look at all classes, each against the rest."""
    selections = [table.selection(c) for c in range(labels)]
    parity = [[rate] for rate in selections]
    odds = [[table.true_positive(c), table.false_positive(c)] for c in range(labels)]
    return {
        "macro_demographic_parity_difference": gaps.over_classes(parity, confidence, worst=False),
        "worst_class_demographic_parity_difference": gaps.over_classes(parity, confidence, worst=True),
        "macro_average_odds_difference": gaps.over_classes(odds, confidence, worst=False),
        "worst_class_average_odds_difference": gaps.over_classes(odds, confidence, worst=True),
        "total_variation_distance": gaps.total_variation(selections, confidence),
    }


def _groups(table: CountTable, rates: Sequence[Rate], confidence: float) -> dict[str, GroupReport]:
    return {
        name: GroupReport(int(table.n[i]), int(table.labelled[i]), *(rate.estimate(i, confidence) for rate in rates))
        for i, name in enumerate(table.names)
    }


def _coverage(table: CountTable) -> Coverage:
    counted, labelled = table.cells.sum(axis=1), table.cells[:, :-1].sum(axis=1)  # both (G + 1, K)
    n = int(table.n[-1])
    unknown = sum(int(table.n[i]) for i, name in enumerate(table.names) if name in (UNKNOWN, UNDECLARED))
    by_group = {
        name: {str(c): {"labelled": int(labelled[i, c]), "n": int(counted[i, c])} for c in range(counted.shape[1])}
        for i, name in enumerate(table.names)
    }
    return Coverage((n - unknown) / n if n else None, int(labelled[-1].sum()) / n if n else None, by_group)
