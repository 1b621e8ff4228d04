"""Confusion counts of binary classifiers, and rows of three labels and groups, for tests of the figures of them."""

from __future__ import annotations

from itertools import product

from hypothesis import strategies as st

Confusion = tuple[int, int, int, int]  # true positives, false positives, false negatives, true negatives


def counts_of(**groups: Confusion) -> dict[tuple[str, int | None, int], int]:
    """Confusion counts of a binary classifier as cells."""
    cells: dict[tuple[str, int | None, int], int] = {}
    for name, (tp, fp, fn, tn) in groups.items():
        cells |= {(name, 1, 1): tp, (name, 0, 1): fp, (name, 1, 0): fn, (name, 0, 0): tn}
    return cells


confusions = st.tuples(*[st.integers(0, 40)] * 4).filter(lambda c: c[0] + c[2] > 0 and c[1] + c[3] > 0)

CELLS = tuple(product("abc", range(3), range(3)))
labelled_rows = (
    st.lists(st.integers(0, 12), min_size=len(CELLS), max_size=len(CELLS))
    .filter(lambda counts: sum(counts) >= 60)
    .map(lambda counts: [cell for cell, count in zip(CELLS, counts, strict=True) for _ in range(count)])
)
"""(group, label, prediction) of 60 rows or more, drawn as a table: row by row takes ten times as long."""
