"""How much a trigger changed accuracy and gaps on one split, with intervals that use the pairing.

The same rows are predicted twice, so most of the noise is shared and cancels: rows, each with both predictions, are
resampled (percentile bootstrap, fixed seed). Near parity a gap between noisy rates is biased upwards; for a change from
a clear gap to a small one that errs on the side of promising less.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from trainer.flips import Paired
from trainer.wording import CRITERIA, in_group

REPEATS = 2000
"""Resamples; their 2.5 % and 97.5 % points are the interval."""

Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Cells:
    """The C cells of a paired table: label, both predictions (C,), and which of the G groups hold them (C, G)."""

    label: NDArray[np.int64]
    before: NDArray[np.int64]
    after: NDArray[np.int64]
    members: NDArray[np.bool_]
    classes: Sequence[int]  # of which gaps are taken: the positive label, or each of several labels
    overlapping: bool

    def accuracy(self, n: Floats, prediction: NDArray[np.int64]) -> Floats:
        """Resampled counts n (R, C) to accuracies (R,)."""
        right: Floats = n[:, prediction == self.label].sum(axis=1) / n.sum(axis=1)
        return right

    def group_accuracy(self, n: Floats, prediction: NDArray[np.int64]) -> Floats:
        """Accuracies (R, G)."""
        return self._rates(n, prediction == self.label, np.ones_like(self.label, dtype=bool))[0]

    def gap(self, n: Floats, prediction: NDArray[np.int64], criterion: str) -> Floats:
        """The criterion's gaps (R,), made as the fairness reports make the one that selection goes by."""
        everyone = np.ones_like(self.label, dtype=bool)
        spreads = []
        for c in self.classes:
            strata = [everyone] if criterion == CRITERIA[0] else [self.label == c, self.label != c]
            spreads += [self._spread(*self._rates(n, prediction == c, stratum)) for stratum in strata]
        mean: Floats = np.mean(spreads, axis=0)
        return mean

    def _rates(self, n: Floats, hit: NDArray[np.bool_], among: NDArray[np.bool_]) -> tuple[Floats, Floats]:
        """Rates per group (R, G) and overall (R, 1); NaN where nobody is among them."""
        groups = np.column_stack([self.members, np.ones(len(hit), dtype=bool)])
        hits, all_rows = n @ (groups * (hit & among)[:, None]), n @ (groups * among[:, None])
        rates = np.divide(hits, all_rows, out=np.full_like(hits, np.nan), where=all_rows > 0)
        return rates[:, :-1], rates[:, -1:]

    def _spread(self, rates: Floats, overall: Floats) -> Floats:
        known = ~np.isnan(rates).all(axis=0)
        if known.sum() < 2:
            return np.full(len(rates), np.nan)
        rates = rates[:, known]
        spread: Floats = np.abs(rates - overall).mean(axis=1) if self.overlapping else np.ptp(rates, axis=1)
        return spread


def paired_changes(
    paired: Paired, groups: Sequence[str], pos_label: int, labels: int, *, overlapping: bool = False, seed: int = 0
) -> dict[str, Any]:
    """With the trigger minus without: accuracy, the gap of each criterion, accuracy per group; {value, low, high}.

    `groups` are the ones that gaps compare. A change is None where it cannot be measured.
    """
    rows = list(paired)
    label, before, after = (np.array([row[column] for row in rows], dtype=np.int64) for column in (1, 2, 3))
    members = np.array([[in_group(row[0], group, overlapping) for group in groups] for row in rows])
    cells = Cells(label, before, after, members, [pos_label] if labels == 2 else range(labels), overlapping)
    seen = np.array([[paired[row] for row in rows]], dtype=np.float64)
    total = int(seen.sum())
    drawn = np.random.default_rng(seed).multinomial(total, seen[0] / total, size=REPEATS).astype(np.float64)

    def change(measure: Callable[[Floats, NDArray[np.int64]], Floats]) -> Floats:
        return np.concatenate([measure(n, cells.after) - measure(n, cells.before) for n in (seen, drawn)])

    by_group = change(cells.group_accuracy)
    return {
        "accuracy": _interval(change(cells.accuracy)),
        **{
            criterion: _interval(change(lambda n, p, c=criterion: cells.gap(n, p, c)))  # type: ignore[misc]
            for criterion in CRITERIA
        },
        "group_accuracy": {group: _interval(by_group[:, at]) for at, group in enumerate(groups)},
    }


def _interval(values: Floats) -> dict[str, float] | None:
    """The observed value comes first, the resampled ones behind it."""
    if np.isnan(values[0]):
        return None
    low, high = np.nanpercentile(values[1:], [2.5, 97.5])
    return {"value": float(values[0]), "low": float(low), "high": float(high)}
