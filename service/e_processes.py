"""E-processes over blocks that come one after another: of the past each keeps sums, so a block costs the same always.

The null hypothesis of each is that all is well. Blocks are arrays (B, V, R, G, Y) of rows, see `samples`; log e-values
(B,) are those after each of them.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from service import bets
from service.bets import Floats
from service.samples import hits_of, rows_of, spaced
from triggers.rates import Ints

Bools = NDArray[np.bool_]
Bet = tuple[Ints, Ints, Ints]
"""Rate, higher and lower group of the new version that blocks (B,) bet on."""
Pairs = tuple[Ints, ...]
"""Block, rate, higher and lower group of the old version, (P,) each."""

NEW_HITS, OLD_HITS = np.array([1, 0, 1, 0]), np.array([1, 1, 0, 0])
"""Paired outcomes, see `samples.Paired`, in which the new and the old version hit."""
HITS = np.array([0, 1])
"""Outcomes of versions apart that are hits."""
PAIRS_AT_ONCE = 1 << 11
"""Bets that are computed together: as many as stay in a processor's cache."""
BLOCKS_TIMES_PAIRS = 1 << 16
"""Bounds what many blocks of many groups take at once."""


class EProcess(ABC):
    """The stake of one test; `sums` are all rows so far, (V, R, G, Y). Used by one thread at a time."""

    def __init__(self, shape: tuple[int, ...], limit: float) -> None:
        self.sums, self._limit = np.zeros(shape), limit

    def add(self, rows: Floats) -> Floats:
        """The log e-value after each of these blocks."""
        paths = [self._add(part) for part in _parts(rows, self._pairs)]
        return np.concatenate(paths) if paths else np.zeros(0)

    def _add(self, rows: Floats) -> Floats:
        before = bets.past(rows, axis=0) + self.sums
        path = self._path(rows, before)
        self.sums = before[-1] + rows[-1]
        return path

    def regroup(self, moved: Ints, groups: int) -> None:
        """Make room for groups that joined, which have no rows so far: group g is now at moved[g]."""
        self.sums = spaced(self.sums, moved, groups)

    @property
    def _pairs(self) -> int:
        """How many bets are placed on a block."""
        return 1

    @abstractmethod
    def _path(self, rows: Floats, before: Floats) -> Floats: ...


class AboveLimit(EProcess):
    """Against "no rate differs between groups by more than limit"; the mean e-value where there are two rates."""

    def __init__(self, shape: tuple[int, ...], limit: float) -> None:
        super().__init__(shape, limit)
        self._stakes = np.zeros(shape[1])  # log, by rate

    def _path(self, rows: Floats, before: Floats) -> Floats:
        hits, n, *past = (np.moveaxis(each[:, 0], 1, 0) for each in _hits_and_rows(rows, before))  # (R, B, G)
        factors = bets.spread(hits, n, self._limit, (past[0], past[1]))
        paths = np.cumsum(factors, axis=-1) + self._stakes[:, None]
        self._stakes = paths[:, -1]
        return np.asarray(np.logaddexp.reduce(paths) - math.log(len(paths)))


