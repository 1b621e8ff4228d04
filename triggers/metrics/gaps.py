"""Gaps: one number that compares the rates of all groups, with an interval that may contain parity.

A gap compares known groups that have the rate, and needs two of them; with fewer it is undefined with a reason,
never "perfectly fair". Groups may overlap; `intervals` says what that does to the limits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from triggers.metrics import intervals
from triggers.metrics.rates import NO_LABELS, ZERO_DENOMINATOR, Rate

INSUFFICIENT_GROUPS = "insufficient_groups"


@dataclass(frozen=True)
class Gap:
    """A comparison of groups; it is never signed.

    `aggregation` says how it was made: "max - min", "min / max", "worst of two gaps", "mean of two gaps", "max to
    overall", "mean to overall", "mean over classes", "worst over classes" or "max over pairs". `n` and `smallest_n` are
    the sum and the least of the denominators; where groups overlap, a row is in the sum once for each of its groups.
    `lowest` and `highest` name the groups with the extreme rates. `expected_at_parity` is what noise alone would show
    if all true rates were equal (for "max - min"; at most that where groups overlap). `excluded` names the groups left
    out and why.
    """

    aggregation: str
    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    smallest_n: int = 0
    reason: str | None = None
    lowest: str | None = None
    highest: str | None = None
    expected_at_parity: float | None = None
    excluded: Mapping[str, str] = field(default_factory=dict)


def difference(rate: Rate, confidence: float) -> Gap:
    """Largest minus smallest rate, with the simultaneous pairwise Newcombe interval."""
    groups = rate.comparable()
    if len(groups.names) < 2:
        return _undefined("max - min", [rate])
    values = groups.hits / groups.n
    low, high = intervals.max_gap_interval(groups.hits, groups.n, confidence, overlapping=groups.overlapping)
    pooled = float(groups.hits.sum() / groups.n.sum())
    expected = intervals.expected_spread(groups.n, pooled)
    facts = _facts([rate]) | _extremes(groups) | {"expected_at_parity": expected}
    return Gap("max - min", float(values.max() - values.min()), float(low), float(high), **facts)


def ratio(rate: Rate, confidence: float) -> Gap:
    """Smallest over largest rate; undefined when no row was selected."""
    groups = rate.comparable()
    if len(groups.names) < 2:
        return _undefined("min / max", [rate])
    if not groups.hits.any():
        return Gap("min / max", None, reason=ZERO_DENOMINATOR, **_facts([rate]))
    values = groups.hits / groups.n
    low, high = intervals.smallest_over_largest(groups.hits, groups.n, confidence, overlapping=groups.overlapping)
    value = float(values.min() / values.max())
    return Gap("min / max", value, float(low), float(high), **_facts([rate]), **_extremes(groups))


def of_two(first: Rate, second: Rate, confidence: float, *, worst: bool) -> Gap:
    """The worse, or the mean, of two rates' differences; undefined if either is.

    All pairs of both rates share one confidence, so the interval holds for both gaps together.
    """
    return _combined("worst of two gaps" if worst else "mean of two gaps", [[first], [second]], confidence, worst)


def over_classes(classes: Sequence[Sequence[Rate]], confidence: float, *, worst: bool) -> Gap:
    """The worst, or the mean, over the classes of the mean difference of each class's rates.

    Undefined if any class is: leaving a class out would look fairer than it is. All pairs share one confidence.
    """
    return _combined("worst over classes" if worst else "mean over classes", classes, confidence, worst)


def total_variation(selections: Sequence[Rate], confidence: float) -> Gap:
    """Largest total variation distance between two groups' predictions, from the selection rates of all classes.

    Half the sum of the classes' absolute differences: the share of predictions that would have to change.
    """
    groups = [rate.comparable() for rate in selections]
    if len(groups[0].names) < 2:
        return _undefined("max over pairs", selections[:1])
    hits, n = np.stack([each.hits for each in groups]), groups[0].n
    i, j = np.triu_indices(len(n), 1)
    distances = np.abs(hits[:, i] / n[i] - hits[:, j] / n[j]).sum(axis=0) / 2
    low, high = intervals.widest_variation(hits, n, confidence, overlapping=groups[0].overlapping)
    return Gap("max over pairs", float(distances.max()), float(low), float(high), **_facts(selections[:1]))


def worst_to_overall(rate: Rate, confidence: float) -> Gap:
    """fairlearn's `method="to_overall"`: the largest distance to the rate of all rows with a known group."""
    groups = rate.comparable()
    if len(groups.names) < 2:
        return _undefined("max to overall", [rate])
    values, low, high = _distances(groups, groups, intervals.critical(confidence, len(groups.names)))
    return Gap("max to overall", max(values), max(low), max(high), **_facts([rate]), **_extremes(groups))


