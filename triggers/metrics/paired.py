"""Paired comparison of two versions on the same rows: gains in fairness and accuracy, and flipped predictions.

The counts are joint: (group, label or None, prediction before, prediction after) -> how many. "Before" is the bare
model's answer and "after" the trigger's, or those of any two versions on the same rows. Because a row differs from
itself only where the change mattered, a gain is known far more precisely than from two separate sets of rows. Positive
is better after: a smaller gap, a higher accuracy. An undefined figure is None with a reason, as in `gaps`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from triggers.metrics import paired_intervals
from triggers.metrics.gaps import INSUFFICIENT_GROUPS
from triggers.metrics.intervals import critical, simultaneous_quantile
from triggers.metrics.rates import NO_LABELS, ZERO_DENOMINATOR, Ints, count_array, never_compared

JointCounts = Mapping[tuple[str, int | None, int, int], int]


@dataclass(frozen=True)
class Gain:
    """Change of a figure, with an interval; `before` and `after` are its two values."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    before: float | None = None
    after: float | None = None
    reason: str | None = None
    excluded: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Flip:
    """Number of rows whose prediction changed from one label into another, by index."""

    before: int
    after: int
    n: int


@dataclass(frozen=True)
class PairedGroup:
    """One group: flipped predictions by direction, and the changes of its rates (after - before)."""

    n: int
    flipped: int
    flips: Sequence[Flip]
    selection_rate: Gain
    accuracy: Gain


@dataclass(frozen=True)
class PairedReport:
    """Gains of the change over all rows that were predicted both ways."""

    n: int
    labelled: int
    flipped: int
    overall: PairedGroup
    groups: Mapping[str, PairedGroup]
    demographic_parity_difference: Gain
    equal_opportunity_difference: Gain
    false_positive_rate_difference: Gain
    equalized_odds_difference: Gain
    accuracy_difference: Gain

    @property
    def gains(self) -> dict[str, Gain]:
        """The gains in fairness, by the name of the gap that became smaller."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Gain)}

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-ready values, with the gains under one key."""
        document = asdict(self)
        return {name: document[name] for name in document if name not in self.gains} | {
            "gains": {name: document[name] for name in self.gains}
        }


def evaluate_pairs(
    joint: JointCounts, *, pos_label: int = 1, labels: int = 2, confidence: float = 0.95, overlapping: bool = False
) -> PairedReport:
    """All gains of `joint`; the parameters are those of `evaluate_counts`."""
    table = JointTable.of(joint, labels, overlapping=overlapping)
    selection, accuracy = table.selection(pos_label), table.accuracy()
    tpr, fpr = table.true_positive(pos_label), table.false_positive(pos_label)
    z = critical(confidence)
    groups = [_group(table, i, selection, accuracy, z) for i in range(len(table.names) + 1)]
    return PairedReport(
        n=groups[-1].n,
        labelled=int(table.cells[-1, :-1].sum()),
        flipped=groups[-1].flipped,
        overall=groups[-1],
        groups=dict(zip(table.names, groups[:-1], strict=True)),
        demographic_parity_difference=_gap_gain(table, [selection], confidence),
        equal_opportunity_difference=_gap_gain(table, [tpr], confidence),
        false_positive_rate_difference=_gap_gain(table, [fpr], confidence),
        equalized_odds_difference=_gap_gain(table, [tpr, fpr], confidence),
        accuracy_difference=_gap_gain(table, [accuracy], confidence),
    )


