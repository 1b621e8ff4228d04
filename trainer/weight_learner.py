"""One step of adversarial training of a whole classifier, weights and all: for the baselines AdvIN and AdvPost.

Source: Zhang, Lemoine and Mitchell 2018, as "Fairness Reprogramming" (arXiv 2209.10222) runs it for its baselines. The
losses, the adversary and the surgery are those of triggers; norm and projection are taken per weight tensor, as
published. The network is in train mode, as in fitting the base: batch norms use the batch and go on averaging, dropout
is on. Beside the departures in trainer/objective.py: biases and norms are trained; in the released code the text
optimiser's parameter groups lose them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim import Adam, AdamW

from trainer.adversary import Adversaries, adversary_loss
from trainer.base_classifier import parameter_groups
from trainer.config import ObjectiveConfig
from trainer.data import Dataset
from trainer.objective import group_distance, plain_gradient, surgery, utility_loss
from trainer.recipe import Recipe
from trainer.step import Losses, learning_rate_factor
from triggers.classifier import FrozenClassifier
from triggers.reprogram import sweep


class WeightLearner:
    """A classifier with all of its weights in training, its adversary and their optimisers; only `step` changes them.

    `objective` has one strength. `groups` counts identities, which may be `overlapping`. `cell_weights` (L, groups)
    weighs the rows of the utility loss; None: all alike.
    """

    def __init__(
        self,
        model: FrozenClassifier,
        groups: int,
        objective: ObjectiveConfig,
        recipe: Recipe,
        steps: int,
        cell_weights: Tensor | None = None,
        *,
        overlapping: bool = False,
    ) -> None:
        self.overlapping = overlapping
        self.model, self.objective, self.recipe, self.steps = model, objective, recipe, steps
        self.sizes = (len(model.labels), groups)
        self.strength = torch.tensor(objective.strengths, device=model.device)  # (1,)
        self.cell_weights = None if cell_weights is None else cell_weights.to(model.device)
        self.bare = model.bank([model.null_trigger()])
        self.parameters = list(model.network.requires_grad_(True).parameters())
        self.optimizer = AdamW(parameter_groups(model.network, recipe.weight_decay), fused=model.device.type == "cuda")
        self.adversary = _adversary(objective, self.sizes, recipe.seed).to(model.device)
        self.adversary_optimizer = Adam(self.adversary.parameters(), lr=objective.adversary_lr)

    def step(self, number: int, batch: Dataset) -> Losses:
        """Train the model and its adversary on one batch; `number` counts from 0 and sets the learning rates."""
        self._set_learning_rates(number)
        logits = self._forward(batch)  # (1, B, L), with the graph back to the weights
        seen = logits.detach().requires_grad_()
        weights = None if self.cell_weights is None else self.cell_weights[batch.labels, batch.groups]
        utility = utility_loss(seen, batch.labels, weights)
        if self.objective.name == "adversarial":
            guesses = self.adversary(seen, batch.labels)
            fairness = adversary_loss(guesses, batch.members, overlapping=self.overlapping)
            gradients = self._fair_gradients(logits, seen, batch, utility, fairness)
        else:
            fairness = self._distance(seen, batch)
            (at_logits,) = torch.autograd.grad((utility + self.strength * fairness).sum(), seen)
            gradients = self._pull(logits, at_logits)
        self._descend(gradients)
        return Losses(utility.detach(), fairness.detach())

    def _forward(self, batch: Dataset) -> Tensor:
        self.model.network.train()
        with torch.autocast(self.model.device.type, torch.bfloat16, enabled=self.recipe.bf16):
            return sweep(self.model, batch.inputs, self.bare)

    def _fair_gradients(
        self, logits: Tensor, seen: Tensor, batch: Dataset, utility: Tensor, guessing: Tensor
    ) -> list[Tensor | None]:
        """One step of the adversary on its loss, and the fair gradient of every weight tensor."""
        if self.objective.gap_weight:
            utility = utility + self.objective.gap_weight * self.strength * self._distance(seen, batch)
        learning = list(self.adversary.parameters())
        at_logits, *theirs = torch.autograd.grad(guessing.sum(), [seen, *learning])
        (of_utility,) = torch.autograd.grad(utility.sum(), seen)
        a = self._pull(logits, at_logits, keep=True)
        u = self._pull(logits, of_utility)
        for parameter, gradient in zip(learning, theirs, strict=True):
            parameter.grad = gradient
        self.adversary_optimizer.step()
        return fair_gradients(u, a, self.strength, projection=self.objective.projection)

    def _distance(self, seen: Tensor, batch: Dataset) -> Tensor:
        return group_distance(seen, batch.labels, batch.members, self.objective, overlapping=self.overlapping)

    def _pull(self, logits: Tensor, at_logits: Tensor, *, keep: bool = False) -> list[Tensor | None]:
        """Gradients of the weights, given a loss's at the logits; None for a weight that the logits do not read."""
        return list(torch.autograd.grad(logits, self.parameters, at_logits, retain_graph=keep, allow_unused=True))

    def _descend(self, gradients: Sequence[Tensor | None]) -> None:
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        self.optimizer.step()

    def _set_learning_rates(self, number: int) -> None:
        factor = learning_rate_factor(self.recipe.schedule, number / self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = factor * self.recipe.lr
        self.adversary_optimizer.param_groups[0]["lr"] = factor * self.objective.adversary_lr


def fair_gradients(
    u: Sequence[Tensor | None], a: Sequence[Tensor | None], strength: Tensor, *, projection: bool
) -> list[Tensor | None]:
    """u - (u.â)â - strength * a of every weight tensor by itself; without projection u - strength * a.

    strength (1,). None for a weight that has no gradient.
    """
    fair = surgery if projection else plain_gradient
    return [
        None if du is None or da is None else fair(du.reshape(1, -1), da.reshape(1, -1), strength).view_as(du)
        for du, da in zip(u, a, strict=True)
    ]


def _adversary(objective: ObjectiveConfig, sizes: tuple[int, int], seed: int) -> Adversaries:
    return Adversaries(
        1,
        *sizes,
        criterion=objective.criterion,
        form=objective.adversary_input,
        with_logits=objective.with_logits,
        hidden=objective.adversary_hidden,
        seed=seed,
    )
