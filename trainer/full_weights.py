"""The loop that trains a whole classifier for fairness, and keeps it as it was at its best validation.

The rule is that of triggers: above the accuracy floor the smallest gap. Departure from the released code: there, texts
have no floor, so that a constant predictor may win, and images pick the worst cell's accuracy, whatever the gap.
"""

from __future__ import annotations

from math import isfinite

from torch import Tensor

from trainer.batches import Batches
from trainer.config import ObjectiveConfig
from trainer.data import Dataset
from trainer.evaluate import confusion_counts
from trainer.objective import cell_weights
from trainer.progress import Task
from trainer.recipe import Recipe
from trainer.select import Judge, Snapshot
from trainer.step import Losses
from trainer.weight_learner import WeightLearner
from triggers.classifier import FrozenClassifier
from triggers.errors import ConfigError

REPORT_EVERY = 10
"""Steps between two looks at the losses: each look makes a GPU wait."""


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
    learner = WeightLearner(
        model, len(train.identities), objective, recipe, steps, _cell_weights(train, objective), overlapping=overlapping
    )
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
        task.advance(1, **(_shown(losses, done) if done % REPORT_EVERY == 0 or done == steps else {}))
    assert best
    model.network.load_state_dict(state)
    model.network.requires_grad_(False).eval()
    return best


def _cell_weights(train: Dataset, objective: ObjectiveConfig) -> Tensor | None:
    return cell_weights(train.labels, train.groups, (len(train.label_names), len(train.group_names)), objective)


def _snapshot(learner: WeightLearner, val: Dataset, judge: Judge, step: int) -> Snapshot:
    learner.model.network.eval()
    (counts,) = confusion_counts(learner.model, val, learner.bare, learner.recipe.batch_size)
    return Snapshot(step, counts, judge.score(counts))


def _shown(losses: Losses, step: int) -> dict[str, float]:
    """Losses for the display. Raises ConfigError once they are no numbers any more."""
    shown = losses.shown()
    if not all(map(isfinite, shown.values())):
        raise ConfigError(
            f"A baseline diverged, the losses of step {step} are {shown}: lower baselines.lr or baselines.strengths."
        )
    return shown
