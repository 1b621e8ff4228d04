"""Means over seeds, with their 95 % intervals (Student's t)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import mean, stdev

from examples.results_table import T_975
from trainer.formatting import format_change, format_number

ROUNDING = 1e-9
"""Below this a difference of two gaps is none."""


@dataclass(frozen=True)
class SeedMean:
    """A mean of n values; one value alone has no interval."""

    value: float
    low: float | None
    high: float | None
    n: int

    @property
    def clearly_below(self) -> bool:
        """Whether the interval lies below 0."""
        return self.high is not None and self.high < -ROUNDING

    @property
    def clearly_above(self) -> bool:
        """Whether the interval lies above 0; of one value, whether it does."""
        return (self.value if self.low is None else self.low) > ROUNDING

    def text(self, *, change: bool = False, digits: int = 3) -> str:
        """`.123 (.100 to .146)`."""
        write = format_change if change else format_number
        if self.low is None or self.high is None:
            return write(self.value, digits)
        return f"{write(self.value, digits)} ({write(self.low, digits)} to {write(self.high, digits)})"

    def points(self) -> str:
        """A change of a share, in points: `-0.6`."""
        return f"{100 * self.value:+.1f}".replace("-", "\N{MINUS SIGN}")


def seed_mean(values: Sequence[float]) -> SeedMean:
    """Of 1 to 10 values."""
    middle, n = mean(values), len(values)
    if n == 1:
        return SeedMean(middle, None, None, n)
    half = T_975[n - 2] * stdev(values) / sqrt(n)
    return SeedMean(middle, middle - half, middle + half, n)
