"""Rates per group from counts per (group, label, prediction): which predictions each rate counts, and over which.

A rate over nothing stays undefined with a reason; it is never 0. Where groups overlap, a row counts for each of its
groups, and once for everyone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triggers.errors import DataError
from triggers.metrics import intervals
from triggers.metrics.overlapping_groups import NO_GROUP, UNDECLARED, UNKNOWN, groups_of

Counts = Mapping[tuple[str, int | None, int], int]
Ints = NDArray[np.int64]
NO_LABELS = "no_labels"
ZERO_DENOMINATOR = "zero_denominator"
UNKNOWN_GROUP = "unknown_group"
UNDECLARED_GROUP = "undeclared_group"
NO_IDENTITY = "no_identity"


def never_compared(names: Sequence[str], *, overlapping: bool) -> dict[str, str]:
    """The names that no gap compares, with the reason."""
    reasons = {UNKNOWN: UNKNOWN_GROUP, UNDECLARED: UNDECLARED_GROUP} | ({NO_GROUP: NO_IDENTITY} if overlapping else {})
    return {name: reason for name, reason in reasons.items() if name in names}


@dataclass(frozen=True)
class Estimate:
    """A rate over `n` predictions with its Wilson interval; all None, with a `reason`, when it is undefined."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    reason: str | None = None


@dataclass(frozen=True, eq=False)
class Rate:
    """One rate in every group: `hits` out of `n`, both (G,). `empty` is the reason (G,) given where `n` is 0.

    `everyone` is (hits, n) over all rows, each counted once. With `overlapping` groups, `none` is no group.
    """

    names: tuple[str, ...]
    hits: Ints
    n: Ints
    empty: tuple[str, ...]
    everyone: tuple[int, int]
    overlapping: bool = False

    def estimate(self, group: int, confidence: float) -> Estimate:
        """The rate of one group."""
        return _estimate(int(self.hits[group]), int(self.n[group]), self.empty[group], confidence)

    def overall(self, confidence: float) -> Estimate:
        """The rate over all rows, those of `unknown` and of no group included."""
        reason = NO_LABELS if self.unlabelled else ZERO_DENOMINATOR
        return _estimate(*self.everyone, reason, confidence)

    @property
    def unlabelled(self) -> bool:
        """Whether there are predictions, but none of the labels that the rate needs."""
        return bool(self.names) and not self.n.any() and all(reason == NO_LABELS for reason in self.empty)

    def excluded(self) -> dict[str, str]:
        """Groups that no gap can compare, and why."""
        known = {name: reason for name, n, reason in zip(self.names, self.n, self.empty, strict=True) if n == 0}
        return known | never_compared(self.names, overlapping=self.overlapping)

    def comparable(self) -> Rate:
        """The rate of known groups with a denominator only; `everyone` is then all rows with a known group."""
        excluded = self.excluded()
        keep = [i for i, name in enumerate(self.names) if name not in excluded]
        hits, n = self.everyone
        for at, name in enumerate(self.names):
            if name in (UNKNOWN, UNDECLARED):
                hits, n = hits - int(self.hits[at]), n - int(self.n[at])
        names, empty = (tuple(values[i] for i in keep) for values in (self.names, self.empty))
        return Rate(names, self.hits[keep], self.n[keep], empty, (hits, n), self.overlapping)


def _estimate(hits: int, n: int, empty: str, confidence: float) -> Estimate:
    if n == 0:
        return Estimate(None, None, None, 0, empty)
    low, high = intervals.wilson(hits, n, intervals.critical(confidence))
    return Estimate(hits / n, float(low), float(high), n)


@dataclass(frozen=True, eq=False)
class CountTable:
    """Counts as an array (G + 1, K + 1, K): group (the last: everyone), label (the last: not known yet), prediction."""

    names: tuple[str, ...]
    cells: Ints
    overlapping: bool = False

    @classmethod
    def of(cls, counts: Counts, labels: int, *, overlapping: bool = False) -> CountTable:
        """Arrange `counts` for `labels` classes, groups in alphabetical order; empty cells do not make a group."""
        names, cells = count_array(counts, labels, predictions=1, overlapping=overlapping)
        return cls(names, cells, overlapping)

    @property
    def n(self) -> Ints:
        """Predictions per group and of everyone, (G + 1,)."""
        return np.asarray(self.cells.sum(axis=(1, 2)))

    @property
    def labelled(self) -> Ints:
        """Predictions with a known label per group and of everyone, (G + 1,)."""
        return np.asarray(self.cells[:, :-1].sum(axis=(1, 2)))

    def selection(self, label: int) -> Rate:
        """How often `label` is predicted, labelled or not."""
        return self._rate(self.cells[:, :, label].sum(axis=1), self.n)

    def accuracy(self) -> Rate:
        """How often the prediction is the label, where that is known."""
        return self._rate(np.trace(self.cells[:, :-1], axis1=1, axis2=2), self.labelled)

    def true_positive(self, label: int) -> Rate:
        """How often `label` is predicted where it is the label."""
        return self._rate(self.cells[:, label, label], self.cells[:, label].sum(axis=1))

    def false_positive(self, label: int) -> Rate:
        """How often `label` is predicted where the label is another one."""
        others = np.delete(self.cells[:, :-1], label, axis=1)
        return self._rate(others[:, :, label].sum(axis=1), others.sum(axis=(1, 2)))

    def _rate(self, hits: Ints, n: Ints) -> Rate:
        """A rate of hits out of n, both (G + 1,)."""
        empty = tuple(ZERO_DENOMINATOR if labelled else NO_LABELS for labelled in self.labelled[:-1])
        return Rate(self.names, hits[:-1], n[:-1], empty, (int(hits[-1]), int(n[-1])), self.overlapping)


def count_array(
    counts: Mapping[Any, int], labels: int, *, predictions: int, overlapping: bool
) -> tuple[tuple[str, ...], Ints]:
    """Names of the groups, and counts by (group, label or None, prediction, ...) as an array (G + 1, K + 1, K, ...).

    The last group is everyone, the last label the unknown one; each of `predictions` has an axis (K). Empty cells do
    not make a group. Raises DataError for an impossible cell.
    """
    filled = {cell[0] for cell, count in counts.items() if count}
    groups = {cell: groups_of(cell) if overlapping else (cell,) for cell in filled}
    names = tuple(sorted({name for found in groups.values() for name in found}))
    rows = {cell: [*map(names.index, found), len(names)] for cell, found in groups.items()}
    cells = np.zeros((len(names) + 1, labels + 1, *[labels] * predictions), dtype=np.int64)
    for (group, label, *predicted), count in counts.items():
        _check_cell(group, label, predicted, count, labels)
        if count:
            cells[rows[group], labels if label is None else label, *predicted] += count
    return names, cells


def _check_cell(group: str, label: int | None, predicted: Sequence[int], count: int, labels: int) -> None:
    where = f"cell (group {group!r}, label {label}, prediction {', '.join(map(str, predicted))})"
    if count < 0:
        raise DataError(f"{where} counts {count}; a count cannot be negative")
    if not all(0 <= one < labels for one in (*predicted, *([] if label is None else [label]))):
        raise DataError(f"{where} is outside the {labels} labels 0 to {labels - 1}; give the right number of labels")
