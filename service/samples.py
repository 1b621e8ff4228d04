"""From counted minutes to the blocks that a test bets on: arrays of rows per block, version, rate, group and outcome.

A block is a stretch of minutes with enough rows. What ends it looks at how many rows there were and never at what was
predicted, so that a bet on it stays fair.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from service.event import Cell
from triggers.attributes import by, sorted_name
from triggers.identities import NO_GROUP, UNKNOWN
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
    met = {cell.group for cells in minutes.values() for cell in cells}
    named = {group: name for group in met if (name := _compared(group, attributes)) is not None}
    groups = sorted(set(named.values()))
    versions, outcomes = shape
    rows = np.zeros((len(minutes), versions, len(rates), len(groups), outcomes), dtype=np.int64)
    places: dict[Cell, list[tuple[int, int, int, int]]] = {}  # found once per kind of cell: there are few
    times = sorted(minutes)
    for b, minute in enumerate(times):
        for cell, n in minutes[minute].items():
            if cell not in places:
                g = groups.index(named[cell.group]) if cell.group in named else None
                found = [(r, place(cell, rate) if rate.over(cell.label) else None) for r, rate in enumerate(rates)]
                places[cell] = [(at[0], r, g, at[1]) for r, at in found if at and g is not None]
            for where in places[cell]:
                rows[b, *where] += n
    joined, until = _join(rows)
    span = (times[0], times[until - 1] + 1) if until else (None, None)
    return Sample(joined, [rate.name for rate in rates], groups, *span)


def _compared(group: str, attributes: Sequence[str] | None) -> str | None:
    if attributes is None:
        return EVERYONE
    name = group_of(group, attributes)
    return None if name in (UNKNOWN, NO_GROUP) else name


def _join(rows: Ints) -> tuple[Ints, int]:
    """Sum minutes (M, V, R, G, Y) to blocks with rows enough for every version; and how many minutes they took."""
    needed = ROWS_PER_CELL * rows.shape[2] * rows.shape[3]
    blocks, start = [], 0
    have = np.zeros(rows.shape[1], dtype=np.int64)
    for end, n in enumerate(rows.sum(axis=(2, 3, 4)), start=1):
        have = have + n
        if needed and (have >= needed).all():
            blocks.append(rows[start:end].sum(axis=0))
            start, have = end, np.zeros_like(have)
    return (np.stack(blocks) if blocks else rows[:0]), start
