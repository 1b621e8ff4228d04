"""Blocks of minutes, the units that a sequential test bets on: arrays of rows per version, rate, group and outcome.

A block is a range of minutes with enough rows. Its end depends on the number of rows and on the groups seen so far,
never on predictions or on later data, so that a bet on it stays fair. Minutes are read once, in order; those in a block
are not kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from service.ledger import Cell
from triggers.metrics.attributes import group_by_attributes, sorted_name
from triggers.metrics.overlapping_groups import NO_GROUP, UNDECLARED, UNKNOWN
from triggers.metrics.rates import Ints

BlockArray = NDArray[np.float64]
MinuteCounts = Mapping[int, Mapping[Cell, int]]
"""Counts of sealed minutes, by the minute at which they begin."""
ROWS_PER_CELL = 10
EVERYONE = "everyone"


class RateDefinition(NamedTuple):
    """A rate: `over` selects its rows by label, `hit` its hits among them by prediction and label."""

    name: str
    over: Callable[[int | None], bool]
    hit: Callable[[int, int | None], bool]


def rate_definitions(metric: str, pos_label: int) -> tuple[RateDefinition, ...]:
    """The rates whose worst gap is the metric; for `accuracy` that rate itself."""
    selected: Callable[[int, int | None], bool] = lambda h, y: h == pos_label  # noqa: E731
    positive = RateDefinition("true_positive_rate", lambda y: y == pos_label, selected)
    negative = RateDefinition("false_positive_rate", lambda y: y is not None and y != pos_label, selected)
    right = RateDefinition("accuracy", lambda y: y is not None, lambda h, y: h == y)
    known = {
        "demographic_parity_difference": (RateDefinition("selection_rate", lambda y: True, selected),),
        "equal_opportunity_difference": (positive,),
        "false_positive_rate_difference": (negative,),
        "equalized_odds_difference": (positive, negative),
        "accuracy_difference": (right,),
        "accuracy": (right,),
    }
    return known[metric]


class BlockLayout(Protocol):
    """Mapping from cells to version and outcome, the first and the last axis of arrays (V, R, G, Y)."""

    @property
    def shape(self) -> tuple[int, int]:
        """V versions, Y outcomes."""
        ...

    def place(self, cell: Cell, rate: RateDefinition) -> tuple[int, int] | None:
        """Version and outcome of the rows of a cell; None if the test does not use them."""
        ...


@dataclass(frozen=True)
class UnpairedLayout:
    """Layout of one version, or of the new and the old one, on separate rows; outcomes missed and hit."""

    versions: tuple[int | None, ...]

    @property
    def shape(self) -> tuple[int, int]:
        """V versions, two outcomes."""
        return len(self.versions), 2

    def place(self, cell: Cell, rate: RateDefinition) -> tuple[int, int] | None:
        """Index of the cell's version, and whether its prediction is a hit."""
        if cell.version not in self.versions:
            return None
        return self.versions.index(cell.version), int(rate.hit(cell.prediction, cell.label))


@dataclass(frozen=True)
class PairedLayout:
    """Layout of twins, rows that ran with `version` (the new one) and bare (the old one).

    Outcomes: hit by both, only by the old one, only by the new one, by neither.
    """

    version: int | None
    shape = (1, 4)

    def place(self, cell: Cell, rate: RateDefinition) -> tuple[int, int] | None:
        """Version 0, and the outcome by both predictions."""
        if cell.version != self.version or cell.bare is None:
            return None
        new, old = rate.hit(cell.prediction, cell.label), rate.hit(cell.bare, cell.label)
        return 0, {(True, True): 0, (False, True): 1, (True, False): 2, (False, False): 3}[new, old]


class NumberedCells(NamedTuple):
    """A minute's counts: numbers (K,) of cells in a `CellIndex`, and rows (K,) of each."""

    numbers: Ints
    rows: Ints


class CellIndex:
    """Numbering of cells, regardless of their minute, by first appearance: there are few, and many minutes."""

    def __init__(self) -> None:
        self.cells: list[Cell] = []
        self._numbers: dict[tuple[object, ...], int] = {}

    def numbered(self, counts: Mapping[Cell, int]) -> NumberedCells:
        """One minute's counts by number."""
        numbers = []
        for cell in counts:
            kind = cell[2:]
            number = self._numbers.get(kind)
            if number is None:
                number = self._numbers[kind] = len(self.cells)
                self.cells.append(cell)
            numbers.append(number)
        return NumberedCells(np.array(numbers, dtype=np.int64), np.array(list(counts.values()), dtype=np.int64))


