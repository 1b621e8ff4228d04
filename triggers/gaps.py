"""From rates per group to one number that compares the groups, with an interval that may contain parity.

A gap compares known groups that have the rate, and needs two of them; with fewer it is undefined with a reason,
never "perfectly fair".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from triggers import intervals
from triggers.rates import NO_LABELS, ZERO_DENOMINATOR, Rate

INSUFFICIENT_GROUPS = "insufficient_groups"


@dataclass(frozen=True)
class Gap:
    """A comparison of groups; it is never signed.

    `aggregation` says how it was made: "max - min", "min / max", "worst of two gaps", "mean of two gaps", "max to
    overall" or "mean to overall". `n` and `smallest_n` are the sum and the least of the denominators. `lowest` and
    `highest` name the groups with the extreme rates. `expected_at_parity` is what noise alone would show if all
    true rates were equal (for "max - min"). `excluded` names the groups left out and why.
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
    low, high = intervals.spread(groups.hits, groups.n, confidence)
    pooled = float(groups.hits.sum() / groups.n.sum())
    expected = intervals.expected_spread(groups.n, pooled)
    facts = _facts([rate]) | _extremes(groups) | {"expected_at_parity": expected}
    return Gap("max - min", float(values.max() - values.min()), float(low), float(high), **facts)


def ratio(rate: Rate, confidence: float) -> Gap:
    """Smallest over largest rate; undefined when nobody was selected."""
    groups = rate.comparable()
    if len(groups.names) < 2:
        return _undefined("min / max", [rate])
    if not groups.hits.any():
        return Gap("min / max", None, reason=ZERO_DENOMINATOR, **_facts([rate]))
    values = groups.hits / groups.n
    low, high = intervals.smallest_over_largest(groups.hits, groups.n, confidence)
    value = float(values.min() / values.max())
    return Gap("min / max", value, float(low), float(high), **_facts([rate]), **_extremes(groups))


def of_two(first: Rate, second: Rate, confidence: float, *, worst: bool) -> Gap:
    """The worse, or the mean, of two rates' differences; undefined if either is.

    All pairs of both rates share one confidence, so the interval holds for both gaps together.
    """
    name, combine = ("worst of two gaps", max) if worst else ("mean of two gaps", _mean)
    rates, groups = [first, second], [first.comparable(), second.comparable()]
    if any(len(each.names) < 2 for each in groups):
        return _undefined(name, rates)
    z = intervals.critical(confidence, sum(intervals.pairs(len(each.names)) for each in groups))
    limits = [intervals.pairwise_differences(each.hits, each.n, z) for each in groups]
    spreads = [float(np.ptp(each.hits / each.n)) for each in groups]
    low, high = (combine([float(side[i].max()) for side in limits]) for i in (0, 1))
    return Gap(name, combine(spreads), low, high, **_facts(rates))


def worst_to_overall(rate: Rate, confidence: float) -> Gap:
    """fairlearn's `method="to_overall"`: the largest distance to the rate of all known groups together."""
    groups = rate.comparable()
    if len(groups.names) < 2:
        return _undefined("max to overall", [rate])
    values, low, high = _distances(groups, groups, intervals.critical(confidence, len(groups.names)))
    return Gap("max to overall", max(values), max(low), max(high), **_facts([rate]), **_extremes(groups))


def mean_to_overall(rates: Sequence[Rate], confidence: float) -> Gap:
    """The paper's way: every group's mean distance to the overall rate (which includes `unknown`), then over `rates`.

    Undefined unless all `rates` can be compared: a mean over fewer would look fairer than it is.
    """
    groups = [rate.comparable() for rate in rates]
    if any(len(each.names) < 2 for each in groups):
        return _undefined("mean to overall", rates)
    z = intervals.critical(confidence, sum(len(each.names) for each in groups))
    distances = [_distances(each, rate, z) for each, rate in zip(groups, rates, strict=True)]
    value, low, high = (_mean([_mean(triple[i]) for triple in distances]) for i in range(3))
    return Gap("mean to overall", value, low, high, **_facts(rates))


def _distances(groups: Rate, everyone: Rate, z: float) -> tuple[list[float], list[float], list[float]]:
    """Per group: distance to the rate of `everyone`, and its limits."""
    hits, n = int(everyone.hits.sum()), int(everyone.n.sum())
    low, high = intervals.to_overall(groups.hits, groups.n, hits, n, z)
    return np.abs(groups.hits / groups.n - hits / n).tolist(), low.tolist(), high.tolist()


def _undefined(aggregation: str, rates: Sequence[Rate]) -> Gap:
    unlabelled = all(rate.unlabelled for rate in rates)
    return Gap(aggregation, None, reason=NO_LABELS if unlabelled else INSUFFICIENT_GROUPS, **_facts(rates))


def _facts(rates: Sequence[Rate]) -> dict[str, Any]:
    """How much data stands behind a gap and who is missing from it."""
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