@dataclass(frozen=True, eq=False)
class JointTable:
    """Joint counts (G + 1, K + 1, K, K): group (the last: everyone), label (the last: not known), before, after."""

    names: tuple[str, ...]
    cells: Ints
    overlapping: bool = False

    @classmethod
    def of(cls, joint: JointCounts, labels: int, *, overlapping: bool = False) -> JointTable:
        """Arrange the counts, groups in alphabetical order."""
        names, cells = count_array(joint, labels, predictions=2, overlapping=overlapping)
        return cls(names, cells, overlapping)

    def selection(self, label: int) -> Ints:
        """Rows (G + 1, 4) by whether `label` was predicted: both before and after, only before, only after, neither."""
        return _fourfold(self.cells.sum(axis=1), label)

    def true_positive(self, label: int) -> Ints:
        """The same over rows whose label it is."""
        return _fourfold(self.cells[:, label], label)

    def false_positive(self, label: int) -> Ints:
        """The same over rows with another label."""
        return _fourfold(np.delete(self.cells[:, :-1], label, axis=1).sum(axis=1), label)

    def accuracy(self) -> Ints:
        """The same by whether the prediction was right, over labelled rows."""
        return np.asarray(sum(_fourfold(self.cells[:, y], y) for y in range(self.cells.shape[1] - 1)))

    def excluded(self, rows: Ints) -> dict[str, str]:
        """Groups that no gap of this rate can compare, and why."""
        unlabelled = self.cells[:, :-1].sum(axis=(1, 2, 3)) == 0
        found = {
            name: NO_LABELS if unlabelled[i] else ZERO_DENOMINATOR
            for i, name in enumerate(self.names)
            if not rows[i].any()
        }
        return found | never_compared(self.names, overlapping=self.overlapping)


def _fourfold(pairs: Ints, label: int) -> Ints:
    """(G + 1, K, K) to (G + 1, 4)."""
    both, before, after = pairs[:, label, label], pairs[:, label].sum(axis=1), pairs[:, :, label].sum(axis=1)
    n = pairs.sum(axis=(1, 2))
    return np.stack([both, before - both, after - both, n - before - after + both], axis=-1)


def _gap_gain(table: JointTable, rates: Sequence[Ints], confidence: float) -> Gain:
    """Decrease of the rates' worst gap, with limits that hold for all of their pairs."""
    found = [table.excluded(each) for each in rates]
    rows = [
        each[[i for i, name in enumerate(table.names) if name not in out]]
        for each, out in zip(rates, found, strict=True)
    ]
    n, excluded = int(sum(each.sum() for each in rows)), {name: why for out in found[::-1] for name, why in out.items()}
    if min(map(len, rows)) < 2:
        unlabelled = table.names and not table.cells[:, :-1].any()
        return Gain(None, n=n, reason=NO_LABELS if unlabelled else INSUFFICIENT_GROUPS, excluded=excluded)
    before, after = (max(float(np.ptp((r[:, 0] + r[:, i]) / r.sum(axis=-1))) for r in rows) for i in (1, 2))
    z = simultaneous_quantile(confidence, max(map(len, rows)), len(rows), overlapping=table.overlapping)
    low, high = paired_intervals.gain(rows, z)
    return Gain(before - after, float(low), float(high), n, before, after, excluded=excluded)


def _change(rows: Ints, unlabelled: bool, z: float) -> Gain:
    """The rate after minus the rate before, of rows (4,)."""
    n = int(rows.sum())
    if n == 0:
        return Gain(None, reason=NO_LABELS if unlabelled else ZERO_DENOMINATOR)
    before, after = float((rows[0] + rows[1]) / n), float((rows[0] + rows[2]) / n)
    low, high = paired_intervals.change(rows[[0, 2, 1, 3]], z)
    return Gain(float((rows[2] - rows[1]) / n), float(low), float(high), n, before, after)


def _group(table: JointTable, i: int, selection: Ints, accuracy: Ints, z: float) -> PairedGroup:
    pairs = table.cells[i].sum(axis=0)
    n, stayed = int(pairs.sum()), int(np.trace(pairs))
    return PairedGroup(
        n, n - stayed, list(_flips(pairs)), _change(selection[i], False, z), _change(accuracy[i], n > 0, z)
    )


def _flips(pairs: Ints) -> Iterable[Flip]:
    return (Flip(int(a), int(b), int(pairs[a, b])) for a, b in np.argwhere(pairs) if a != b)
