"""Confidence intervals from counts alone: one rate, two rates, and the spread of many.

Every function takes integer arrays whose last axis is the group, `(..., G)`, so a simulation can evaluate
thousands of repeats in one call. Sources: Wilson (1927) for a rate; Newcombe (1998, method 10) for a
difference; Donner and Zou (2012, MOVER-R) for a ratio, fed with the same Wilson limits.

A percentile bootstrap of "largest minus smallest" can never cover parity, because the spread of noisy rates is
positive even when all true rates are equal. Here every pair of groups gets its own interval, wide enough that all of
them hold together (Tukey's studentised range, see `critical_values`); the spread is then between the largest lower and
the largest upper limit, and 0 is inside whenever no pair differs.

Groups may overlap; pairs then hold together by Bonferroni, which needs no independence. A pair's interval treats the
two as independent samples although they share rows. Shared rows move both rates the same way, so the difference (and
the ratio) varies less than assumed: the interval is too wide, the more so the more they share, and covers the truth at
least as often as stated. A distance to overall compares a group with the rest, which it shares no row with.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from triggers.metrics.critical_values import all_pairs, critical

__all__ = [
    "absolute",
    "critical",
    "distance_to_overall",
    "expected_spread",
    "max_gap_interval",
    "newcombe",
    "pairwise_differences",
    "pairwise_ratios",
    "rate_ratio",
    "simultaneous_quantile",
    "smallest_over_largest",
    "widest_variation",
    "wilson",
]  # fmt: skip

Floats = NDArray[np.float64]
Limits = tuple[Floats, Floats]


def wilson(hits: ArrayLike, n: ArrayLike, z: float) -> Limits:
    """Limits of one rate `hits / n`; `n` must be positive."""
    k, m = np.asarray(hits, dtype=np.float64), np.asarray(n, dtype=np.float64)
    p, shrink = k / m, 1 + z * z / m
    centre = (p + z * z / (2 * m)) / shrink
    half = z / shrink * np.sqrt(p * (1 - p) / m + z * z / (4 * m * m))
    low = np.where(k == 0, 0.0, np.clip(centre - half, 0, 1))
    high = np.where(k == m, 1.0, np.clip(centre + half, 0, 1))
    return low, high


def newcombe(hits_a: ArrayLike, n_a: ArrayLike, hits_b: ArrayLike, n_b: ArrayLike, z: float) -> Limits:
    """Limits of the signed difference `hits_a / n_a - hits_b / n_b`."""
    a, b = np.asarray(hits_a) / np.asarray(n_a), np.asarray(hits_b) / np.asarray(n_b)
    (low_a, high_a), (low_b, high_b) = wilson(hits_a, n_a, z), wilson(hits_b, n_b, z)
    low = a - b - np.hypot(a - low_a, high_b - b)
    high = a - b + np.hypot(high_a - a, b - low_b)
    return low, high


def rate_ratio(hits_a: ArrayLike, n_a: ArrayLike, hits_b: ArrayLike, n_b: ArrayLike, z: float) -> Limits:
    """Limits of the ratio of two rates, in [0, inf]; nothing is known, (0, inf), where both rates are 0."""
    a, b = np.asarray(hits_a) / np.asarray(n_a), np.asarray(hits_b) / np.asarray(n_b)
    (low_a, high_a), (low_b, high_b) = wilson(hits_a, n_a, z), wilson(hits_b, n_b, z)
    product = a * b
    # Each limit is a root of a quadratic; the lower one is written so that its leading term may be 0.
    lead, rest = high_b * (2 * b - high_b), low_a * (2 * a - low_a)
    below = product + np.sqrt(np.maximum(product**2 - lead * rest, 0))
    low = np.divide(rest, below, out=np.zeros_like(below), where=below > 0)
    lead, rest = low_b * (2 * b - low_b), high_a * (2 * a - high_a)
    above = product + np.sqrt(np.maximum(product**2 - lead * rest, 0))
    high = np.divide(above, lead, out=np.full_like(above, np.inf), where=lead > 0)
    return low, high


def absolute(low: Floats, high: Floats) -> Limits:
    """Limits of |x| from limits of x: the lower one is 0 when x may have either sign."""
    nearest = np.minimum(np.abs(low), np.abs(high))
    return np.where((low <= 0) & (high >= 0), 0.0, nearest), np.maximum(np.abs(low), np.abs(high))


def simultaneous_quantile(confidence: float, groups: int, families: int = 1, *, overlapping: bool = False) -> float:
    """Quantile at which all pairs of the groups hold together, in every family of rates."""
    if overlapping:
        return critical(confidence, families * groups * (groups - 1) // 2)
    return all_pairs(confidence, groups, families)


def pairwise_differences(hits: ArrayLike, n: ArrayLike, z: float) -> Limits:
    """Limits of the absolute difference of every pair, `(..., G)` to `(..., G(G-1)/2)`."""
    k, m = np.asarray(hits), np.asarray(n)
    i, j = np.triu_indices(k.shape[-1], 1)
    return absolute(*newcombe(k[..., i], m[..., i], k[..., j], m[..., j], z))


def pairwise_ratios(hits: ArrayLike, n: ArrayLike, z: float) -> Limits:
    """Limits of smaller over larger rate of every pair, `(..., G)` to `(..., G(G-1)/2)`, within [0, 1]."""
    k, m = np.asarray(hits), np.asarray(n)
    i, j = np.triu_indices(k.shape[-1], 1)
    low, high = rate_ratio(k[..., i], m[..., i], k[..., j], m[..., j], z)
    flipped_low = np.divide(1.0, high, out=np.zeros_like(high), where=high > 0)
    flipped_high = np.divide(1.0, low, out=np.full_like(low, np.inf), where=low > 0)
    straddles = (low <= 1) & (high >= 1)
    return np.minimum(low, flipped_low), np.where(straddles, 1.0, np.minimum(high, flipped_high))


def max_gap_interval(hits: ArrayLike, n: ArrayLike, confidence: float, *, overlapping: bool = False) -> Limits:
    """Limits of largest minus smallest rate over the last axis (two groups or more)."""
    z = simultaneous_quantile(confidence, np.asarray(hits).shape[-1], overlapping=overlapping)
    low, high = pairwise_differences(hits, n, z)
    return low.max(axis=-1), high.max(axis=-1)


def smallest_over_largest(hits: ArrayLike, n: ArrayLike, confidence: float, *, overlapping: bool = False) -> Limits:
    """Limits of smallest over largest rate over the last axis (two groups or more)."""
    z = simultaneous_quantile(confidence, np.asarray(hits).shape[-1], overlapping=overlapping)
    low, high = pairwise_ratios(hits, n, z)
    return low.min(axis=-1), high.min(axis=-1)


def widest_variation(hits: ArrayLike, n: ArrayLike, confidence: float, *, overlapping: bool = False) -> Limits:
    """Limits of the largest total variation distance of two groups' predictions: hits (L, G) per class, n (G,).

    The differences of all classes and pairs hold together; half their sum bounds the distance, and none exceeds it.
    """
    k, m = np.broadcast_arrays(np.asarray(hits), np.asarray(n))
    z = simultaneous_quantile(confidence, k.shape[-1], len(k), overlapping=overlapping)
    low, high = pairwise_differences(k, m, z)
    below, above = np.maximum(low.sum(axis=0) / 2, low.max(axis=0)), np.minimum(high.sum(axis=0) / 2, 1.0)
    return below.max(axis=-1), above.max(axis=-1)


def distance_to_overall(hits: ArrayLike, n: ArrayLike, all_hits: ArrayLike, all_n: ArrayLike, z: float) -> Limits:
    """Limits of |group's rate - overall rate| for every group; `overall` contains the group.

    The overall rate is a mixture of the group and the rest, so the distance to it is the distance to the rest
    times the rest's share; the shares are taken as observed. A group with all rows is at distance 0.
    """
    k, m = np.asarray(hits), np.asarray(n)
    rest = np.asarray(all_n) - m
    share = rest / np.asarray(all_n)
    low, high = absolute(*newcombe(k, m, np.asarray(all_hits) - k, np.maximum(rest, 1), z))
    return low * share, high * share


def expected_spread(n: ArrayLike, rate: float) -> float:
    """Largest minus smallest observed rate to expect from noise alone when every group's true rate is `rate`.

    Normal approximation: the integral of 1 - P(all below x) - P(all above x) over x.
    """
    deviations = np.sqrt(rate * (1 - rate) / np.asarray(n, dtype=np.float64))
    widest = float(deviations.max())
    if widest == 0:
        return 0.0
    x = np.linspace(-6 * widest, 6 * widest, 241)
    erf = np.array([[math.erf(v) for v in row] for row in x / (deviations[:, None] * math.sqrt(2))])
    below = (1 + erf) / 2  # (G, points)
    inside = 1 - below.prod(axis=0) - (1 - below).prod(axis=0)
    return float(inside.sum() * (x[1] - x[0]))
