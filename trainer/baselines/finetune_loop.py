"""The training loop of a baseline: trains a whole classifier for fairness and keeps its best validation snapshot.

The rule is the triggers' own: above the accuracy floor the smallest gap. Departure from the released code: there, texts
have no floor, so that a constant predictor may win, and images pick the worst cell's accuracy, whatever the gap.
"""

from __future__ import annotations

from torch import Tensor

from trainer.baselines.finetune_step import FinetuneOptimizer
from trainer.config import ObjectiveConfig
from trainer.config.hyperparameters import Hyperparameters
from trainer.data import Batches, Dataset
from trainer.evaluation import SelectionCriterion, confusion_counts
from trainer.evaluation.selection import ValidationSnapshot
from trainer.progress import Task
from trainer.training.objective_step import FINETUNE_REPORT_EVERY, StepConfig
from triggers.model import FrozenClassifier
from triggers.model.networks.checkpoint import load_weights

ADVICE = "lower baselines.lr or baselines.strengths."


def finetune(
    model: FrozenClassifier,
    train: Dataset,
    val: Dataset,
    objective: ObjectiveConfig,
    hyperparameters: Hyperparameters,
    criterion: SelectionCriterion,
    task: Task,
    *,
    overlapping: bool = False,
) -> ValidationSnapshot:
    """Train every weight of `model`, restore and freeze its best validation snapshot, and return that snapshot.

    Raises ConfigError if the training diverges.
    """
    steps = hyperparameters.steps(len(train))
    config = StepConfig.for_data(train, objective, steps, overlapping=overlapping)
    optimizer = FinetuneOptimizer(model, hyperparameters, config)
    batches = Batches(
        train,
        hyperparameters.batch_size,
        seed=hyperparameters.seed,
        flip=hyperparameters.flip,
        shift=hyperparameters.shift,
        crop=hyperparameters.crop,
        device=model.device,
    )
    eval_every = hyperparameters.eval_every or max(1, steps // 10)
    best: ValidationSnapshot | None = None
    state: dict[str, Tensor] = {}
    for number, batch in enumerate(batches.each(range(steps))):
        losses = optimizer.step(number, batch)
        done = number + 1
        if done % eval_every == 0 or done == steps:
            snapshot = _snapshot(optimizer, val, criterion, done)
            if criterion.better(snapshot, best):
                best, state = snapshot, {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
        shown = done % FINETUNE_REPORT_EVERY == 0 or done == steps
        task.advance(1, **(losses.means("A baseline", done, ADVICE) if shown else {}))
    assert best
    load_weights(model.network, state)
    model.network.requires_grad_(False).eval()
    return best


def _snapshot(
    optimizer: FinetuneOptimizer, val: Dataset, criterion: SelectionCriterion, step: int
) -> ValidationSnapshot:
    optimizer.model.network.eval()
    (counts,) = confusion_counts(optimizer.model, val, optimizer.bare, optimizer.hyperparameters.batch_size)
    return ValidationSnapshot(step, counts, criterion.score(counts))