class Blocks:
    """Accumulator of one test's minutes into blocks, arrays (V, R, G, Y).

    Without `attributes` (None) all groups are pooled. `groups` are those seen so far, by name; the minutes
    [since, until) are those in blocks.
    """

    def __init__(
        self, index: CellIndex, layout: BlockLayout, rates: Sequence[RateDefinition], attributes: Sequence[str] | None
    ) -> None:
        self._index, self._layout, self._rates, self._attributes = index, layout, rates, attributes
        self.groups: list[str] = []
        self.since: int | None = None
        self.until: int | None = None
        self._first: int | None = None
        self._met: list[str | None] = []  # the compared name of each cell
        self._bins = np.zeros((0, len(rates)), dtype=np.int64)  # 1 + index in a flat block; 0: not counted
        self._waiting = np.zeros(self.shape)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of a block: V, R, G, Y."""
        versions, outcomes = self._layout.shape
        return versions, len(self._rates), len(self.groups), outcomes

    def meet_cells(self) -> Ints | None:
        """Add the cells that are new in the index; return new positions of the earlier groups, if others joined."""
        new = self._index.cells[len(self._met) :]
        if not new:
            return None
        self._met += [_compared(cell.group, self._attributes) for cell in new]
        before, self.groups = self.groups, sorted({name for name in self._met if name is not None})
        if self.groups == before:
            self._bins = np.concatenate([self._bins, self._find(len(self._bins))])
            return None
        moved = np.array([self.groups.index(name) for name in before], dtype=np.int64)
        self._bins, self._waiting = self._find(0), spread_groups(self._waiting, moved, len(self.groups))
        return moved

    def _find(self, start: int) -> Ints:
        """1 + index in a flat block, (K, R), of the cells from number `start` on."""
        found = np.zeros((len(self._met) - start, len(self._rates)), dtype=np.int64)
        order = {name: g for g, name in enumerate(self.groups)}
        for k, (name, cell) in enumerate(zip(self._met[start:], self._index.cells[start:], strict=True)):
            for r, rate in enumerate(self._rates):
                at = self._layout.place(cell, rate) if name is not None and rate.over(cell.label) else None
                if at and name is not None:
                    found[k, r] = 1 + np.ravel_multi_index((at[0], r, order[name], at[1]), self.shape)
        return found

    def add(self, minute: int, counts: NumberedCells) -> BlockArray | None:
        """Count the next minute, after `meet_cells`; return the block (V, R, G, Y) that it completes, if any."""
        self._first = minute if self._first is None else self._first
        rows, size = np.repeat(counts.rows, len(self._rates)), self._waiting.size
        summed = np.bincount(self._bins[counts.numbers].ravel(), rows, size + 1)[1:]  # exact below 2 ** 53
        self._waiting += summed.reshape(self.shape)
        needed = ROWS_PER_CELL * len(self._rates) * len(self.groups)
        if not needed or self._waiting.sum(axis=(1, 2, 3)).min() < needed:
            return None
        self.since, self.until = self._first, minute + 1
        block, self._waiting = self._waiting, np.zeros(self.shape)
        return block


def spread_groups(values: BlockArray, moved: Ints, groups: int) -> BlockArray:
    """Array (V, R, G, Y) with zeros for the groups that joined: group g is now at moved[g]."""
    found = np.zeros((*values.shape[:2], groups, values.shape[3]))
    found[:, :, moved] = values
    return found


def hit_counts(rows: BlockArray) -> BlockArray:
    """Hits (..., V, R, G) of the new and, V = 2, the old version in rows (..., V, R, G, Y); paired ones as two."""
    if rows.shape[-1] == 2:
        return np.asarray(rows[..., 1])
    both, old, new, _ = np.moveaxis(rows, -1, 0)
    return np.concatenate([both + new, both + old], axis=-3)


def row_counts(rows: BlockArray) -> BlockArray:
    """Rows (..., V, R, G), likewise."""
    total = np.asarray(rows.sum(axis=-1))
    return total if rows.shape[-1] == 2 else np.concatenate([total, total], axis=-3)


def compared_group(name: str, attributes: Sequence[str]) -> str:
    """Name by which a group is compared: these attributes only, or all of its own, sorted."""
    return group_by_attributes(name, attributes) if attributes else sorted_name(name)


def _compared(group: str, attributes: Sequence[str] | None) -> str | None:
    if attributes is None:
        return EVERYONE
    name = compared_group(group, attributes)
    return None if name in (UNKNOWN, UNDECLARED, NO_GROUP) else name
