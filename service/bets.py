"""Evidence against a null hypothesis from counts per block of time, valid at any moment it is looked at.

A block is a stretch of sealed minutes. For each block a bet is placed with odds that the blocks before it suggest; if
the null hypothesis is true, the bet multiplies the stake by at most 1 on average, whatever the rates do from block to
block. The stake so far is an e-value: it exceeds 1 / alpha with probability alpha at most, however often one looks
(Ville). Both functions return the logarithm of the factor of each block; their running sum is the log e-value. All that
a factor needs of the past are sums over the blocks `before`; without them those given are all there were.

Sources: Turner, Ly and Grünwald (2024, arXiv 2106.02693) for two rates, of which `spread` is the extension to any
number of groups and to "differ by no more than limit"; Waudby-Smith and Ramdas (2024) for bets on means.

Why a bet is fair: a group of n rows whose mean is m under the null multiplies the stake by (1 + x)^n <= exp(n x) on
average, where x is linear in m; the odds are chosen such that the n x of all groups sum to 0 at most. Only the mean
over the block must satisfy the null, so rows of a block need not be alike.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
PRIOR = 20.0
"""Past rows that a belief is worth before there are any: it leads from parity to what was seen."""
SMALLEST = 1e-9
STEPS = 40
FLOOR = 0.5
"""No row may take more than half of the stake."""


def spread(hits: ArrayLike, n: ArrayLike, limit: float, before: tuple[Floats, Floats] | None = None) -> Floats:
    """Log factors (..., B) against "largest minus smallest rate <= limit", from hits and n (..., B, G).

    The alternative is each group's past rate, drawn towards the common one; the null point is the one nearest to it
    in relative entropy: the rates clipped to a band of width `limit`. A group without rows takes no part in a block.
    `before` are sums of hits and n (..., B, G) over all blocks before each.
    """
    k, m = np.asarray(hits, dtype=np.float64), np.asarray(n, dtype=np.float64)
    belief = beliefs(*(before or (past(k), past(m))))
    low = _band(belief, m, limit)[..., None]
    null = np.clip(belief, low, low + limit)
    return np.asarray((k * np.log(belief / null) + (m - k) * np.log((1 - belief) / (1 - null))).sum(axis=-1))


def excess(counts: ArrayLike, values: ArrayLike, limit: float, before: Floats | None = None) -> Floats:
    """Log factors (..., B) against "the strata's mean values sum to <= limit".

    `counts` (..., B, S, Y) are rows per block, stratum and outcome; `values` (S, Y), or (..., B, S, Y) where what is
    bet on depends on the past, is what an outcome counts, its sign included. Paired outcomes of one stratum and single
    outcomes of several are the same to it. A block says nothing if a stratum that counts has no rows. `before` are sums
    of counts (..., B, S, Y) over all blocks before each.
    """
    given = np.asarray(counts, dtype=np.float64)
    k, seen = _outcomes_first(given), _outcomes_first(past(given, axis=-3) if before is None else before)
    c = _outcomes_first(np.asarray(values, dtype=np.float64))
    c = c.reshape(*c.shape[:2], *(1,) * (k.ndim - c.ndim), *c.shape[2:])
    rows, before_n = k.sum(axis=0), seen.sum(axis=0)  # (S, ...)
    usable = ((rows > 0) | ~c.any(axis=0)).all(axis=0)
    n = np.maximum(rows, 1)
    mean = (seen * c).sum(axis=0) / (before_n + PRIOR)
    each = _variance((seen + PRIOR / len(c)) / (before_n + PRIOR), c) / n
    edge = np.maximum(mean.sum(axis=0) - limit, 0.0)
    fair = mean - edge / np.maximum(each.sum(axis=0), SMALLEST) * each  # sums to the limit where something is staked
    stake = edge / np.maximum((each + (mean - fair) ** 2 / n).sum(axis=0), SMALLEST)
    most = FLOOR / np.maximum(((fair - c.min(axis=0)) / n).max(axis=0), SMALLEST)
    stake = np.where(usable, np.minimum(stake, most), 0.0)
    return np.asarray((k * np.log1p(stake / n * (c - fair))).sum(axis=(0, 1)))


def _outcomes_first(values: Floats) -> Floats:
    """(..., S, Y) as (Y, S, ...): sums over a few outcomes of many bets are quick that way round."""
    return np.ascontiguousarray(np.moveaxis(values, (-1, -2), (0, 1)))


def past(values: Floats, axis: int = -2) -> Floats:
    """Sums over the blocks before each block."""
    return np.asarray(np.cumsum(values, axis=axis) - values)


def beliefs(hits: Floats, n: Floats) -> Floats:
    """Rates drawn towards the common rate of all groups, which itself is drawn towards one half."""
    common = ((hits.sum(axis=-1) + 1) / (n.sum(axis=-1) + 2))[..., None]
    return np.asarray((hits + PRIOR * common) / (n + PRIOR))


def _band(belief: Floats, n: Floats, limit: float) -> Floats:
    """Lower end of the band of width `limit` that is nearest to the beliefs, weighted by rows: bisection, (..., B)."""
    low = np.full(belief.shape[:-1], SMALLEST)
    high = np.full(belief.shape[:-1], max(1 - limit - SMALLEST, 2 * SMALLEST))
    for _ in range(STEPS):
        middle = (low + high) / 2
        rising = _slope(belief, n, middle, limit) > 0
        low, high = np.where(rising, low, middle), np.where(rising, middle, high)
    return np.asarray((low + high) / 2)


def _slope(belief: Floats, n: Floats, low: Floats, limit: float) -> Floats:
    """How the distance grows as the band moves up."""
    high = low + limit
    below = (n * np.maximum(low[..., None] - belief, 0)).sum(axis=-1) / (low * (1 - low))
    above = (n * np.maximum(belief - high[..., None], 0)).sum(axis=-1) / (high * (1 - high))
    return np.asarray(below - above)


def _variance(share: Floats, values: Floats) -> Floats:
    """Variance of the values (Y, S, ...) of each stratum, (S, ...)."""
    return np.asarray((share * values**2).sum(axis=0) - (share * values).sum(axis=0) ** 2)
