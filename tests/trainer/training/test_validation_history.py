"""What a run keeps of its validations, and that it survives being written down and read back."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn
from trainer.training.best_snapshots import AllSnapshots, BestSnapshots

from trainer.evaluation.counts import ConfusionCounts
from trainer.evaluation.selection import SelectionCriterion


class Levels(nn.Module):
    """One number per strength, two strengths."""

    def __init__(self) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.zeros(2))

    def put(self, *levels: float) -> None:
        self.level.data = torch.tensor(levels, dtype=torch.float32)


def counts(a: int, b: int) -> ConfusionCounts:
    """100 rows per group, all labelled as predicted; a and b of them are positive."""
    return {("a", 1, 1): a, ("a", 0, 0): 100 - a, ("b", 1, 1): b, ("b", 0, 0): 100 - b}


def judge() -> SelectionCriterion:
    return SelectionCriterion(counts(80, 20), "demographic_parity", 0.03, pos_label=1, labels=2)


FAR, NEAR, EQUAL = counts(80, 20), counts(60, 40), counts(50, 50)


def test_a_shortlist_keeps_every_strengths_own_best() -> None:
    module = Levels()
    kept = BestSnapshots(judge(), module)
    for step, levels, found in ((10, (1, 2), (FAR, EQUAL)), (20, (3, 4), (NEAR, NEAR)), (30, (5, 6), (NEAR, FAR))):
        module.put(*levels)
        kept.offer(step, partial(list, found))
    assert [snapshot.step for snapshot in kept.restore_best()] == [20, 10]  # a tie keeps the earlier one
    assert module.level.tolist() == [3, 2]


def test_a_shortlist_is_read_back() -> None:
    module = Levels()
    kept = BestSnapshots(judge(), module)
    module.put(1, 2)
    kept.offer(10, lambda: (FAR, EQUAL))
    again = BestSnapshots(judge(), Levels())
    again.restore(kept.tensors(), kept.kept())
    module.put(3, 4)
    again.module = module
    again.offer(20, lambda: (EQUAL, NEAR))
    assert again.kept() == [(20, EQUAL), (10, EQUAL)]
    assert again.best["level"].tolist() == [3, 2]


def test_nothing_was_kept_before_the_first_validation() -> None:
    kept = BestSnapshots(judge(), Levels())
    kept.restore(kept.tensors(), kept.kept())
    assert (kept.kept(), kept.restore_best()) == ([None, None], [])


def test_a_trail_keeps_everything_and_is_read_back() -> None:
    module = Levels()
    trail, again = AllSnapshots(module), AllSnapshots(Levels())
    for step, found in ((10, [FAR, NEAR]), (20, [NEAR, EQUAL])):
        module.put(step, -step)
        trail.offer(step, partial(list, found))
    again.restore(trail.tensors(), trail.kept())
    for each in (trail, again):
        assert each.steps == [10, 20]
        assert each.counts == [[FAR, NEAR], [NEAR, EQUAL]]
        assert [parameters["level"].tolist() for parameters in each.parameters] == [[10, -10], [20, -20]]


def test_an_empty_trail_is_read_back() -> None:
    trail = AllSnapshots(Levels())
    trail.restore({}, [])
    assert (trail.steps, trail.counts, trail.parameters) == ([], [], [])
