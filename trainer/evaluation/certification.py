"""Tests of a trigger's losses on validation rows, and the order in which many triggers are tested.

Every row is predicted twice, without the trigger and with it. It is broken where only the first is right, mended where
only the second is; the loss of a set of rows is their share of broken less that of mended ones. The null hypothesis is
that the mean loss over some sets (all rows: accuracy; the rows of each label: balanced accuracy) is the budget or more.

Its p-value is the probability, under the null, of a loss as small as the one seen: summed over all outcomes, at the
share of changed rows that was seen and EXTRA_CHANGED more (an estimated p-value; Lloyd, ANZJS 2008). Triggers are
tested as in Learn then Test (Angelopoulos et al., arXiv 2110.01052), so that with probability 1 - delta no certified
one breaks its budget.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from triggers.metrics.intervals import Floats

EXTRA_CHANGED = 2
"""Changed rows that are added in every set: without them few changed rows would look like none at all."""
OUT_OF_REACH = 1_000_000
"""Rows above which nobody is told how many would prove a budget."""
GRID = 400
"""Steps per standard deviation in the distribution of a mean over several sets; rounding there favours the null."""


@dataclass(frozen=True)
class PairedSet:
    """A set of rows that are predicted twice: how many there are, how many are broken and how many are mended."""

    rows: int
    broken: int
    mended: int

    @property
    def loss(self) -> float:
        """Share of broken less that of mended rows."""
        return (self.broken - self.mended) / self.rows


def mean_loss(sets: Sequence[PairedSet]) -> float:
    """Mean of the sets' losses."""
    return sum(one.loss for one in sets) / len(sets)


def loss_p_value(sets: Sequence[PairedSet], budget: float) -> float:
    """P-value of the null hypothesis that the mean loss is `budget` or more."""
    if not -1 < budget < 1:
        return float(budget <= -1)
    changed = [min(1.0, (one.broken + one.mended + EXTRA_CHANGED) / one.rows) for one in sets]
    weights = [share / one.rows for share, one in zip(changed, sets, strict=True)]
    shift = (budget - mean_loss(sets)) * len(sets) / sum(weights)  # to the nearest losses with that mean
    losses = [max(-1.0, min(1.0, one.loss + shift * w)) for one, w in zip(sets, weights, strict=True)]
    return min(1.0, _probability_of_less(sets, losses, changed))


def loss_bound(sets: Sequence[PairedSet], delta: float) -> float:
    """Upper confidence limit of the mean loss at 1 - delta: the smallest budget whose null hypothesis is rejected."""
    low, high = mean_loss(sets), 1.0
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (low, middle) if loss_p_value(sets, middle) <= delta else (middle, high)
    return high


def recall_p_value(rows: int, hits: int, floor: float) -> float:
    """P-value of the null hypothesis that a recall is `floor` or less, given hits among rows of its label."""
    if not 0 < floor <= 1:
        return float(floor > 1)
    return float(_binomial(rows, floor)[hits:].sum())


def rows_needed(sets: Sequence[PairedSet], budget: float, delta: float) -> int | None:
    """Rows, in the same proportions, from which on losses like these would prove the budget; None: out of reach."""
    spare = budget - mean_loss(sets)
    if spare <= 0:
        return None
    variance = sum(((one.broken + one.mended + 1) / one.rows - one.loss**2) / one.rows for one in sets) / len(sets) ** 2
    factor = variance * (NormalDist().inv_cdf(1 - delta) / spare) ** 2
    needed = math.ceil(factor * sum(one.rows for one in sets))
    return needed if needed <= OUT_OF_REACH else None


def _probability_of_less(sets: Sequence[PairedSet], losses: Sequence[float], changed: Sequence[float]) -> float:
    """Probability of the mean loss that was seen, or less, if the true losses and shares of changed rows are these."""
    shares = [max(share, abs(loss)) for share, loss in zip(changed, losses, strict=True)]
    if len(sets) == 1:
        mass = _difference(sets[0].rows, losses[0], shares[0])
        return float(mass[: sets[0].broken - sets[0].mended + sets[0].rows + 1].sum())
    spread = math.sqrt(sum(share / one.rows for share, one in zip(shares, sets, strict=True))) / len(sets)
    step, total, start = spread / GRID, np.ones(1), 0
    for one, loss, share in zip(sets, losses, shares, strict=True):
        mass = _difference(one.rows, loss, share)
        likely = np.flatnonzero(mass > 1e-14)
        at = np.floor((likely - one.rows) / (one.rows * len(sets) * step)).astype(np.int64)
        own: Floats = np.bincount(at - at[0], weights=mass[likely]).astype(np.float64)
        total, start = _convolved(total, own), start + int(at[0])
    return float(total[: max(0, math.floor(mean_loss(sets) / step + 1e-9) - start + 1)].sum())


def _convolved(one: Floats, other: Floats) -> Floats:
    size = len(one) + len(other) - 1
    length = 1 << (size - 1).bit_length()
    found = np.fft.irfft(np.fft.rfft(one, length) * np.fft.rfft(other, length), length)[:size]
    return _not_negative(found)


def _not_negative(mass: Floats) -> Floats:
    """Without the rounding errors of the Fourier transform below 0."""
    found: Floats = np.maximum(mass, 0.0)
    return found


def _difference(rows: int, loss: float, changed: float) -> Floats:
    """Distribution (2 * rows + 1,) of broken less mended rows, from -rows on, where a share `changed` is either."""
    length = 1 << (2 * rows + 1).bit_length()
    angle = 2 * np.pi * np.arange(length // 2 + 1) / length
    one_row = (1 - changed) + changed * np.cos(angle) - 1j * loss * np.sin(angle)
    mass = np.fft.irfft(one_row**rows, length)
    found = np.concatenate([mass[length - rows :], mass[: rows + 1]])
    return _not_negative(found)


def _binomial(rows: int, share: float) -> Floats:
    """Probabilities (rows + 1,) of each number of hits."""
    if share in (0.0, 1.0):
        certain: Floats = np.eye(1, rows + 1, rows if share else 0)[0]
        return certain
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, rows + 1)))])
    hits = np.arange(rows + 1)
    chosen = logs[-1] - logs - logs[::-1]
    found: Floats = np.exp(chosen + hits * math.log(share) + hits[::-1] * math.log1p(-share))
    return found
