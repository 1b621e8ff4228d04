"""Overlapping groups: cells in one spelling and order, and the identities of each cell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from triggers.errors import DataError
from triggers.metrics.overlapping_groups import cell_of, identities_of


def identities_in(cells: Iterable[str]) -> tuple[str, ...]:
    """The identities that occur in any of the cells, in alphabetical order."""
    return tuple(sorted({name for cell in cells for name in identities_of(cell)}))


def normalise_cells(found: Sequence[tuple[str, str]], order: tuple[str, ...]) -> list[tuple[str, str]]:
    """(cell, row id) pairs with each cell's identities in `order`; "" (not known) stays. Raises DataError."""
    spelled: dict[str, str] = {"": ""}
    for cell, row in found:
        if cell not in spelled:
            spelled[cell] = cell_of(sorted(identities_of(cell), key=lambda name: _place(name, order, row)))
    return [(spelled[cell], row) for cell, row in found]


def cell_names(cells: Iterable[str], order: tuple[str, ...]) -> tuple[str, ...]:
    """The cells that occur, fewest identities first, `none` before all."""
    ranks = {cell: [order.index(name) for name in identities_of(cell)] for cell in cells if cell}
    return tuple(sorted(ranks, key=lambda cell: (len(ranks[cell]), ranks[cell])))


def membership_table(cells: Sequence[str], identities: Sequence[str]) -> Tensor:
    """Table of the identities of each cell: bool (cells, identities)."""
    rows = [[name in identities_of(cell) for name in identities] for cell in cells]
    return torch.tensor(rows, dtype=torch.bool).view(len(cells), len(identities))


def _place(name: str, order: tuple[str, ...], row: str) -> int:
    if name not in order:
        known = f"none of data.group {list(order)}"
        raise DataError(f"{row} belongs to {name!r}, which is {known}. Mend the row, or name it.")
    return order.index(name)
