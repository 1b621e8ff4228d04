"""Labelled, grouped data in memory: what the training loop, the evaluation and the base classifier read."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from triggers.preprocess import Inputs


@dataclass(frozen=True, eq=False)
class Dataset:
    """N examples: inputs (uint8 (N, C, S, S) or TextBatch), labels (N,) and groups (N,) as int64, and their ids.

    An id names the example in its source (a file name or a row), so that its raw bytes can be replayed.
    """

    inputs: Inputs
    labels: Tensor
    groups: Tensor
    ids: tuple[str, ...]
    label_names: tuple[str, ...]
    group_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Tensor, part: slice = slice(None)) -> Dataset:
        """The chosen rows, in the order asked for, without their ids: a batch has no use for them.

        Inputs only of a `part` of the rows, where other processes run the rest.
        """
        return replace(self, inputs=self.inputs[rows[part]], labels=self.labels[rows], groups=self.groups[rows], ids=())

    def with_inputs(self, inputs: Inputs) -> Dataset:
        """The same examples with other inputs, for augmentation."""
        return replace(self, inputs=inputs)

    def to(self, device: torch.device | str) -> Dataset:
        """The same examples on another device."""
        moved = self.inputs.to(device)
        return replace(self, inputs=moved, labels=self.labels.to(device), groups=self.groups.to(device))

    def counts(self) -> dict[tuple[str, int], int]:
        """Examples per (group name, label index)."""
        cells = Counter(zip(self.groups.tolist(), self.labels.tolist(), strict=True))
        return {(self.group_names[group], label): n for (group, label), n in sorted(cells.items())}


@dataclass(frozen=True, eq=False)
class Splits:
    """The parts a trigger is tuned, picked and reported on; no content is in two of them, nor in the base's part.

    `base` is that part, where a baseline is to be trained on it.
    """

    tuning: Dataset
    val: Dataset
    test: Dataset
    base: Dataset | None = None
