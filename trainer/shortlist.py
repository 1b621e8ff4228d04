"""The best snapshot of each strength so far: when it was taken, its score, and the parameters to render it again."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from trainer.outcome import Counts
from trainer.select import Judge, Snapshot


class Shortlist:
    """One place per strength. `best` has the module's parameters (K, ...), row k as it was at strength k's snapshot."""

    def __init__(self, judge: Judge, module: nn.Module) -> None:
        self.judge = judge
        self.module = module
        self.best: dict[str, Tensor] = {name: value.detach().clone() for name, value in module.named_parameters()}
        count = len(next(iter(self.best.values())))
        self.snapshots: list[Snapshot | None] = [None] * count

    def offer(self, step: int, counts: Sequence[Counts]) -> None:
        """Keep each strength's present trigger if its validation counts beat those of its best one so far."""
        for k, row in enumerate(counts):
            snapshot = Snapshot(step, row, self.judge.score(row))
            if self.judge.better(snapshot, self.snapshots[k]):
                self.snapshots[k] = snapshot
                for name, value in self.module.named_parameters():
                    self.best[name][k] = value.detach()[k]

    def recall(self) -> list[Snapshot]:
        """Put every strength's best parameters back into the module, and return their snapshots."""
        with torch.no_grad():
            for name, value in self.module.named_parameters():
                value.copy_(self.best[name])
        return [snapshot for snapshot in self.snapshots if snapshot]