class Worse(EProcess):
    """Against "the new version's largest gap exceeds the old one's by at most limit".

    The old gap is that of some two groups; the bet must win whichever they are, so the least of all counts. It is
    assumed that they stay the same while the test runs. On which groups of the new version to bet, the past says.
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

    def _path(self, rows: Floats, before: Floats) -> Floats:
        groups = rows.shape[3]
        if groups < 2:
            return np.zeros(len(rows))
        paths = np.cumsum(self._factors(rows, before), axis=0) + self._stakes
        self._stakes = paths[-1]
        return np.asarray(paths[..., ~np.eye(groups, dtype=bool)].min(axis=(1, 2)))

    def _factors(self, rows: Floats, before: Floats) -> Floats:
        """Log factors (B, R, G, G) against the old gap being of that rate and pair, the higher group first.

        Two strata of the new and two of the old version are all that one pair's bet is about.
        """
        rate, high, low = bet = _widest(before)
        pairs = b, r, i, j = np.nonzero(self._promising(rows, before, bet))
        met = (i == high[b]) | (i == low[b]) | (j == high[b]) | (j == low[b])
        shared = met & (r == rate[b]) if rows.shape[-1] == 4 else np.zeros(len(b), dtype=bool)
        found = np.zeros((len(rows), *self._stakes.shape))
        for chosen, made in ((np.flatnonzero(~shared), _apart), (np.flatnonzero(shared), _together)):
            for start in range(0, len(chosen), PAIRS_AT_ONCE):
                at = tuple(each[chosen[start : start + PAIRS_AT_ONCE]] for each in pairs)
                strata, past, values = made(rows, before, bet, at)
                found[at] = bets.excess(strata, values, self._limit, before=past)
        return found

    def _promising(self, rows: Floats, before: Floats, bet: Bet) -> Bools:
        """Pairs (B, R, G, G) on which anything is staked: there are rows, and the past exceeds the limit."""
        b, (rate, high, low) = np.arange(len(rows)), bet
        there, hits = rows_of(rows) > 0, hits_of(before) / (rows_of(before) + bets.PRIOR)  # (B, 2, R, G)
        new, old = hits[:, 0], hits[:, 1]
        staked = (new[b, rate, high] - new[b, rate, low])[:, None, None, None] - (old[..., :, None] - old[..., None, :])
        placed = (high == low) | (there[b, 0, rate, high] & there[b, 0, rate, low])
        both = there[:, 1, :, :, None] & there[:, 1, :, None, :] & ~np.eye(rows.shape[3], dtype=bool)
        return np.asarray((staked > self._limit) & both & placed[:, None, None, None])


class AccuracyLost(EProcess):
    """Against "the new version's accuracy is lower than the old one's by at most limit"; one rate, one group."""

    def __init__(self, shape: tuple[int, ...], limit: float) -> None:
        super().__init__(shape, limit)
        self._stake = 0.0
        self._values = np.array([OLD_HITS - NEW_HITS]) if shape[-1] == 4 else np.stack([-HITS, HITS])

    def _path(self, rows: Floats, before: Floats) -> Floats:
        strata, past = (each.reshape(len(each), -1, each.shape[-1]) for each in (rows, before))
        path = np.cumsum(bets.excess(strata, self._values, self._limit, before=past)) + self._stake
        self._stake = float(path[-1])
        return np.asarray(path)


def _parts(rows: Floats, pairs: int) -> list[Floats]:
    """The blocks in parts on which not too many bets are placed at once."""
    size = max(BLOCKS_TIMES_PAIRS // max(pairs, 1), 1)
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _hits_and_rows(rows: Floats, before: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    return hits_of(rows), rows_of(rows), hits_of(before), rows_of(before)


def _widest(before: Floats) -> Bet:
    """The rate and groups of the new version that were furthest apart in the blocks before."""
    rates = bets.beliefs(hits_of(before)[:, 0], rows_of(before)[:, 0])
    chosen = np.ptp(rates, axis=-1).argmax(axis=-1)
    there = rates[np.arange(len(rates)), chosen]
    return chosen, there.argmax(axis=-1), there.argmin(axis=-1)


def _apart(rows: Floats, before: Floats, bet: Bet, at: Pairs) -> tuple[Floats, Floats, Floats]:
    """Strata, their past, and what outcomes count, (P, 4, 2): of the new version's bet, then of the old one's pairs."""
    b, r, i, j = at
    rate, high, low = (each[b] for each in bet)
    shape = (len(rows), 2, *rows.shape[2:4])
    places = ((0, rate, high), (0, rate, low), (1, r, i), (1, r, j))
    flat = np.stack([np.ravel_multi_index((b, np.full_like(b, v), q, g), shape) for v, q, g in places], axis=1)
    strata, past = (_missed_and_hit(each)[flat] for each in (rows, before))
    values = np.stack([HITS, -HITS, -HITS, HITS])
    if (tied := high == low).any():  # no two groups differed yet
        values = np.where(tied[:, None, None], values * [[0], [0], [1], [1]], values)
    return strata, past, values


def _missed_and_hit(rows: Floats) -> Floats:
    """Misses and hits of the new and the old version, (B V R G, 2)."""
    hits = hits_of(rows)
    return np.stack([rows_of(rows) - hits, hits], axis=-1).reshape(-1, 2)


def _together(rows: Floats, before: Floats, bet: Bet, at: Pairs) -> tuple[Floats, Floats, Floats]:
    """The same (P, 4, 4) of twins in both the bet and the pair: such a stratum counts once, with both values."""
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
