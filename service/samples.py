"""From counted minutes to the blocks that a test bets on: arrays of rows per block, version, rate, group and outcome.

A block is a stretch of minutes with enough rows. What ends it looks at how many rows there were and never at what was
predicted, so that a bet on it stays fair.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from service.event import Cell
from triggers.attributes import by, sorted_name
from triggers.identities import NO_GROUP, UNDECLARED, UNKNOWN
from triggers.rates import Ints

Minutes = Mapping[int, Mapping[Cell, int]]
"""Counts of sealed minutes, by the minute at which they begin."""
ROWS_PER_CELL = 10
EVERYONE = "everyone"


class Rate(NamedTuple):
    """A rate: which rows it is over, by label, and which of these it hits, by prediction and label."""

    name: str
    over: Callable[[int | None], bool]
    hit: Callable[[int, int | None], bool]


def rates_of(metric: str, pos_label: int) -> tuple[Rate, ...]:
    """The rates whose gaps a metric is the worst of; `accuracy` itself too."""
    selected: Callable[[int, int | None], bool] = lambda h, y: h == pos_label  # noqa: E731
    positive = Rate("true_positive_rate", lambda y: y == pos_label, selected)
    negative = Rate("false_positive_rate", lambda y: y is not None and y != pos_label, selected)
    right = Rate("accuracy", lambda y: y is not None, lambda h, y: h == y)
    known = {
        "demographic_parity_difference": (Rate("selection_rate", lambda y: True, selected),),
        "equal_opportunity_difference": (positive,),
        "false_positive_rate_difference": (negative,),
        "equalized_odds_difference": (positive, negative),
        "accuracy_difference": (right,),
        "accuracy": (right,),
    }
    return known[metric]


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
    minutes: Minutes, versions: Sequence[int | None], rates: Sequence[Rate], attributes: Sequence[str] | None
) -> Sample:
    """Rows of one version, or of the new and the old one. Without `attributes` (None) groups are not told apart."""
    order = {version: v for v, version in enumerate(versions)}

    def place(cell: Cell, rate: Rate) -> tuple[int, int] | None:
        return None if cell.version not in order else (order[cell.version], int(rate.hit(cell.prediction, cell.label)))

    return _sample(minutes, rates, attributes, (len(order), 2), place)


def paired(minutes: Minutes, version: int | None, rates: Sequence[Rate], attributes: Sequence[str] | None) -> Sample:
    """Rows that ran with `version` (the new one) and bare (the old one)."""

    def place(cell: Cell, rate: Rate) -> tuple[int, int] | None:
        if cell.version != version or cell.bare is None:
            return None
        new, old = rate.hit(cell.prediction, cell.label), rate.hit(cell.bare, cell.label)
        return 0, {(True, True): 0, (False, True): 1, (True, False): 2, (False, False): 3}[new, old]

    return _sample(minutes, rates, attributes, (1, 4), place)


def group_of(name: str, attributes: Sequence[str]) -> str:
    """A group's name as it is compared: by these attributes only, or with its own sorted."""
    return by(name, attributes) if attributes else sorted_name(name)


def _sample(
    minutes: Minutes,
    rates: Sequence[Rate],
    attributes: Sequence[str] | None,
    shape: tuple[int, int],
    place: Callable[[Cell, Rate], tuple[int, int] | None],
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


def _compared(group: str, attributes: Sequence[str] | None) -> str | None:
    if attributes is None:
        return EVERYONE
    name = group_of(group, attributes)
    return None if name in (UNKNOWN, UNDECLARED, NO_GROUP) else name


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
