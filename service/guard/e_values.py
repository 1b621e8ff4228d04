"""E-values: evidence against a null hypothesis from counts per block of time, valid at any time of reading.

A block is a range of sealed minutes. For each block a bet is placed with odds that the blocks before it suggest; if
the null hypothesis is true, the bet multiplies the stake by at most 1 on average, however the rates vary from block
to block. The stake so far is an e-value: it exceeds 1 / alpha with probability alpha at most, however often one looks
(Ville). Both functions return the logarithm of the factor of each block; their running sum is the log e-value. `before`
are sums over all earlier blocks; without it the given blocks are all there were.

Sources: Turner, Ly and Grünwald (2024, arXiv 2106.02693) for two rates, of which `log_e_max_gap` is the extension to
any number of groups and to "differ by no more than limit"; Waudby-Smith and Ramdas (2024) for bets on means.

Why a bet is fair: a group of n rows whose mean is m under the null multiplies the stake by (1 + x)^n <= exp(n x) on
average, where x is linear in m; the odds are chosen such that the n x of all groups sum to 0 at most. Only the mean
over the block must satisfy the null, so rows of a block need not be alike.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
PRIOR_ROWS = 20.0
"""Weight of the prior in rows: it shrinks observed rates towards parity."""
EPSILON = 1e-9
BISECTION_STEPS = 40
MAX_STAKE = 0.5
"""No row may take more than half of the stake."""


def log_e_max_gap(
    hits: ArrayLike, n: ArrayLike, limit: float, before: tuple[FloatArray, FloatArray] | None = None
) -> FloatArray:
    """Log factors (..., B) against "largest minus smallest rate <= limit", from hits and n (..., B, G).

    The alternative is each group's past rate, shrunk towards the common one; the null point is the one nearest to it
    in relative entropy: the rates clipped to a band of width `limit`. A group without rows takes no part in a block.
    `before` are sums of hits and n (..., B, G) over all blocks before each.
    """
    k, m = np.asarray(hits, dtype=np.float64), np.asarray(n, dtype=np.float64)
    belief = shrunken_rates(*(before or (prefix_sums(k), prefix_sums(m))))
    low = _band(belief, m, limit)[..., None]
    null = np.clip(belief, low, low + limit)
    return np.asarray((k * np.log(belief / null) + (m - k) * np.log((1 - belief) / (1 - null))).sum(axis=-1))


def log_e_mean_sum(counts: ArrayLike, values: ArrayLike, limit: float, before: FloatArray | None = None) -> FloatArray:
    """Log factors (..., B) against "the strata's mean values sum to <= limit".

    `counts` (..., B, S, Y) are rows per block, stratum and outcome; `values` (S, Y), or (..., B, S, Y) where the bet
    depends on the past, are the signed values of outcomes. Paired outcomes of one stratum and single outcomes of
    several are treated alike. A block's log factor is 0 if a stratum with values has no rows. `before` are sums of
    counts (..., B, S, Y) over all blocks before each.
    """
    given = np.asarray(counts, dtype=np.float64)
    k, seen = _outcomes_first(given), _outcomes_first(prefix_sums(given, axis=-3) if before is None else before)
    c = _outcomes_first(np.asarray(values, dtype=np.float64))
    c = c.reshape(*c.shape[:2], *(1,) * (k.ndim - c.ndim), *c.shape[2:])
    rows, before_n = k.sum(axis=0), seen.sum(axis=0)  # (S, ...)
    usable = ((rows > 0) | ~c.any(axis=0)).all(axis=0)
    n = np.maximum(rows, 1)
    mean = (seen * c).sum(axis=0) / (before_n + PRIOR_ROWS)
    each = _variance((seen + PRIOR_ROWS / len(c)) / (before_n + PRIOR_ROWS), c) / n
    edge = np.maximum(mean.sum(axis=0) - limit, 0.0)
    fair = mean - edge / np.maximum(each.sum(axis=0), EPSILON) * each  # sums to the limit where something is staked
    stake = edge / np.maximum((each + (mean - fair) ** 2 / n).sum(axis=0), EPSILON)
    most = MAX_STAKE / np.maximum(((fair - c.min(axis=0)) / n).max(axis=0), EPSILON)
    stake = np.where(usable, np.minimum(stake, most), 0.0)
    return np.asarray((k * np.log1p(stake / n * (c - fair))).sum(axis=(0, 1)))


def _outcomes_first(values: FloatArray) -> FloatArray:
    """(..., S, Y) as (Y, S, ...), in which sums over few outcomes of many bets are fast."""
    return np.ascontiguousarray(np.moveaxis(values, (-1, -2), (0, 1)))


def prefix_sums(values: FloatArray, axis: int = -2) -> FloatArray:
    """Sums over the blocks before each block."""
    return np.asarray(np.cumsum(values, axis=axis) - values)


def shrunken_rates(hits: FloatArray, n: FloatArray) -> FloatArray:
    """Rates shrunk towards the common rate of all groups, which itself is shrunk towards one half."""
    common = ((hits.sum(axis=-1) + 1) / (n.sum(axis=-1) + 2))[..., None]
    return np.asarray((hits + PRIOR_ROWS * common) / (n + PRIOR_ROWS))


def _band(belief: FloatArray, n: FloatArray, limit: float) -> FloatArray:
    """Lower end of the band of width `limit` that is nearest to the beliefs, weighted by rows: bisection, (..., B)."""
    low = np.full(belief.shape[:-1], EPSILON)
    high = np.full(belief.shape[:-1], max(1 - limit - EPSILON, 2 * EPSILON))
    for _ in range(BISECTION_STEPS):
        middle = (low + high) / 2
        rising = _slope(belief, n, middle, limit) > 0
        low, high = np.where(rising, low, middle), np.where(rising, middle, high)
    return np.asarray((low + high) / 2)


def _slope(belief: FloatArray, n: FloatArray, low: FloatArray, limit: float) -> FloatArray:
    """Derivative of the distance as the band moves up."""
    high = low + limit
    below = (n * np.maximum(low[..., None] - belief, 0)).sum(axis=-1) / (low * (1 - low))
    above = (n * np.maximum(belief - high[..., None], 0)).sum(axis=-1) / (high * (1 - high))
    return np.asarray(below - above)


def _variance(share: FloatArray, values: FloatArray) -> FloatArray:
    """Variance of the values (Y, S, ...) of each stratum, (S, ...)."""
    return np.asarray((share * values**2).sum(axis=0) - (share * values).sum(axis=0) ** 2)
