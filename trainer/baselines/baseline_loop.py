"""The training loop of a baseline: trains whatever its optimizer trains and keeps the best validation snapshot.

The rule is the triggers' own: above the accuracy floor the smallest gap. Departure from the code released with AdvPost
and AdvIN: there, texts have no floor, so that a constant predictor may win, and images pick the worst cell's accuracy,
whatever the gap.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from trainer.config.hyperparameters import Hyperparameters
from trainer.data import Batches, Dataset
from trainer.evaluation import SelectionCriterion
from trainer.evaluation.counts import count_predictions
from trainer.evaluation.selection import ValidationSnapshot
from trainer.progress import Task
from trainer.training.objectives.objective_step import FINETUNE_REPORT_EVERY, Losses
from triggers.model.networks.checkpoint import load_weights

ADVICE = "lower baselines.lr or baselines.strengths."


class BaselineOptimizer(Protocol):
    """A `module` in training, in `steps` steps; `predict` gives labels (N,) with the module as it is now."""

    module: nn.Module
    hyperparameters: Hyperparameters
    steps: int

    def step(self, number: int, batch: Dataset) -> Losses:
        """Train on one batch; `number` counts from 0."""

    def predict(self, data: Dataset) -> Tensor:
        """Predicted labels (N,), in the order and on the device of the data."""


def train_baseline(
    optimizer: BaselineOptimizer, train: Dataset, val: Dataset, criterion: SelectionCriterion, task: Task
) -> ValidationSnapshot:
    """Train to the end, restore and freeze the module's best validation snapshot, and return that snapshot.

    Raises ConfigError if the training diverges.
    """
    how, steps = optimizer.hyperparameters, optimizer.steps
    device = next(optimizer.module.parameters()).device
    batches = Batches(
        train, how.batch_size, seed=how.seed, flip=how.flip, shift=how.shift, crop=how.crop, device=device
    )
    eval_every = how.eval_every or max(1, steps // 10)
    best: ValidationSnapshot | None = None
    state: dict[str, Tensor] = {}
    for number, batch in enumerate(batches.each(range(steps))):
        losses = optimizer.step(number, batch)
        done = number + 1
        if done % eval_every == 0 or done == steps:
            found = _snapshot(optimizer, val, criterion, done)
            if criterion.better(found, best):
                best, state = found, {name: tensor.clone() for name, tensor in optimizer.module.state_dict().items()}
        shown = done % FINETUNE_REPORT_EVERY == 0 or done == steps
        task.advance(1, **(losses.means("A baseline", done, ADVICE) if shown else {}))
    assert best
    load_weights(optimizer.module, state)
    optimizer.module.requires_grad_(False).eval()
    return best


def _snapshot(
    optimizer: BaselineOptimizer, val: Dataset, criterion: SelectionCriterion, step: int
) -> ValidationSnapshot:
    predictions = optimizer.predict(val)
    counts = count_predictions(val, predictions)
    return ValidationSnapshot(step, counts, criterion.score(counts), predictions.cpu())
