"""The rule of Hardt, Price and Srebro (NeurIPS 2016, arXiv 1610.02413): random thresholds for groups that are known.

Each group's scores trace a ROC curve; mixing thresholds reaches every point below its convex hull. A linear programme
picks one point per group: the best `measure` whose gap, as selection counts it, is at most a given one. It needs the
group of everybody who is predicted: a measure of what is possible, not something that a trigger's user could serve.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linprog
from torch import Tensor

from trainer.baselines.postprocessing.frozen_outputs import FrozenOutputs
from trainer.baselines.postprocessing.rule import FitTarget, FittedRule, two_label_scores
from triggers.metrics.intervals import Floats

GAPS = (0.3, 0.2, 0.15, 0.1, 0.05, 0.02, 0.0)
"""Gaps on tuning that are allowed, the weakest first."""

CERTAIN = 1e-9
"""Weight of a mixture below which the programme means none."""


@dataclass(frozen=True, eq=False)
class RandomisedThresholds:
    """Per group (G) a mixture of V thresholds (G, V) with weights (G, V): a score at or above one is positive.

    A group without weights was not fitted and keeps the model's answers. Where the thresholds of a group disagree, its
    rows take turns in the order of label and score instead of being drawn (systematic sampling): every label of every
    group gets as many positives as are expected, but for less than one. So no figure depends on luck; the labels, which
    a rule in use has not, do nothing else.
    """

    thresholds: Tensor
    weights: Tensor
    pos_label: int

    def predict(self, outputs: FrozenOutputs) -> Tensor:
        """Predicted labels (N,)."""
        scores, found = two_label_scores(outputs, self.pos_label), outputs.predictions.long().clone()
        for group in range(len(self.weights)):
            rows = (outputs.data.groups == group).nonzero()[:, 0]
            if not len(rows) or not self.weights[group].any():
                continue
            rows = rows[scores[rows].argsort(stable=True)]
            rows = rows[outputs.data.labels[rows].argsort(stable=True)]
            share = ((scores[rows][:, None] >= self.thresholds[group]) * self.weights[group]).sum(dim=1)
            found[rows] = torch.where(_turns(share), self.pos_label, 1 - self.pos_label)
        return found

    def tensors(self) -> Mapping[str, Tensor]:
        """`thresholds` and `weights`, float64, a row per group."""
        return {"thresholds": self.thresholds, "weights": self.weights}


def _turns(share: Tensor) -> Tensor:
    """Which of the rows (N,) are positive, given how often each is to be; always and never leave no choice."""
    positive, open_rows = share > 0.5, ((share > CERTAIN) & (share < 1 - CERTAIN)).nonzero()[:, 0]
    turns = (share[open_rows].cumsum(dim=0) + 0.5).floor()
    positive[open_rows] = turns.diff(prepend=turns.new_zeros(1)) > 0
    return positive


@dataclass(frozen=True, eq=False)
class GroupCurve:
    """The corners (V) of one group's ROC hull as counts of false and true positives, its rows of either label, and the
    threshold of each corner.
    """

    false_positives: Floats
    true_positives: Floats
    negatives: int
    positives: int
    thresholds: Floats

    @property
    def selected(self) -> Floats:
        """Positive answers (V,)."""
        return self.false_positives + self.true_positives


def fit_hardt(tuning: FrozenOutputs, target: FitTarget) -> list[FittedRule]:
    """One rule per allowed gap. Raises UnsupportedDataError for more than two labels."""
    scores = two_label_scores(tuning, target.pos_label).numpy()
    positive, groups = (tuning.data.labels == target.pos_label).numpy(), tuning.data.groups.numpy()
    present = [group for group in range(len(tuning.data.group_names)) if (groups == group).any()]
    curves = [roc_hull(scores[groups == group], positive[groups == group]) for group in present]
    rules = []
    for gap in GAPS:
        weights = mixture(curves, target, gap)
        rule = _rule(curves, weights, present, len(tuning.data.group_names), target.pos_label)
        rules.append(FittedRule(f"gap at most {gap:g}", gap, rule))
    return rules


def roc_hull(scores: Floats, positive: NDArray[np.bool_]) -> GroupCurve:
    """The upper convex hull of the ROC curve of N scores, from nobody selected to everybody."""
    order = np.argsort(-scores, kind="stable")
    falling, hits = scores[order], positive[order]
    last = np.append(np.flatnonzero(np.diff(falling)), len(falling) - 1)  # of every distinct score
    between = np.append((falling[last[:-1]] + falling[last[1:]]) / 2, -np.inf)
    true = np.concatenate([[0], np.cumsum(hits)[last]]).astype(np.float64)
    false = np.concatenate([[0], np.cumsum(~hits)[last]]).astype(np.float64)
    thresholds = np.concatenate([[np.inf], between])
    kept: list[int] = []
    for at in range(len(true)):
        while len(kept) > 1 and _below(false, true, kept[-2], kept[-1], at):
            kept.pop()
        kept.append(at)
    return GroupCurve(false[kept], true[kept], int((~positive).sum()), int(positive.sum()), thresholds[kept])


def mixture(curves: Sequence[GroupCurve], target: FitTarget, gap: float) -> list[Floats]:
    """Weights (V,) of each group's corners: the best measure at a gap of at most `gap`, which 0 always allows."""
    corners = [len(one.thresholds) for one in curves]
    starts, size = np.cumsum([0, *corners]), sum(corners)
    rates = _rates(curves, target)
    spreads = sorted({name for name, _, _ in rates})
    width = size + 2 * len(spreads)  # a rate's highest and lowest value over the groups follow the weights
    upper, bounds = [], []
    for name, group, values in rates:
        high = size + 2 * spreads.index(name)
        for sign, limit in ((1.0, high), (-1.0, high + 1)):
            row = np.zeros(width)
            row[starts[group] : starts[group + 1]] = sign * values
            row[limit] = -sign
            upper.append(row)
            bounds.append(0.0)
    row = np.zeros(width)
    row[size:] = np.tile([1.0, -1.0], len(spreads)) / max(1, len(spreads))
    upper.append(row)
    bounds.append(gap)
    sums = np.zeros((len(curves), width))
    for group in range(len(curves)):
        sums[group, starts[group] : starts[group + 1]] = 1
    found = linprog(
        np.concatenate([-_gains(curves, target), np.zeros(2 * len(spreads))]),
        A_ub=np.array(upper),
        b_ub=bounds,
        A_eq=sums,
        b_eq=np.ones(len(curves)),
        bounds=[(0, 1)] * width,
        method="highs-ds",
    )
    assert found.success, found.message
    return [found.x[starts[group] : starts[group + 1]] for group in range(len(curves))]


