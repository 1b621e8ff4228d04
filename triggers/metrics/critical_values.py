"""Critical values of confidence intervals: for one statement, for several, and for all pairs of several groups."""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

import numpy as np

_NORMAL = NormalDist()


def critical(confidence: float, comparisons: int = 1) -> float:
    """Two-sided normal quantile at which `comparisons` intervals hold together (Bonferroni)."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; give a number between 0 and 1, such as 0.95")
    return -_NORMAL.inv_cdf((1 - confidence) / (2 * max(comparisons, 1)))


@lru_cache(maxsize=1024)
def all_pairs(confidence: float, groups: int, families: int = 1) -> float:
    """Quantile at which the intervals of all pairs of `groups` independent rates hold together, in every family.

    Tukey's studentised range over sqrt(2): exact for equal sizes, a little cautious for unequal ones (Hayter 1984), and
    narrower than Bonferroni, which treats pairs as if they shared no group. Several `families` (rates, classes), of
    whatever dependence, share the error between them. With one group there is no pair: the quantile of one interval.
    """
    if groups <= 2:
        return critical(confidence, families)
    wanted = 1 - (1 - confidence) / families
    low, high = critical(wanted), critical(wanted, groups * (groups - 1) // 2)
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if _range_below(middle * math.sqrt(2), groups) < wanted else (low, middle)
    return high


def _range_below(width: float, groups: int) -> float:
    """Probability that `groups` standard normal draws lie within `width` of each other."""
    x, step = np.linspace(-8.0, 8.0, 161, retstep=True)  # the smallest draw
    above = np.array([math.erf((v + width) / math.sqrt(2)) - math.erf(v / math.sqrt(2)) for v in x]) / 2
    density = np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    return float((groups * density * above ** (groups - 1)).sum() * step)
