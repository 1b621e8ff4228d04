"""OxonFair's rule for deep networks (Delaney et al., NeurIPS 2024, arXiv 2407.13710): two heads merged into one.

A linear head on the frozen features is fitted to the group, 0 or 1, by least squares. The rule adds it to the selected
label's logit, times a coefficient, and shifts the threshold; both come from a search on tuning for the best `measure`
at a given gap. Nobody's group is asked for at prediction: it is inferred from the input.

On its own rows the head would know the groups too well, so the search sees what it says of each row when that row is
left out. There are two numbers to choose and few gaps to choose them for: more would only fit the tuning rows' luck.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.baselines.postprocessing.frozen_outputs import FrozenOutputs
from trainer.baselines.postprocessing.rule import (
    FeatureOffset,
    FitTarget,
    FittedRule,
    UnsupportedDataError,
    two_label_scores,
)
from triggers.metrics.intervals import Floats

REMOVED = (0.0, 0.25, 0.5, 0.65, 0.8, 0.9, 0.95)
"""Shares of the bare model's gap on tuning that are taken away, the weakest first; 0 only looks for accuracy."""
PENALTIES = tuple(10.0**exponent for exponent in range(-4, 3))
"""Ridge penalties, as multiples of the features' mean variance times the rows, of which leaving one out chooses."""
COEFFICIENTS = 321
"""Coefficients that are tried, 0 in their middle."""
REACH = 2.5
"""The largest coefficient moves the groups apart by so many standard deviations of the label's logit."""
CUTS = 500
"""Thresholds that are tried for each coefficient, at most."""

BOTH = (False, True)

Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class GroupHead:
    """A linear head on features: weight (F,) and bias, float64; `left_out` (N,) is what the others say of each row."""

    weight: Tensor
    bias: float
    left_out: Tensor


def fit_oxonfair(tuning: FrozenOutputs, target: FitTarget) -> list[FittedRule]:
    """One rule per share of the gap that is removed. Raises UnsupportedDataError for other than two labels, groups."""
    scores = two_label_scores(tuning, target.pos_label)
    groups = tuning.data.groups
    if len(groups.unique()) != 2 or len(tuning.data.group_names) != 2:
        raise UnsupportedDataError(f"needs two groups, there are {len(tuning.data.group_names)}")
    positive = (tuning.data.labels == target.pos_label).numpy()
    if len(set(zip(positive.tolist(), groups.tolist(), strict=True))) < 4:
        raise UnsupportedDataError("needs tuning rows of both labels in both groups")
    head = fit_group_head(tuning.features, groups.double())
    heads = merged_heads(scores.numpy(), head.left_out.numpy(), positive, groups.numpy() == 1, target)
    bare = heads[0, 3]
    rules = []
    for share in REMOVED:
        coefficient, shift, *_ = best_within(heads, (1 - share) * bare).tolist()
        weight, bias = torch.zeros(2, tuning.features.shape[1]).double(), torch.zeros(2).double()
        weight[target.pos_label] = coefficient * head.weight
        bias[target.pos_label] = coefficient * head.bias + shift
        rules.append(FittedRule(f"{share:.0%} of the gap removed on tuning", share, FeatureOffset(weight, bias)))
    return rules


def fit_group_head(features: Tensor, groups: Tensor) -> GroupHead:
    """Ridge regression of groups (N,) on features (N, F), with the penalty that predicts rows best when left out."""
    centre, middle = features.double().mean(dim=0), groups.mean()
    left, values, right = torch.linalg.svd(features.double() - centre, full_matrices=False)
    turned, energy = left.T @ (groups - middle), values.square()
    scale = energy.sum() / features.shape[1]
    best, error = None, float("inf")
    for penalty in PENALTIES:
        kept = energy / (energy + penalty * scale) if scale > 0 else torch.zeros_like(energy)
        fitted = left @ (kept * turned)
        leverage = (left.square() @ kept + 1 / len(groups)).clamp(max=1 - 1e-9)
        left_out = groups - (groups - middle - fitted) / (1 - leverage)
        wrong = float((groups - left_out).square().mean())
        if wrong < error:
            inverse = torch.where(values > 0, kept / values.clamp(min=1e-300), 0.0)
            best, error = (right.T @ (inverse * turned), left_out), wrong
    assert best
    weight, left_out = best
    return GroupHead(weight, float(middle - centre @ weight), left_out)


