"""Labelled, grouped data in memory: what the training loop, the evaluation and the base classifier read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from trainer.data.values.group_membership import membership_table
from triggers.preprocessing import Inputs, TextBatch

NO_TABLE = torch.empty(0, 0, dtype=torch.bool)
"""Placeholder of a membership table that is not built yet."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """N examples: inputs (uint8 (N, C, H, W) or TextBatch), labels (N,) and groups (N,) as int64, and their ids.

    The inputs of a whole part may be mapped from a file that is larger than memory: take rows, never all of them.

    An id names the example in its source (a file name or a row), so that its raw bytes can be replayed. A group code
    stands for a cell of `group_names`. Where groups overlap, a cell joins several of the G `identities`, or none;
    elsewhere the identities are the group names. `membership` (codes, G) says which cell holds which identity.
    """

    inputs: Inputs
    labels: Tensor
    groups: Tensor
    ids: tuple[str, ...]
    label_names: tuple[str, ...]
    group_names: tuple[str, ...]
    identities: tuple[str, ...] = ()
    membership: Tensor = NO_TABLE

    def __post_init__(self) -> None:
        disjoint = self.identities in ((), self.group_names)
        if not self.identities:
            object.__setattr__(self, "identities", self.group_names)
        if self.membership is NO_TABLE:
            table = torch.eye(len(self.group_names), dtype=torch.bool)
            made = table if disjoint else membership_table(self.group_names, self.identities)
            object.__setattr__(self, "membership", made.to(self.groups.device))

    @property
    def members(self) -> Tensor:
        """Membership of examples in identities: float (N, G), one-hot rows where groups do not overlap."""
        return self.membership[self.groups].float()

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Tensor, part: slice = slice(None), into: Tensor | None = None) -> Dataset:
        """The chosen rows, in the order asked for, without their ids.

        Inputs only of a `part` of the rows, where other processes run the rest; images are put `into` a buffer of at
        least as many rows, if there is one. Data that does not fit into memory is read only this way.
        """
        own = rows[part]
        if into is None or isinstance(self.inputs, TextBatch):
            inputs = self.inputs[own]
        else:
            inputs = torch.index_select(self.inputs, 0, own, out=into[: len(own)])
        return replace(self, inputs=inputs, labels=self.labels[rows], groups=self.groups[rows], ids=())

    def with_inputs(self, inputs: Inputs) -> Dataset:
        """The same examples with other inputs, for augmentation."""
        return replace(self, inputs=inputs)

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Dataset:
        """The same examples on another device; `non_blocking`: without waiting for images in pinned memory."""
        inputs = self.inputs
        return replace(
            self,
            inputs=inputs.to(device) if isinstance(inputs, TextBatch) else inputs.to(device, non_blocking=non_blocking),
            labels=self.labels.to(device),
            groups=self.groups.to(device),
            membership=self.membership.to(device),
        )

    def tensors(self) -> list[Tensor]:
        """Inputs, labels and groups as bare tensors."""
        inputs = self.inputs
        content = [inputs.ids, inputs.lengths] if isinstance(inputs, TextBatch) else [inputs]
        return [*content, self.labels, self.groups]

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(tensor.nbytes for tensor in self.tensors())

    def counts(self) -> dict[tuple[str, int], int]:
        """Examples per (group name, label index)."""
        return cell_counts(self.groups.tolist(), self.labels.tolist(), self.group_names)


def cell_counts(groups: Sequence[int], labels: Sequence[int], group_names: Sequence[str]) -> dict[tuple[str, int], int]:
    """Examples per (group name, label index), from each example's group code and label."""
    cells = Counter(zip(groups, labels, strict=True))
    return {(group_names[group], label): n for (group, label), n in sorted(cells.items())}


@dataclass(frozen=True, eq=False)
class Splits:
    """The tuning, val and test parts; no content is in two of them, nor in the base part.

    `base` is the base part, where a baseline is to be trained on it.
    """

    tuning: Dataset
    val: Dataset
    test: Dataset
    base: Dataset | None = None
