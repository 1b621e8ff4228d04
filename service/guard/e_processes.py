"""E-processes over consecutive blocks: each keeps only sums of the past, so every block costs the same.

The null hypothesis of each is that the limit is not exceeded. Blocks are arrays (B, V, R, G, Y) of rows, see `blocks`;
log e-values (B,) are those after each of them.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from service.guard import e_values
from service.guard.blocks import hit_counts, row_counts, spread_groups
from service.guard.e_values import FloatArray
from triggers.metrics.rates import Ints

Bools = NDArray[np.bool_]
Bet = tuple[Ints, Ints, Ints]
"""Rate, higher and lower group of the new version that blocks (B,) bet on."""
Pairs = tuple[Ints, ...]
"""Block, rate, higher and lower group of the old version, (P,) each."""

NEW_HITS, OLD_HITS = np.array([1, 0, 1, 0]), np.array([1, 1, 0, 0])
"""Outcomes of `blocks.PairedLayout` in which the new and the old version hit."""
HITS = np.array([0, 1])
"""Outcomes of `blocks.UnpairedLayout` that are hits."""
PAIRS_AT_ONCE = 1 << 11
"""Bets computed at once: as many as stay in a processor's cache."""
BLOCKS_TIMES_PAIRS = 1 << 16
"""Most blocks times bets per block at once, which bounds memory."""


class EProcess(ABC):
    """An e-process, the stake of one test; `sums` are all rows so far, (V, R, G, Y). Not thread-safe."""

    def __init__(self, shape: tuple[int, ...], limit: float) -> None:
        self.sums, self._limit = np.zeros(shape), limit

    def add(self, rows: FloatArray) -> FloatArray:
        """The log e-value (B,) after each of these blocks."""
        paths = [self._add(part) for part in _parts(rows, self._pairs)]
        return np.concatenate(paths) if paths else np.zeros(0)

    def _add(self, rows: FloatArray) -> FloatArray:
        before = e_values.prefix_sums(rows, axis=0) + self.sums
        path = self._path(rows, before)
        self.sums = before[-1] + rows[-1]
        return path

    def regroup(self, moved: Ints, groups: int) -> None:
        """Make room for groups that joined, which have no rows so far: group g is now at moved[g]."""
        self.sums = spread_groups(self.sums, moved, groups)

    @property
    def _pairs(self) -> int:
        """How many bets are placed on a block."""
        return 1

    @abstractmethod
    def _path(self, rows: FloatArray, before: FloatArray) -> FloatArray: ...


class GapAboveLimit(EProcess):
    """Test of "no rate differs between groups by more than limit"; the mean e-value where there are two rates."""

    def __init__(self, shape: tuple[int, ...], limit: float) -> None:
        super().__init__(shape, limit)
        self._stakes = np.zeros(shape[1])  # log, by rate

    def _path(self, rows: FloatArray, before: FloatArray) -> FloatArray:
        hits, n, *past = (np.moveaxis(each[:, 0], 1, 0) for each in _hits_and_rows(rows, before))  # (R, B, G)
        factors = e_values.log_e_max_gap(hits, n, self._limit, (past[0], past[1]))
        paths = np.cumsum(factors, axis=-1) + self._stakes[:, None]
        self._stakes = paths[:, -1]
        return np.asarray(np.logaddexp.reduce(paths) - math.log(len(paths)))


class GapIncrease(EProcess):
    """Test of "the new version's largest gap exceeds the old one's by at most limit".

    Which two groups have the old gap is unknown: each pair has a stake, and the e-value is the least of them. The pair
    is assumed to stay the same during the test. The bet on the new version is on its widest pair in the past.
    """

    def __init__(self, shape: tuple[int, ...], limit: float) -> None:
        super().__init__(shape, limit)
        self._stakes = np.zeros((shape[1], shape[2], shape[2]))  # log, by rate and the old version's pair

    def regroup(self, moved: Ints, groups: int) -> None:
        """As `EProcess.regroup`; pairs with a group that joined begin with their stake of 1."""
        super().regroup(moved, groups)
        stakes = np.zeros((len(self._stakes), groups, groups))
        stakes[:, moved[:, None], moved] = self._stakes
        self._stakes = stakes

    @property
    def _pairs(self) -> int:
        return self._stakes.size

    def _path(self, rows: FloatArray, before: FloatArray) -> FloatArray:
        groups = rows.shape[3]
        if groups < 2:
            return np.zeros(len(rows))
        paths = np.cumsum(self._factors(rows, before), axis=0) + self._stakes
        self._stakes = paths[-1]
        return np.asarray(paths[..., ~np.eye(groups, dtype=bool)].min(axis=(1, 2)))

    def _factors(self, rows: FloatArray, before: FloatArray) -> FloatArray:
        """Log factors (B, R, G, G), one for each rate and pair, the higher group first, that may have the old gap.

        A pair's bet uses two strata of the new version and two of the old one.
        """
        rate, high, low = bet = _widest_pair(before)
        pairs = b, r, i, j = np.nonzero(self._promising(rows, before, bet))
        met = (i == high[b]) | (i == low[b]) | (j == high[b]) | (j == low[b])
        shared = met & (r == rate[b]) if rows.shape[-1] == 4 else np.zeros(len(b), dtype=bool)
        found = np.zeros((len(rows), *self._stakes.shape))
        for chosen, made in ((np.flatnonzero(~shared), _apart), (np.flatnonzero(shared), _together)):
            for start in range(0, len(chosen), PAIRS_AT_ONCE):
                at = tuple(each[chosen[start : start + PAIRS_AT_ONCE]] for each in pairs)
                strata, past, values = made(rows, before, bet, at)
                found[at] = e_values.log_e_mean_sum(strata, values, self._limit, before=past)
        return found

    def _promising(self, rows: FloatArray, before: FloatArray, bet: Bet) -> Bools:
        """Mask (B, R, G, G) of pairs with a stake: there are rows, and the past exceeds the limit."""
        b, (rate, high, low) = np.arange(len(rows)), bet
        there, hits = (
            row_counts(rows) > 0,
            hit_counts(before) / (row_counts(before) + e_values.PRIOR_ROWS),
        )  # (B, 2, R, G)
        new, old = hits[:, 0], hits[:, 1]
        staked = (new[b, rate, high] - new[b, rate, low])[:, None, None, None] - (old[..., :, None] - old[..., None, :])
        placed = (high == low) | (there[b, 0, rate, high] & there[b, 0, rate, low])
        both = there[:, 1, :, :, None] & there[:, 1, :, None, :] & ~np.eye(rows.shape[3], dtype=bool)
        return np.asarray((staked > self._limit) & both & placed[:, None, None, None])