def merged_heads(scores: Floats, group_scores: Floats, positive: Flags, second: Flags, target: FitTarget) -> Floats:
    """Merged heads (M, 4): coefficient, shift, gain and gap on these N rows; the first one changes nothing.

    A row is positive where `score + coefficient * group score + shift` is above 0. `positive` and `second` are what
    its label and its group are.
    """
    apart = abs(group_scores[second].mean() - group_scores[~second].mean())
    reach = REACH * scores.std() / max(apart, 1e-9)
    kept = np.array([[0.0, 0.0, *figures(scores > 0, positive, second, target)]])
    swept = [
        _swept(float(each), scores + each * group_scores, positive, second, target)
        for each in np.linspace(-reach, reach, COEFFICIENTS)
    ]
    return np.concatenate([kept, *swept])


def best_within(heads: Floats, gap: float) -> Floats:
    """Of merged heads (M, 4) the one with the largest gain at a gap of at most `gap`; of equal ones the least change.

    Selecting nobody is always among them, without a gap.
    """
    allowed = heads[heads[:, 3] <= gap + 1e-12]
    best: Floats = allowed[np.lexsort([np.abs(allowed[:, 1]), np.abs(allowed[:, 0]), -allowed[:, 2]])[0]]
    return best


def figures(selected: Flags, positive: Flags, second: Flags, target: FitTarget) -> tuple[float, float]:
    """Gain and gap of N answers: the measure but for a constant, and the gap that selection counts."""
    hits = {cell: np.array([(selected & rows).sum()]) for cell, rows in _cells(positive, second).items()}
    sizes = {cell: int(rows.sum()) for cell, rows in _cells(positive, second).items()}
    return float(_gain(hits, sizes, target)[0]), float(_gap(hits, sizes, target)[0])


def _swept(coefficient: float, moved: Floats, positive: Flags, second: Flags, target: FitTarget) -> Floats:
    """One coefficient at cuts between the moved scores (N,), from nobody selected to everybody."""
    order = np.argsort(-moved, kind="stable")
    falling = moved[order]
    last = np.append(np.flatnonzero(np.diff(falling)), len(falling) - 1)  # of every distinct score
    last = last[np.unique(np.linspace(0, len(last) - 1, CUTS).round().astype(int))]
    below = np.append(falling, falling[-1] - 1)[last + 1]
    shifts = np.concatenate([[-falling[0] - 1], -(falling[last] + below) / 2])
    cells = _cells(positive, second)
    hits = {cell: np.concatenate([[0], np.cumsum(rows[order])[last]]) for cell, rows in cells.items()}
    sizes = {cell: int(rows.sum()) for cell, rows in cells.items()}
    gains, gaps = _gain(hits, sizes, target), _gap(hits, sizes, target)
    return np.column_stack([np.full(len(shifts), coefficient), shifts, gains, gaps])


def _cells(positive: Flags, second: Flags) -> dict[tuple[bool, bool], Flags]:
    """The rows of every label and group."""
    return {(label, group): (positive == label) & (second == group) for label in BOTH for group in BOTH}


def _gain(
    hits: Mapping[tuple[bool, bool], Floats], sizes: Mapping[tuple[bool, bool], int], target: FitTarget
) -> Floats:
    """Right answers less a constant, as a share of all rows or of each label's."""
    totals = {label: sizes[label, False] + sizes[label, True] for label in BOTH}
    if not target.balanced:
        totals = dict.fromkeys(BOTH, sum(totals.values()))
    true, false = ((hits[label, False] + hits[label, True]) / max(1, totals[label]) for label in (True, False))
    return true - false


def _gap(hits: Mapping[tuple[bool, bool], Floats], sizes: Mapping[tuple[bool, bool], int], target: FitTarget) -> Floats:
    """Difference of the groups' selection rates, or the mean of those of their error rates."""
    if target.criterion == "demographic_parity":
        one, other = (
            (hits[False, group] + hits[True, group]) / (sizes[False, group] + sizes[True, group]) for group in BOTH
        )
        return np.abs(one - other)
    apart = [
        np.abs(hits[label, False] / sizes[label, False] - hits[label, True] / sizes[label, True]) for label in BOTH
    ]
    mean: Floats = np.mean(apart, axis=0)
    return mean
