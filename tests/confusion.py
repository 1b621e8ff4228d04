"""Confusion counts of binary classifiers, for tests of the figures made from them."""

from __future__ import annotations

from hypothesis import strategies as st

Confusion = tuple[int, int, int, int]  # true positives, false positives, false negatives, true negatives


def counts_of(**groups: Confusion) -> dict[tuple[str, int | None, int], int]:
    """Confusion counts of a binary classifier as cells."""
    cells: dict[tuple[str, int | None, int], int] = {}
    for name, (tp, fp, fn, tn) in groups.items():
        cells |= {(name, 1, 1): tp, (name, 0, 1): fp, (name, 1, 0): fn, (name, 0, 0): tn}
    return cells


confusions = st.tuples(*[st.integers(0, 40)] * 4).filter(lambda c: c[0] + c[2] > 0 and c[1] + c[3] > 0)
