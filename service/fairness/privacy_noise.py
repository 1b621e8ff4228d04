"""Two-sided geometric noise that hides one prediction in a table of counts, and a tail bound of its sums.

Two-sided geometric noise (Ghosh, Roughgarden & Sundararajan, STOC 2009) with P(x) proportional to exp(-epsilon |x|)
makes counts epsilon-differentially private to adding or removing one prediction. It is drawn from a keyed hash of the
counts that it is added to, so that equal counts always get equal noise, and other counts independent noise.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from functools import lru_cache

_DRAW_BYTES = 16  # for one value


def geometric_noise(key: bytes, place: str, epsilon: float, n: int) -> list[int]:
    """`n` independent integers around 0, seeded by `place`, of variance 2 a / (1 - a)**2 for a = exp(-epsilon)."""
    seed = hmac.digest(key, place.encode(), hashlib.sha256)
    drawn = hashlib.shake_256(seed).digest(n * _DRAW_BYTES)
    half = _DRAW_BYTES // 2
    sides = [_one_sided(drawn[at : at + half], epsilon) for at in range(0, len(drawn), half)]
    return [above - below for above, below in zip(sides[::2], sides[1::2], strict=True)]


@lru_cache(maxsize=256)
def largest_sum(n: int, epsilon: float, delta: float) -> int:
    """Bound that a sum of `n` such integers reaches with probability `delta` at most (Chernoff, the best of 99)."""
    bounds = []
    for t in (epsilon * each / 100 for each in range(1, 100)):
        log_moment = 2 * math.log1p(-math.exp(-epsilon)) - sum(math.log1p(-math.exp(s - epsilon)) for s in (t, -t))
        bounds.append((n * log_moment - math.log(delta)) / t)
    return math.ceil(min(bounds))


def _one_sided(draw: bytes, epsilon: float) -> int:
    """Failures before the first success, when each trial fails with probability exp(-epsilon)."""
    uniform = (int.from_bytes(draw) + 1) / 2**64  # in (0, 1]
    return math.floor(math.log(uniform) / -epsilon)
