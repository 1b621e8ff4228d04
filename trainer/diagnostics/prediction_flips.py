"""Prediction flips: the rows whose prediction changes with a trigger, and the direction of the change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from trainer.data import Dataset
from trainer.formatting import in_group
from triggers.metrics.paired import JointCounts


def paired_counts(data: Dataset, before: Tensor, after: Tensor) -> JointCounts:
    """Count the rows of `data` by group, label and the two predictions (N,)."""
    columns = (data.groups, data.labels, before, after)
    cells = Counter(zip(*(column.tolist() for column in columns), strict=True))
    found = sorted(cells.items())
    return {(data.group_names[group], label, first, last): n for (group, label, first, last), n in found}


def flips(paired: JointCounts, groups: Sequence[str], pos_label: int, *, overlapping: bool = False) -> dict[str, Any]:
    """Per group, and under "everyone": n, and how many predictions turned to or away from the positive label, changed
    between other labels, became right, became wrong.
    """
    table = {
        group: _turned([item for item in paired.items() if in_group(item[0][0], group, overlapping)], pos_label)
        for group in groups
    }
    return {"groups": table, "everyone": _turned(list(paired.items()), pos_label)}


def _turned(cells: Sequence[tuple[tuple[str, int | None, int, int], int]], pos_label: int) -> dict[str, int]:
    total = dict.fromkeys(("n", "to_positive", "from_positive", "between_others", "mended", "broken"), 0)
    for (_, label, before, after), n in cells:
        total["n"] += n
        if before == after:
            continue
        way = "to_positive" if after == pos_label else "from_positive" if before == pos_label else "between_others"
        total[way] += n
        total["mended"] += n * (after == label)
        total["broken"] += n * (before == label)
    return total
