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

    @property
    def share(self) -> str:
        """Of shares, which end at 0 and 1: `.123 (.100 to .146)`."""
        if self.low is None or self.high is None:
            return format_number(self.value)
        return (
            f"{format_number(self.value)} ({format_number(max(0.0, self.low))} to {format_number(min(1.0, self.high))})"
        )

    @property
    def change(self) -> str:
        """Of a change: `-.123 (-.146 to -.100)`."""
        if self.low is None or self.high is None:
            return format_change(self.value)
        return f"{format_change(self.value)} ({format_change(self.low)} to {format_change(self.high)})"

    @property
    def points(self) -> str:
        """Of a change of a share, in points: `-0.6`."""
        return format_points(self.value)


def format_points(change: float) -> str:
    """A change of a share in points, with its sign."""
    shown = round(100 * change, 1)
    return f"{shown:+.1f}".replace("-", "\N{MINUS SIGN}") if shown else "0.0"


def seed_mean(values: Sequence[float]) -> SeedMean:
    """Of 1 to 10 values."""
    middle, n = mean(values), len(values)
    if n == 1:
        return SeedMean(middle, None, None, n)
    half = T_975[n - 2] * stdev(values) / sqrt(n)
    return SeedMean(middle, middle - half, middle + half, n)
