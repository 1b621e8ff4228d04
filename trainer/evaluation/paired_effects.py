"""Paired effects of a trigger: changes of accuracy and gaps on one split, with intervals that use the pairing.

The same rows are predicted twice, so most of the noise is shared and cancels: rows, each with both predictions, are
resampled (percentile bootstrap, fixed seed). A gap between noisy rates is never below 0 and so biased upwards; a change
of two gaps would look certain where there is none. So each limit takes one of the two gaps with its observed sign,
which resamples may turn around: the upper one the gap before, the lower one the gap after. Both err towards no change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from trainer.formatting import CRITERIA, in_group
from triggers.metrics.paired import JointCounts

REPEATS = 2000
"""Resamples; their 2.5 % and 97.5 % points are the interval."""

NOISE_REPEATS = 400
"""Resamples behind a standard deviation."""

Float64Array: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PairedCells:
    """The C cells of a paired table: label, both predictions (C,), and which of the G groups hold them (C, G)."""

    label: NDArray[np.int64]
    before: NDArray[np.int64]
    after: NDArray[np.int64]
    members: NDArray[np.bool_]
    classes: Sequence[int]  # of which gaps are taken: the positive label, or each of several labels
    overlapping: bool

    def accuracy(self, n: Float64Array, prediction: NDArray[np.int64]) -> Float64Array:
        """Resampled counts n (R, C) to accuracies (R,)."""
        right: Float64Array = n[:, prediction == self.label].sum(axis=1) / n.sum(axis=1)
        return right

    def group_accuracy(self, n: Float64Array, prediction: NDArray[np.int64]) -> Float64Array:
        """Accuracies (R, G)."""
        return self._rates(n, prediction == self.label, np.ones_like(self.label, dtype=bool))[0]

    def gap(
        self, n: Float64Array, prediction: NDArray[np.int64], criterion: str, *, signed: bool = False
    ) -> Float64Array:
        """The criterion's gaps (R,), computed as the fairness reports compute the selection gap.

        `signed`: between the groups that are extreme in the first row of counts, in that order, so it may be negative.
        """
        everyone = np.ones_like(self.label, dtype=bool)
        spreads = []
        for c in self.classes:
            strata = [everyone] if criterion == CRITERIA[0] else [self.label == c, self.label != c]
            spreads += [self._spread(*self._rates(n, prediction == c, stratum), signed) for stratum in strata]
        mean: Float64Array = np.mean(spreads, axis=0)
        return mean

    def _rates(
        self, n: Float64Array, hit: NDArray[np.bool_], among: NDArray[np.bool_]
    ) -> tuple[Float64Array, Float64Array]:
        """Rates per group (R, G) and overall (R, 1); NaN where no rows are among them."""
        groups = np.column_stack([self.members, np.ones(len(hit), dtype=bool)])
        hits, all_rows = n @ (groups * (hit & among)[:, None]), n @ (groups * among[:, None])
        rates = np.divide(hits, all_rows, out=np.full_like(hits, np.nan), where=all_rows > 0)
        return rates[:, :-1], rates[:, -1:]

    def _spread(self, rates: Float64Array, overall: Float64Array, signed: bool) -> Float64Array:
        """Rates (R, G) and overall ones (R, 1) to one gap each: largest minus smallest, or mean distance to overall."""
        known = ~np.isnan(rates).all(axis=0)
        if known.sum() < 2:
            return np.full(len(rates), np.nan)
        rates = rates[:, known]
        if self.overlapping:
            distance = rates - overall
            way = np.where(distance[0] < 0, -1, 1) if signed else np.sign(distance)
            mean: Float64Array = (distance * way).mean(axis=1)
            return mean
        if not signed:
            ptp: Float64Array = np.ptp(rates, axis=1)
            return ptp
        high, low = rates[0].argmax(), rates.shape[1] - 1 - rates[0, ::-1].argmin()  # two groups even in a tie
        difference: Float64Array = rates[:, high] - rates[:, low]
        return difference


def paired_changes(
    paired: JointCounts, groups: Sequence[str], pos_label: int, labels: int, *, overlapping: bool = False, seed: int = 0
) -> dict[str, Any]:
    """With the trigger minus without: accuracy, the gap of each criterion, accuracy per group; {value, low, high}.

    `groups` are the ones that gaps compare. A change is None where it cannot be measured.
    """
    cells, n = _resampled(paired, groups, pos_label, labels, overlapping=overlapping, repeats=REPEATS, seed=seed)
    by_group = cells.group_accuracy(n, cells.after) - cells.group_accuracy(n, cells.before)
    return {
        "accuracy": _interval(cells.accuracy(n, cells.after) - cells.accuracy(n, cells.before)),
        **{criterion: _gap_change(cells, n, criterion) for criterion in CRITERIA},
        "group_accuracy": {group: _interval(by_group[:, at]) for at, group in enumerate(groups)},
    }


def gap_noise(
    paired: JointCounts,
    groups: Sequence[str],
    pos_label: int,
    labels: int,
    criterion: str,
    *,
    overlapping: bool = False,
) -> float:
    """Standard deviation of the difference of two gaps on the same rows; NaN where a gap cannot be measured."""
    cells, n = _resampled(paired, groups, pos_label, labels, overlapping=overlapping, repeats=NOISE_REPEATS, seed=0)
    difference = cells.gap(n, cells.after, criterion) - cells.gap(n, cells.before, criterion)
    return float(np.nanstd(difference[1:])) if np.isfinite(difference[0]) else float("nan")


def _resampled(
    paired: JointCounts,
    groups: Sequence[str],
    pos_label: int,
    labels: int,
    *,
    overlapping: bool,
    repeats: int,
    seed: int,
) -> tuple[PairedCells, Float64Array]:
    """The cells of the counts, and counts (1 + repeats, C): first the observed ones, then those of resampled rows."""
    rows = list(paired)
    label, before, after = (np.array([row[column] for row in rows], dtype=np.int64) for column in (1, 2, 3))
    members = np.array([[in_group(row[0], group, overlapping) for group in groups] for row in rows])
    cells = PairedCells(label, before, after, members, [pos_label] if labels == 2 else range(labels), overlapping)
    seen = np.array([[paired[row] for row in rows]], dtype=np.float64)
    total = int(seen.sum())
    drawn = np.random.default_rng(seed).multinomial(total, seen[0] / total, size=repeats)
    return cells, np.concatenate([seen, drawn])


def _gap_change(cells: PairedCells, n: Float64Array, criterion: str) -> dict[str, float] | None:
    old, new = (cells.gap(n, prediction, criterion) for prediction in (cells.before, cells.after))
    signed_old, signed_new = (
        cells.gap(n, prediction, criterion, signed=True) for prediction in (cells.before, cells.after)
    )
    return _interval(signed_new - old, new - signed_old)


def _interval(values: Float64Array, upper: Float64Array | None = None) -> dict[str, float] | None:
    """The observed value comes first, the resampled ones behind it; `upper` has those of the upper limit."""
    if np.isnan(values[0]):
        return None
    low, high = np.nanpercentile(values[1:], 2.5), np.nanpercentile((values if upper is None else upper)[1:], 97.5)
    return {"value": float(values[0]), "low": float(low), "high": float(high)}