def _rates(curves: Sequence[GroupCurve], target: FitTarget) -> list[tuple[str, int, Floats]]:
    """The rates (V,) whose spread over the groups is the gap: (name, group, values at the corners)."""
    found: list[tuple[str, int, Floats]] = []
    for group, one in enumerate(curves):
        if target.criterion == "demographic_parity":
            found.append(("selected", group, one.selected / (one.negatives + one.positives)))
            continue
        if one.positives:
            found.append(("true", group, one.true_positives / one.positives))
        if one.negatives:
            found.append(("false", group, one.false_positives / one.negatives))
    return found


def _gains(curves: Sequence[GroupCurve], target: FitTarget) -> Floats:
    """What each corner adds to the measure, up to a constant."""
    positives, negatives = (max(1, sum(getattr(one, name) for one in curves)) for name in ("positives", "negatives"))
    if not target.balanced:
        positives = negatives = positives + negatives
    return np.concatenate([one.true_positives / positives - one.false_positives / negatives for one in curves])


def _below(false: Floats, true: Floats, first: int, middle: int, last: int) -> bool:
    """Whether the middle point is on or below the line from the first to the last."""
    rise = (true[middle] - true[first]) * (false[last] - false[first])
    return bool(rise <= (true[last] - true[first]) * (false[middle] - false[first]))


def _rule(
    curves: Sequence[GroupCurve], weights: Sequence[Floats], present: Sequence[int], groups: int, pos_label: int
) -> RandomisedThresholds:
    most = max(len(one) for one in weights)
    thresholds, shares = torch.full((groups, most), torch.inf).double(), torch.zeros(groups, most).double()
    for group, one, share in zip(present, curves, weights, strict=True):
        thresholds[group, : len(share)] = torch.from_numpy(one.thresholds)
        shares[group, : len(share)] = torch.from_numpy(share.clip(0) / share.clip(0).sum())
    return RandomisedThresholds(thresholds, shares, pos_label)
