"""Numbers cut into classes: the names of the classes, and the class of a number."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise

NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)


def bin_names(edges: Sequence[int | float]) -> tuple[str, ...]:
    """`under 20`, `20 to 39`, `40 and over` for [20, 40]; [20.0, 40.0] cuts real numbers: `20 to under 40`.

    () without edges.
    """
    if not edges:
        return ()
    between = [
        f"{low} to {high - 1}" if whole_edges(edges) else f"{_plain(low)} to under {_plain(high)}"
        for low, high in pairwise(edges)
    ]
    return (f"under {_plain(edges[0])}", *between, f"{_plain(edges[-1])} and over")


def whole_edges(edges: Sequence[int | float]) -> bool:
    """Whether the edges cut whole numbers."""
    return all(isinstance(edge, int) for edge in edges)


def bin_index(number: float, edges: Sequence[int | float]) -> int:
    """The class of a number: how many of the rising edges it reaches."""
    return bisect_right(edges, number)


def read_number(text: str, *, whole: bool) -> float | None:
    """The number that a text is; None where it is none, or `whole` is asked for and it is not."""
    number = float(text) if NUMBER.fullmatch(text) else None
    return None if number is None or (whole and not number.is_integer()) else number


def _plain(edge: int | float) -> str:
    return str(edge).removesuffix(".0")
