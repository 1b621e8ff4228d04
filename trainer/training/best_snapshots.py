"""Stores of validation snapshots: the best one of each strength, or all of them for cross-fitting."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeAlias

import torch
from torch import Tensor, nn

from trainer.evaluation import SelectionCriterion
from trainer.evaluation.run_result import ConfusionCounts
from trainer.evaluation.selection import ValidationSnapshot

CountValidation: TypeAlias = Callable[[], Sequence[ConfusionCounts]]
"""Counts the validation part under every strength's present trigger, when it is called."""


class SnapshotStore(Protocol):
    """A store of validation snapshots, which can be written into a checkpoint and read back."""

    def offer(self, step: int, count: CountValidation) -> None:
        """Take every strength's trigger after `step` steps."""

    def tensors(self) -> dict[str, Tensor]:
        """The kept snapshots' parameters by name."""

    def kept(self) -> list[tuple[int, ConfusionCounts] | None]:
        """The kept snapshots' (step, counts)."""

    def restore(self, tensors: Mapping[str, Tensor], kept: Sequence[tuple[int, ConfusionCounts] | None]) -> None:
        """Restore the state from which `tensors` and `kept` were taken."""


class BestSnapshots:
    """The best snapshot of each strength. `best` has parameters (K, ...), row k from strength k's snapshot."""

    def __init__(self, criterion: SelectionCriterion, module: nn.Module) -> None:
        self.criterion = criterion
        self.module = module
        self.best: dict[str, Tensor] = {name: value.detach().clone() for name, value in module.named_parameters()}
        count = len(next(iter(self.best.values())))
        self.snapshots: list[ValidationSnapshot | None] = [None] * count

    def offer(self, step: int, count: CountValidation) -> None:
        """Keep each strength's present trigger if its validation counts beat those of its best one so far."""
        for k, row in enumerate(count()):
            snapshot = ValidationSnapshot(step, row, self.criterion.score(row))
            if self.criterion.better(snapshot, self.snapshots[k]):
                self.snapshots[k] = snapshot
                for name, value in self.module.named_parameters():
                    self.best[name][k] = value.detach()[k]

    def restore_best(self) -> list[ValidationSnapshot]:
        """Put every strength's best parameters back into the module, and return their snapshots."""
        with torch.no_grad():
            for name, value in self.module.named_parameters():
                value.copy_(self.best[name])
        return [snapshot for snapshot in self.snapshots if snapshot]

    def tensors(self) -> dict[str, Tensor]:
        """`best` by name."""
        return dict(self.best)

    def kept(self) -> list[tuple[int, ConfusionCounts] | None]:
        """The snapshots' steps and counts."""
        return [None if best is None else (best.step, best.counts) for best in self.snapshots]

    def restore(self, tensors: Mapping[str, Tensor], kept: Sequence[tuple[int, ConfusionCounts] | None]) -> None:
        """Restore the state from which `tensors` and `kept` were taken."""
        self.best = {name: tensors[name].to(present.device) for name, present in self.best.items()}
        self.snapshots = [best and ValidationSnapshot(*best, self.criterion.score(best[1])) for best in kept]


class AllSnapshots:
    """Every validation in order: its step, the counts of all K strengths, the module's parameters then, on the CPU."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.steps: list[int] = []
        self.counts: list[Sequence[ConfusionCounts]] = []
        self.parameters: list[dict[str, Tensor]] = []

    def offer(self, step: int, count: CountValidation) -> None:
        """Keep every strength's parameters and counts."""
        self.steps.append(step)
        self.counts.append(count())
        self.parameters.append({name: value.detach().cpu().clone() for name, value in self.module.named_parameters()})

    def tensors(self) -> dict[str, Tensor]:
        """Parameters by `<validation>.<parameter>`."""
        return {f"{n}.{name}": value for n, each in enumerate(self.parameters) for name, value in each.items()}

    def kept(self) -> list[tuple[int, ConfusionCounts] | None]:
        """(step, counts) validation by validation, strength by strength."""
        return [(step, counts) for step, row in zip(self.steps, self.counts, strict=True) for counts in row]

    def restore(self, tensors: Mapping[str, Tensor], kept: Sequence[tuple[int, ConfusionCounts] | None]) -> None:
        """Restore the state from which `tensors` and `kept` were taken."""
        rows = [best for best in kept if best]
        self.steps = list(dict.fromkeys(step for step, _ in rows))
        width = len(rows) // max(len(self.steps), 1)
        self.counts = [[counts for _, counts in rows[n * width : (n + 1) * width]] for n in range(len(self.steps))]
        names = [name for name, _ in self.module.named_parameters()]
        self.parameters = [{name: tensors[f"{n}.{name}"] for name in names} for n in range(len(self.steps))]
