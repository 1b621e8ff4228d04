"""Validation rows made of strata: rows alike in group, label and all predictions, so that counts are read off."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from trainer.config.run_config import Criterion, SelectConfig
from trainer.evaluation.recommendation import ValidationJudge
from trainer.evaluation.selection import SelectionCriterion
from trainer.evaluation.validation_rows import ValidationRows

Stratum = tuple[str, int, int, list[int]]
"""Cell, label, number of rows, and what is predicted there: by the bare model first, then by every trigger."""


def judged(
    strata: Sequence[Stratum],
    select: SelectConfig | None = None,
    criterion: Criterion = "demographic_parity",
    *,
    groups: Sequence[str] = ("a", "b"),
    labels: int = 2,
    overlapping: bool = False,
    recall_labels: Sequence[int] = (),
) -> tuple[ValidationJudge, list[Tensor]]:
    """The judge of the rows, and the predictions (N,) of every trigger."""
    cells = tuple(dict.fromkeys(cell for cell, *_ in strata))
    sizes = torch.tensor([n for *_, n, _ in strata])

    def column(values: Sequence[int]) -> Tensor:
        return torch.tensor(values).repeat_interleave(sizes)

    bare, *others = (column(values) for values in zip(*(each for *_, each in strata), strict=True))
    names = tuple(f"label {label}" for label in range(labels))
    rows = ValidationRows(
        column([label for _, label, _, _ in strata]),
        column([cells.index(cell) for cell, *_ in strata]),
        bare,
        cells,
        tuple(groups),
        names,
        overlapping,
    )
    by = SelectionCriterion(
        rows.counts(bare),
        criterion,
        select or SelectConfig(),
        pos_label=1,
        labels=labels,
        overlapping=overlapping,
        recall_labels=recall_labels,
    )
    return ValidationJudge(by, rows), others