class AccuracyLoss(EProcess):
    """Test of "the new version's accuracy is lower than the old one's by at most limit"; one rate, one group."""

    def __init__(self, shape: tuple[int, ...], limit: float) -> None:
        super().__init__(shape, limit)
        self._stake = 0.0
        self._values = np.array([OLD_HITS - NEW_HITS]) if shape[-1] == 4 else np.stack([-HITS, HITS])

    def _path(self, rows: FloatArray, before: FloatArray) -> FloatArray:
        strata, past = (each.reshape(len(each), -1, each.shape[-1]) for each in (rows, before))
        path = np.cumsum(e_values.log_e_mean_sum(strata, self._values, self._limit, before=past)) + self._stake
        self._stake = float(path[-1])
        return np.asarray(path)


def _parts(rows: FloatArray, pairs: int) -> list[FloatArray]:
    """The blocks in parts of at most BLOCKS_TIMES_PAIRS bets."""
    size = max(BLOCKS_TIMES_PAIRS // max(pairs, 1), 1)
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _hits_and_rows(rows: FloatArray, before: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    return hit_counts(rows), row_counts(rows), hit_counts(before), row_counts(before)


def _widest_pair(before: FloatArray) -> Bet:
    """The rate and groups of the new version that were furthest apart in the blocks before."""
    rates = e_values.shrunken_rates(hit_counts(before)[:, 0], row_counts(before)[:, 0])
    chosen = np.ptp(rates, axis=-1).argmax(axis=-1)
    there = rates[np.arange(len(rates)), chosen]
    return chosen, there.argmax(axis=-1), there.argmin(axis=-1)


def _apart(rows: FloatArray, before: FloatArray, bet: Bet, at: Pairs) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Strata, their past, and values of outcomes, (P, 4, 2): of the new version's bet, then of the old one's pairs."""
    b, r, i, j = at
    rate, high, low = (each[b] for each in bet)
    shape = (len(rows), 2, *rows.shape[2:4])
    bins = ((0, rate, high), (0, rate, low), (1, r, i), (1, r, j))
    flat = np.stack([np.ravel_multi_index((b, np.full_like(b, v), q, g), shape) for v, q, g in bins], axis=1)
    strata, past = (_missed_and_hit(each)[flat] for each in (rows, before))
    values = np.stack([HITS, -HITS, -HITS, HITS])
    if (tied := high == low).any():  # no two groups differed yet
        values = np.where(tied[:, None, None], values * [[0], [0], [1], [1]], values)
    return strata, past, values


def _missed_and_hit(rows: FloatArray) -> FloatArray:
    """Misses and hits of the new and the old version, (B V R G, 2)."""
    hits = hit_counts(rows)
    return np.stack([row_counts(rows) - hits, hits], axis=-1).reshape(-1, 2)


def _together(rows: FloatArray, before: FloatArray, bet: Bet, at: Pairs) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The same (P, 4, 4) for twins whose bet and pair share a stratum, which counts once, with both values."""
    b, r, i, j = at
    rate, high, low = (each[b] for each in bet)
    strata, past = (
        np.stack([each[b, 0, q, g] for q, g in ((rate, high), (rate, low), (r, i), (r, j))], axis=1)
        for each in (rows, before)
    )
    values = np.zeros((len(b), 4, 4))
    values[:, 0], values[:, 1], values[:, 2], values[:, 3] = NEW_HITS, -NEW_HITS, -OLD_HITS, OLD_HITS
    values[high == low, :2] = 0
    for first, group in enumerate((high, low)):
        for second, other in enumerate((i, j), start=2):
            same = (rate == r) & (group == other)
            values[same, first] += values[same, second]
            values[same, second] = 0
    return strata, past, values
