"""Confidence intervals for changes of rates that are measured on the same rows before and after.

A group's rows are four counts `(..., 4)`: hit both before and after, only before, only after, neither. Every function
takes arrays, so a simulation can evaluate thousands of repeats in one call. Sources: Newcombe (1998b, method 10) for
the difference of two paired rates; Zou and Donner (2008) for sums and differences of estimates with own limits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from triggers.metrics.intervals import Floats, Limits, pairwise_differences, wilson


def change(rows: ArrayLike, z: float) -> Limits:
    """Limits of the rate before minus the rate after, of rows (..., 4)."""
    both, first, second, neither = np.moveaxis(np.asarray(rows, dtype=np.float64), -1, 0)
    n = both + first + second + neither
    before, after = both + first, both + second
    (low_b, high_b), (low_a, high_a) = wilson(before, n, z), wilson(after, n, z)
    correlation = _correlation(both, first, second, neither)
    b, a = before / n, after / n
    return (
        b - a - _leg(b - low_b, high_a - a, correlation),
        b - a + _leg(high_b - b, a - low_a, correlation),
    )


def gain(rates: Sequence[ArrayLike], z: float) -> Limits:
    """Limits of "worst difference of two groups before, less the same after", of one or more rates (..., G, 4) each.

    All pairs of all rates hold at z. Positive is fairer after. The gain is no less than that of the pair that is worst
    after, and no more than that of the one worst before; each may be any pair that the intervals do not exclude.
    """
    each = [_pairs(np.asarray(rows, dtype=np.float64), z) for rows in rates]
    before, after, own = (
        tuple(np.concatenate([limits[which][side] for limits in each], axis=-1) for side in (0, 1))
        for which in range(3)
    )
    worst_before, worst_after = (high >= low.max(axis=-1, keepdims=True) for low, high in (before, after))
    least = np.where(worst_after, own[0], np.inf).min(axis=-1)
    most = np.where(worst_before, own[1], -np.inf).max(axis=-1)
    apart_low = before[0].max(axis=-1) - after[1].max(axis=-1)
    apart_high = before[1].max(axis=-1) - after[0].max(axis=-1)
    return np.maximum(least, apart_low), np.minimum(most, apart_high)


def _pairs(rows: Floats, z: float) -> tuple[Limits, Limits, Limits]:
    """Limits of every pair's distance before, distance after, and gain."""
    n = rows.sum(axis=-1)
    before, after = (pairwise_differences(rows[..., 0] + rows[..., i], n, z) for i in (1, 2))
    return before, after, pair_gains(rows, z)


def pair_gains(rows: Floats, z: float) -> Limits:
    """Limits of |difference before| - |difference after| of every pair, (..., G, 4) to (..., G(G-1)/2).

    It is the lesser, in size, of the two differences' sum and their difference, with the sign of their product. Both
    are paired quantities with limits of their own, and the extremes lie at the corners of these limits.
    """
    total = _contrast(rows[..., [1, 0, 3, 2]], z)  # before against NOT after: their sum, less 1
    drop = _contrast(rows, z)
    corners = [np.sign(u * v) * np.minimum(np.abs(u), np.abs(v)) for u in total for v in drop]
    return np.minimum.reduce(corners), np.maximum.reduce(corners)


def _contrast(rows: Floats, z: float) -> Limits:
    """Limits of the change in one group minus that in another, for every pair; groups are independent."""
    i, j = np.triu_indices(rows.shape[-2], 1)
    value = (rows[..., 1] - rows[..., 2]) / rows.sum(axis=-1)
    low, high = change(rows, z)
    difference = value[..., i] - value[..., j]
    down = np.hypot(value[..., i] - low[..., i], high[..., j] - value[..., j])
    up = np.hypot(high[..., i] - value[..., i], value[..., j] - low[..., j])
    return difference - down, difference + up


def _leg(one: Floats, other: Floats, correlation: Floats) -> Floats:
    """Distance to a limit from those of two correlated estimates."""
    return np.asarray(np.sqrt(np.maximum(one**2 - 2 * correlation * one * other + other**2, 0)))


def _correlation(both: Floats, first: Floats, second: Floats, neither: Floats) -> Floats:
    """The phi coefficient, corrected for continuity where it is positive; 0 where a margin is empty."""
    n = both + first + second + neither
    product = both * neither - first * second
    product = np.where(product > 0, np.maximum(product - n / 2, 0), product)
    margins = (both + first) * (second + neither) * (both + second) * (first + neither)
    return np.divide(product, np.sqrt(margins), out=np.zeros_like(product), where=margins > 0)
