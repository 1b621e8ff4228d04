"""Names of overlapping groups: the identities of a row joined by " + ", or "none" for a row of no group.

Rows are counted under these strings, the finest cross ("cells"), so that counts stay exact and may be summed; a group's
figures are the sums over all cells that name it.
"""

from __future__ import annotations

from collections.abc import Sequence

JOINT = " + "
NO_GROUP = "none"
UNKNOWN = "unknown"
UNDECLARED = "undeclared"
"""Rows of undeclared groups; like those of `unknown` they are counted and never compared."""


def cell_of(identities: Sequence[str]) -> str:
    """The cell of a row that belongs to these identities, in the order given; `none` without any."""
    return JOINT.join(identities) or NO_GROUP


def identities_of(cell: str) -> tuple[str, ...]:
    """The identities that a cell names, each once; () for `none`, `unknown` and `undeclared`, which are none."""
    parts = (part.strip() for part in cell.split(JOINT))
    return tuple(dict.fromkeys(part for part in parts if part not in ("", NO_GROUP, UNKNOWN, UNDECLARED)))


def groups_of(cell: str) -> tuple[str, ...]:
    """The groups under which a cell is shown: its identities; or `unknown`, `undeclared` or `none`, alone."""
    return identities_of(cell) or (cell if cell in (UNKNOWN, UNDECLARED) else NO_GROUP,)