def mean_to_overall(rates: Sequence[Rate], confidence: float) -> Gap:
    """The paper's definition: every group's mean distance to the overall rate of all rows, then over `rates`.

    Undefined unless all `rates` can be compared: a mean over fewer would look fairer than it is.
    """
    groups = [rate.comparable() for rate in rates]
    if any(len(each.names) < 2 for each in groups):
        return _undefined("mean to overall", rates)
    z = intervals.critical(confidence, sum(len(each.names) for each in groups))
    distances = [_distances(each, rate, z) for each, rate in zip(groups, rates, strict=True)]
    value, low, high = (_mean([_mean(triple[i]) for triple in distances]) for i in range(3))
    return Gap("mean to overall", value, low, high, **_facts(rates))


def _combined(name: str, classes: Sequence[Sequence[Rate]], confidence: float, worst: bool) -> Gap:
    """Mean of the differences within each class, then the worst or the mean over the classes; limits likewise."""
    rates = [rate for each in classes for rate in each]
    groups = [[rate.comparable() for rate in each] for each in classes]
    sizes = [len(each.names) for within in groups for each in within]
    if min(sizes) < 2:
        return _undefined(name, rates)
    z = intervals.simultaneous_quantile(confidence, max(sizes), len(sizes), overlapping=rates[0].overlapping)
    spreads = [[_spread(each, z) for each in within] for within in groups]
    combine = max if worst else _mean
    value, low, high = (combine([_mean([spread[i] for spread in within]) for within in spreads]) for i in range(3))
    return Gap(name, value, low, high, **_facts(rates))


def _spread(groups: Rate, z: float) -> tuple[float, float, float]:
    """Largest minus smallest rate and its limits, from pairs at quantile z."""
    low, high = intervals.pairwise_differences(groups.hits, groups.n, z)
    return float(np.ptp(groups.hits / groups.n)), float(low.max()), float(high.max())


def _distances(groups: Rate, everyone: Rate, z: float) -> tuple[list[float], list[float], list[float]]:
    """Per group: distance to the rate of `everyone`, and its limits."""
    hits, n = everyone.everyone
    low, high = intervals.distance_to_overall(groups.hits, groups.n, hits, n, z)
    return np.abs(groups.hits / groups.n - hits / n).tolist(), low.tolist(), high.tolist()


def _undefined(aggregation: str, rates: Sequence[Rate]) -> Gap:
    unlabelled = all(rate.unlabelled for rate in rates)
    return Gap(aggregation, None, reason=NO_LABELS if unlabelled else INSUFFICIENT_GROUPS, **_facts(rates))


def _facts(rates: Sequence[Rate]) -> dict[str, Any]:
    """Denominators of a gap, and the groups that it excludes."""
    groups = [rate.comparable() for rate in rates]
    denominators = np.concatenate([each.n for each in groups])
    excluded = {name: reason for rate in reversed(rates) for name, reason in rate.excluded().items()}
    return {
        "n": int(denominators.sum()),
        "smallest_n": int(denominators.min(initial=denominators.sum())),
        "excluded": excluded,
    }


def _extremes(groups: Rate) -> dict[str, Any]:
    values = groups.hits / groups.n
    return {"lowest": groups.names[int(values.argmin())], "highest": groups.names[int(values.argmax())]}


def _mean(values: Sequence[float]) -> float:
    return float(sum(values) / len(values))
