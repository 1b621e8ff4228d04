"""The loop that trains a whole classifier for fairness, and keeps it as it was at its best validation.

The rule is that of triggers: above the accuracy floor the smallest gap. Departure from the released code: there, texts
have no floor, so that a constant predictor may win, and images pick the worst cell's accuracy, whatever the gap.
"""

from __future__ import annotations

from torch import Tensor

from trainer.baselines.finetune_step import WeightLearner
from trainer.config import ObjectiveConfig
from trainer.config.hyperparameters import Recipe
from trainer.data import Batches, Dataset
from trainer.evaluation import Judge, confusion_counts
from trainer.evaluation.selection import Snapshot
from trainer.progress import Task
from trainer.training.objective_step import REPORT_EVERY, StepConfig
from triggers.model import FrozenClassifier

ADVICE = "lower baselines.lr or baselines.strengths."


def train_weights(
    model: FrozenClassifier,
    train: Dataset,
    val: Dataset,
    objective: ObjectiveConfig,
    recipe: Recipe,
    judge: Judge,
    task: Task,
    *,
    overlapping: bool = False,
) -> Snapshot:
    """Train every weight of `model` and leave it as at its best validation, frozen again; returns that snapshot.

    Raises ConfigError if the training diverges.
    """
    steps = recipe.steps(len(train))
    config = StepConfig.for_data(train, objective, steps, overlapping=overlapping)
    learner = WeightLearner(model, recipe, config)
    batches = Batches(
        train, recipe.batch_size, seed=recipe.seed, flip=recipe.flip, shift=recipe.shift, device=model.device
    )
    eval_every = recipe.eval_every or max(1, steps // 10)
    best: Snapshot | None = None
    state: dict[str, Tensor] = {}
    for number, batch in enumerate(batches.each(range(steps))):
        losses = learner.step(number, batch)
        done = number + 1
        if done % eval_every == 0 or done == steps:
            snapshot = _snapshot(learner, val, judge, done)
            if judge.better(snapshot, best):
                best, state = snapshot, {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
        shown = done % REPORT_EVERY == 0 or done == steps
        task.advance(1, **(losses.means("A baseline", done, ADVICE) if shown else {}))
    assert best
    model.network.load_state_dict(state)
    model.network.requires_grad_(False).eval()
    return best


def _snapshot(learner: WeightLearner, val: Dataset, judge: Judge, step: int) -> Snapshot:
    learner.model.network.eval()
    (counts,) = confusion_counts(learner.model, val, learner.bare, learner.recipe.batch_size)
    return Snapshot(step, counts, judge.score(counts))
