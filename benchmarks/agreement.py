"""Does a trigger come out of several processes as out of one, at the same global batch? Sums of floats in another order
differ in their last bits; the same happens in one process whose batch comes in another order, and stands beside it.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from benchmarks.synthetic import Sizes, image_batch
from benchmarks.train import learner_for
from trainer.batches import Batches
from trainer.config import TrainConfig
from trainer.data import Dataset
from trainer.world import World
from triggers.classifier import FrozenClassifier
from triggers.image import ImageBank

STEPS = 20
TOLERANCE = 1e-3
"""Of a pixel value in [0, 1], of which an 8-bit image has steps of 4e-3. Adam divides a gradient by its own size, so
that a pixel whose gradient is nearly nothing may turn rounding into a visible part of a step."""


def agreement(
    classifier: FrozenClassifier, sizes: Sizes, batch_size: int, world: World, device: torch.device
) -> str:
    """Train borders of two strengths in float32, together and alone; what came of it in words."""
    data = image_batch(sizes, device)
    before = torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark
    torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.benchmark = False
    try:
        alone = _trained(classifier, data, batch_size, World())
        turned = _trained(classifier, data, batch_size, World(), turned=True)
        together = _trained(classifier, data, batch_size, world)
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark = before
    apart, order = ((other - alone).abs().max().item() for other in (together, turned))
    verdict = "equal" if apart <= TOLERANCE else "NOT equal"
    said = f"{verdict} within {TOLERANCE:g} after {STEPS} steps: largest difference {apart:.2g} of a pixel value"
    return f"{said}; one process with every batch turned round: {order:.2g}"


def _trained(
    classifier: FrozenClassifier, data: Dataset, batch_size: int, world: World, *, turned: bool = False
) -> Tensor:
    """The triggers' deltas (2, C, S, S) after STEPS steps."""
    learner = learner_for(classifier, "border", (1.0, 5.0), TrainConfig(batch_size=batch_size), world=world)
    batches = Batches(data, batch_size, seed=0, world=world)
    for number in range(STEPS):
        batch = batches.batch(number)
        learner.step(number, _turned(batch) if turned else batch)
    bank = learner.module.render()
    assert isinstance(bank, ImageBank)
    return bank.delta.detach()


def _turned(batch: Dataset) -> Dataset:
    assert isinstance(batch.inputs, Tensor)
    return replace(batch, inputs=batch.inputs.flip(0), labels=batch.labels.flip(0), groups=batch.groups.flip(0))
