"""Prediction flips: the rows whose prediction changes with a trigger, and the direction of the change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from trainer.data import Dataset
from trainer.formatting import in_group
from triggers.model import Bank, FrozenClassifier, sweep

Paired: TypeAlias = Mapping[tuple[str, int, int, int], int]
"""Rows by (group name, label, prediction without the trigger, prediction with it)."""


def predictions(classifier: FrozenClassifier, data: Dataset, bank: Bank, rows: int) -> Tensor:
    """Predicted labels (V, N) under every trigger of the bank, in the order of the data, `rows` inputs at a time."""
    device, found = classifier.device, []
    with torch.inference_mode():
        for index in torch.split(torch.arange(len(data), device=data.labels.device), rows):
            inputs = data.take(index).to(device).inputs
            found.append(classifier.decision.labels(sweep(classifier, inputs, bank)).cpu())
    return torch.cat(found, dim=1)


def paired_counts(data: Dataset, before: Tensor, after: Tensor) -> Paired:
    """Count the rows of `data` by group, label and the two predictions (N,)."""
    columns = (data.groups, data.labels, before, after)
    cells = Counter(zip(*(column.tolist() for column in columns), strict=True))
    return {(data.group_names[group], *rest): n for (group, *rest), n in sorted(cells.items())}


def flips(paired: Paired, groups: Sequence[str], pos_label: int, *, overlapping: bool = False) -> dict[str, Any]:
    """Per group, and under "everyone": n, and how many predictions turned to or away from the positive label, changed
    between other labels, became right, became wrong.
    """
    table = {
        group: _turned([item for item in paired.items() if in_group(item[0][0], group, overlapping)], pos_label)
        for group in groups
    }
    return {"groups": table, "everyone": _turned(list(paired.items()), pos_label)}


def _turned(cells: Sequence[tuple[tuple[str, int, int, int], int]], pos_label: int) -> dict[str, int]:
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
