"""The rows that selection judges on, with the bare model's predictions: any other predictions are compared on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from trainer.data import Dataset
from trainer.evaluation.counts import ConfusionCounts
from trainer.formatting import in_group
from triggers.metrics.paired import JointCounts


@dataclass(frozen=True, eq=False)
class ValidationRows:
    """N rows on the CPU: labels, cells (codes of `cell_names`) and the bare model's predictions, each (N,).

    A cell is a group; where groups overlap, it joins those of its rows, which are among `groups`.
    """

    labels: Tensor
    cells: Tensor
    bare: Tensor
    cell_names: tuple[str, ...]
    groups: tuple[str, ...]
    label_names: tuple[str, ...]
    overlapping: bool = False

    @classmethod
    def of(cls, data: Dataset, bare: Tensor, *, overlapping: bool) -> ValidationRows:
        """The rows of a data set, with the bare model's predictions (N,) in its order."""
        labels, cells, bare = data.labels.cpu(), data.groups.cpu(), bare.cpu()
        return cls(labels, cells, bare, data.group_names, data.identities, data.label_names, overlapping)

    @classmethod
    def joined(cls, parts: Sequence[ValidationRows]) -> ValidationRows:
        """The rows of all parts, one part behind the other."""
        labels, cells, bare = (
            torch.cat([getattr(part, name) for part in parts]) for name in ("labels", "cells", "bare")
        )
        return replace(parts[0], labels=labels, cells=cells, bare=bare)

    def take(self, rows: Tensor) -> ValidationRows:
        """The chosen rows, in the order asked for."""
        return replace(self, labels=self.labels[rows], cells=self.cells[rows], bare=self.bare[rows])

    def __len__(self) -> int:
        return len(self.labels)

    def counts(self, predictions: Tensor) -> ConfusionCounts:
        """Confusion counts {(cell, label, prediction): n} of predictions (N,)."""
        return {(cell, label, after): n for cell, label, _, after, n in self._counted(self.labels, predictions)}

    def pairs(self, before: Tensor, after: Tensor) -> JointCounts:
        """Rows by (cell, label, before, after) of two predictions (N,)."""
        found = self._counted(before, after)
        return {(cell, label, first, last): n for cell, label, first, last, n in found}

    def members(self, group: str) -> Tensor:
        """Whether each row belongs to a group (N,)."""
        held = [in_group(cell, group, self.overlapping) for cell in self.cell_names]
        return torch.tensor(held)[self.cells]

    def _counted(self, before: Tensor, after: Tensor) -> Iterator[tuple[str, int, int, int, int]]:
        """(cell, label, before, after, n) for every combination that occurs, in order."""
        size = len(self.label_names)
        code = ((self.cells * size + self.labels) * size + before) * size + after
        found = torch.bincount(code)
        for at in found.nonzero()[:, 0].tolist():
            rest, last = divmod(at, size)
            rest, first = divmod(rest, size)
            cell, label = divmod(rest, size)
            yield self.cell_names[cell], label, first, last, int(found[at])
