"""Does a trigger come out of several processes as out of one, at the same global batch? Sums of floats in another order
differ in their last bits; the same happens in one process whose batch comes in another order, and stands beside it.

The network must be smooth: where a ReLU or a maximum changes sides over a last bit, a gradient jumps.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from benchmarks.train import learner_for
from trainer.config import TrainConfig
from trainer.data import Batches, Dataset
from trainer.distributed import ProcessGroup
from trainer.training.vjp import bank_tensors
from triggers.model import FrozenClassifier

STEPS = 5
"""Few: with a network of random weights rounding grows from step to step, also in one process."""

TOLERANCE = 1e-2
"""Difference over distance that the triggers moved, root mean squares. Adam divides a gradient by its own size: where
it is nearly nothing, rounding becomes a part of a step."""


def agreement(classifier: FrozenClassifier, kind: str, data: Dataset, batch_size: int, world: ProcessGroup) -> str:
    """Train triggers of two strengths in float32, together and alone; what came of it in words."""
    with _exact():
        start = _trained(classifier, kind, data, batch_size, ProcessGroup(), steps=0)
        alone = _trained(classifier, kind, data, batch_size, ProcessGroup())
        turned = _trained(classifier, kind, data, batch_size, ProcessGroup(), turned=True)
        together = _trained(classifier, kind, data, batch_size, world)
    moved = _size(alone - start)
    apart, order = _size(together - alone) / moved, _size(turned - alone) / moved
    verdict = "equal" if apart <= TOLERANCE else "NOT equal"
    said = f"{verdict} within {TOLERANCE:g} of the way moved in {STEPS} steps: {apart:.1e}"
    return f"{said}; one process with every batch turned round: {order:.1e}"


def _size(difference: Tensor) -> float:
    return difference.square().mean().sqrt().item()


@contextmanager
def _exact() -> Iterator[None]:
    """Convolutions in full float32, by the same algorithm every time."""
    cudnn = torch.backends.cudnn
    before = cudnn.allow_tf32, cudnn.benchmark
    cudnn.allow_tf32 = cudnn.benchmark = False
    try:
        yield
    finally:
        cudnn.allow_tf32, cudnn.benchmark = before


def _trained(
    classifier: FrozenClassifier,
    kind: str,
    data: Dataset,
    batch_size: int,
    world: ProcessGroup,
    *,
    turned: bool = False,
    steps: int = STEPS,
) -> Tensor:
    """What the bank of both triggers holds after so many steps: (2, C, S, S) or (2, T, D)."""
    learner = learner_for(classifier, kind, (1.0, 5.0), TrainConfig(batch_size=batch_size), world=world)
    batches = Batches(data, batch_size, seed=0, process_group=world, pieces=1)
    for number in range(steps):
        batch = batches.batch(number)
        learner.step(number, batch.take(torch.arange(batch_size).flip(0).to(batch.labels.device)) if turned else batch)
    return bank_tensors(learner.module.render())[0].detach()
