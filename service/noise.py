"""Geometric noise that hides one prediction in a count, and is the same however often it is asked for.

Two-sided geometric noise (Ghosh, Roughgarden & Sundararajan, STOC 2009) with P(x) proportional to exp(-epsilon |x|)
makes a count epsilon-differentially private to adding or removing one prediction. It is drawn from a keyed hash of the
place where it is used, so asking again never averages it out.
"""

from __future__ import annotations

import hashlib
import hmac
import math


def geometric(key: bytes, place: str, epsilon: float) -> int:
    """The noise of one place: an integer around 0 with variance 2 a / (1 - a)**2 for a = exp(-epsilon)."""
    digest = hmac.digest(key, place.encode(), hashlib.sha256)
    return _one_sided(digest[:8], epsilon) - _one_sided(digest[8:16], epsilon)


def _one_sided(draw: bytes, epsilon: float) -> int:
    """Failures before the first success, when each trial fails with probability exp(-epsilon)."""
    uniform = (int.from_bytes(draw) + 1) / 2**64  # in (0, 1]
    return math.floor(math.log(uniform) / -epsilon)
