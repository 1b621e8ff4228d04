"""The evidence of all minutes at once, as formulas over arrays of the whole history: what sequential tests must equal.

Slow and large where there are many groups, and for whole histories only: which groups there are is looked up first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from service.guard import e_values
from service.guard.blocks import EVERYONE, ROWS_PER_CELL, MinuteCounts, RateDefinition, compared_group, rate_definitions
from service.guard.e_values import FloatArray
from service.guard.sequential_tests import ABOVE_LIMIT, ACCURACY_LOST, MAX_E_VALUE, WORSE, Evidence, Hypothesis
from service.ledger.events import Cell
from triggers.metrics.overlapping_groups import NO_GROUP, UNKNOWN
from triggers.metrics.rates import Ints
from triggers.rollout.rollout_history import version_name

NEW_HITS, OLD_HITS = np.array([1, 0, 1, 0]), np.array([1, 1, 0, 0])


def weigh(
    hypothesis: Hypothesis, minutes: MinuteCounts, alpha: float, threshold: float, attributes: Sequence[str] = ()
) -> Evidence:
    """The evidence on one hypothesis."""
    sample = _asked(hypothesis, minutes, 1, attributes)
    path = PATHS[hypothesis.test](sample, hypothesis.limit) if len(sample.rows) else np.zeros(1)
    last, peak = (min(math.exp(min(float(value), 700)), MAX_E_VALUE) for value in (path[-1], max(path.max(), 0.0)))
    n = int(sample.rows.sum())
    counts = _counts(hypothesis, sample)
    return Evidence(hypothesis, alpha, threshold, last, peak, len(sample.rows), n, sample.since, sample.until, counts)


def _asked(hypothesis: Hypothesis, minutes: MinuteCounts, pos_label: int, attributes: Sequence[str]) -> Sample:
    pooled = hypothesis.test == ACCURACY_LOST
    rates, over = (
        rate_definitions("accuracy" if pooled else hypothesis.metric, pos_label),
        None if pooled else attributes,
    )
    if hypothesis.twins:
        return paired(minutes, hypothesis.version, rates, over)
    versions = [hypothesis.version] if hypothesis.test == ABOVE_LIMIT else [hypothesis.version, hypothesis.against]
    return apart(minutes, versions, rates, over)


@dataclass(frozen=True, eq=False)
class Sample:
    """Rows (B, V, R, G, Y) per block, version, rate, group and outcome, and the minutes [since, until) they are from.

    Versions apart: V of them, outcomes missed and hit. Paired: one "version", outcomes hit by both, only by the old
    one, only by the new one, by neither.
    """

    rows: Ints
    rates: Sequence[str]
    groups: Sequence[str]
    since: int | None
    until: int | None

    @property
    def hits(self) -> Ints:
        """Hits (B, V, R, G) of the new and, V = 2, the old version; paired ones as if they were apart."""
        if self.rows.shape[-1] == 2:
            return np.asarray(self.rows[..., 1])
        both, old, new, _ = np.moveaxis(self.rows, -1, 0)
        return np.concatenate([both + new, both + old], axis=1)

    @property
    def n(self) -> Ints:
        """Rows (B, V, R, G), likewise."""
        total = np.asarray(self.rows.sum(axis=-1))
        return total if self.rows.shape[-1] == 2 else np.concatenate([total, total], axis=1)


def apart(
    minutes: MinuteCounts,
    versions: Sequence[int | None],
    rates: Sequence[RateDefinition],
    attributes: Sequence[str] | None,
) -> Sample:
    """Rows of one version, or of the new and the old one. Without `attributes` (None) groups are not told apart."""
    order = {version: v for v, version in enumerate(versions)}

    def place(cell: Cell, rate: RateDefinition) -> tuple[int, int] | None:
        return None if cell.version not in order else (order[cell.version], int(rate.hit(cell.prediction, cell.label)))

    return _sample(minutes, rates, attributes, (len(order), 2), place)


def paired(
    minutes: MinuteCounts, version: int | None, rates: Sequence[RateDefinition], attributes: Sequence[str] | None
) -> Sample:
    """Rows that ran with `version` (the new one) and bare (the old one)."""

    def place(cell: Cell, rate: RateDefinition) -> tuple[int, int] | None:
        if cell.version != version or cell.bare is None:
            return None
        new, old = rate.hit(cell.prediction, cell.label), rate.hit(cell.bare, cell.label)
        return 0, {(True, True): 0, (False, True): 1, (True, False): 2, (False, False): 3}[new, old]

    return _sample(minutes, rates, attributes, (1, 4), place)


def _sample(
    minutes: MinuteCounts,
    rates: Sequence[RateDefinition],
    attributes: Sequence[str] | None,
    shape: tuple[int, int],
    place: Callable[[Cell, RateDefinition], tuple[int, int] | None],
) -> Sample:
    kinds = set[Cell]().union(*minutes.values())
    named = {cell.group: name for cell in kinds if (name := _compared(cell.group, attributes)) is not None}
    groups, times = sorted(set(named.values())), sorted(minutes)
    block = (shape[0], len(rates), len(groups), shape[1])

    def places(cell: Cell) -> list[int]:
        """Where it counts within a minute."""
        if cell.group not in named:
            return []
        met = [(r, place(cell, rate)) for r, rate in enumerate(rates) if rate.over(cell.label)]
        g = groups.index(named[cell.group])
        return [int(np.ravel_multi_index((at[0], r, g, at[1]), block)) for r, at in met if at]

    known = {cell: places(cell) for cell in kinds}  # asked once per kind: there are few
    rows = np.zeros((len(times), math.prod(block)), dtype=np.int64)
    found = [(b, at, n) for b, each in enumerate(times) for cell, n in minutes[each].items() for at in known[cell]]
    if found:
        minute, at, n = np.array(found, dtype=np.int64).T
        np.add.at(rows, (minute, at), n)
    joined, until = _join(rows.reshape(len(times), *block))
    span = (times[0], times[until - 1] + 1) if until else (None, None)
    return Sample(joined, [rate.name for rate in rates], groups, *span)


def _join(rows: Ints) -> tuple[Ints, int]:
    """Sum minutes (M, V, R, G, Y) to blocks with rows enough for every version; and how many minutes they took."""
    needed = ROWS_PER_CELL * rows.shape[2] * rows.shape[3]
    starts, have = [0], [0] * rows.shape[1]
    for end, n in enumerate(rows.sum(axis=(2, 3, 4)).tolist(), start=1):
        have = [before + more for before, more in zip(have, n, strict=True)]
        if needed and min(have) >= needed:
            starts.append(end)
            have = [0] * rows.shape[1]
    until = starts.pop()
    return (np.add.reduceat(rows[:until], starts, axis=0) if until else rows[:0]), until


def _compared(group: str, attributes: Sequence[str] | None) -> str | None:
    if attributes is None:
        return EVERYONE
    name = compared_group(group, attributes)
    return None if name in (UNKNOWN, NO_GROUP) else name


def above_limit(sample: Sample, limit: float) -> FloatArray:
    """Against "no rate differs between groups by more than limit"; the mean e-value where there are two rates."""
    hits, n = sample.hits[:, 0], sample.n[:, 0]  # (B, R, G)
    paths = [np.cumsum(e_values.log_e_max_gap(hits[:, r], n[:, r], limit)) for r in range(hits.shape[1])]
    return np.asarray(np.logaddexp.reduce(paths) - math.log(len(paths)))


def worse(sample: Sample, limit: float) -> FloatArray:
    """Against "the new version's largest gap exceeds the old one's by at most limit".

    The old gap is that of some two groups; the bet must win whichever they are, so the least of all counts. It is
    assumed that they stay the same while the test runs. On which groups of the new version to bet, the past says.
    """
    rates, groups = sample.rows.shape[2:4]
    bet = _widest(sample.hits[:, 0], sample.n[:, 0])  # (B, R, G), one group 1 and one -1
    least: FloatArray | None = None
    for r, high, low in ((r, i, j) for r in range(rates) for i in range(groups) for j in range(groups) if i != j):
        old = np.zeros((rates, groups))
        old[r, high], old[r, low] = 1, -1
        path = np.cumsum(e_values.log_e_mean_sum(_strata(sample.rows), _strata(_values(sample, bet, old)), limit))
        least = path if least is None else np.minimum(least, path)
    return np.zeros(len(sample.rows)) if least is None else least


def accuracy_lost(sample: Sample, limit: float) -> FloatArray:
    """Against "the new version's accuracy is lower than the old one's by at most limit"."""
    one = np.ones((1, 1))
    values = _values(sample, -one[None], -one)
    return np.asarray(np.cumsum(e_values.log_e_mean_sum(_strata(sample.rows), _strata(values), limit)))


PATHS = {ABOVE_LIMIT: above_limit, WORSE: worse, ACCURACY_LOST: accuracy_lost}


def _values(sample: Sample, new: FloatArray, old: FloatArray) -> FloatArray:
    """What each outcome counts, (B, V, R, G, Y): weights (B, R, G) of new hits, minus weights (R, G) of old ones."""
    new, old = np.broadcast_arrays(new, old)
    if sample.rows.shape[-1] == 4:
        return np.asarray(new[..., None] * NEW_HITS - old[..., None] * OLD_HITS)[:, None]
    hits = np.stack([new, -old], axis=1)
    return np.stack([np.zeros_like(hits), hits], axis=-1)


def _strata(values: Any) -> Any:
    """(B, V, R, G, Y) to (B, V R G, Y)."""
    return values.reshape(len(values), -1, values.shape[-1])


def _widest(hits: Any, n: Any) -> FloatArray:
    """Per block, the two groups that were furthest apart in the blocks before: +1 and -1 among zeros, (B, R, G)."""
    seen = [(e_values.prefix_sums(hits[:, r] * 1.0), e_values.prefix_sums(n[:, r] * 1.0)) for r in range(n.shape[1])]
    rates = np.stack([e_values.shrunken_rates(k, m) for k, m in seen], axis=1)
    blocks, chosen = np.arange(len(rates)), np.ptp(rates, axis=-1).argmax(axis=-1)
    found = np.zeros_like(rates)
    there = rates[blocks, chosen]
    found[blocks, chosen, there.argmax(axis=-1)] += 1
    found[blocks, chosen, there.argmin(axis=-1)] -= 1
    return found


def _counts(hypothesis: Hypothesis, sample: Sample) -> dict[str, dict[str, dict[str, list[int]]]]:
    versions = [hypothesis.version, hypothesis.against][: sample.hits.shape[1]]
    hits, n = sample.hits.sum(axis=0), sample.n.sum(axis=0)  # (V, R, G)
    return {
        version_name(version): {
            rate: {group: [int(hits[v, r, g]), int(n[v, r, g])] for g, group in enumerate(sample.groups)}
            for r, rate in enumerate(sample.rates)
        }
        for v, version in enumerate(versions)
    }
