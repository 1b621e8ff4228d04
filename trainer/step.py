"""One training step: batch -> render -> reprogram -> losses -> vector-Jacobian products -> surgery -> optimiser.

The step computes gradients of the trigger only; the frozen model's weights need none. Losses see detached logits
(K, B, L), so their gradients with respect to the logits are cheap, and the expensive way back through the model is
walked once for the gap objective and twice for the adversarial one, whatever the number K of strengths: each trigger
sees only its own rows, so one product with the sum over K holds the gradient of every trigger.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, pi

import torch
from torch import Tensor
from torch.optim import Adam

from trainer.adversary import Adversaries, adversary_loss
from trainer.config import ObjectiveConfig, TrainConfig
from trainer.data import Dataset
from trainer.objective import distance_loss, gap_loss, membership, plain_gradient, strata, surgery, utility_loss
from triggers.classifier import FrozenClassifier
from triggers.image_modules import ImageModule
from triggers.reprogram import sweep
from triggers.text_modules import TextModule


@dataclass(frozen=True, eq=False)
class Losses:
    """Of every strength, before the step: utility (K,) and fairness (K,), the adversary's loss or the squared gap."""

    utility: Tensor
    fairness: Tensor

    def shown(self) -> dict[str, float]:
        """Means over the strengths, for a progress display."""
        return {"utility": self.utility.mean().item(), "fairness": self.fairness.mean().item()}


class Learner:
    """The K triggers in training, with their adversaries and optimisers; only `step` changes them."""

    def __init__(
        self,
        classifier: FrozenClassifier,
        module: ImageModule | TextModule,
        groups: int,
        objective: ObjectiveConfig,
        train: TrainConfig,
        steps: int,
        *,
        overlapping: bool = False,
    ) -> None:
        self.classifier, self.overlapping = classifier, overlapping
        self.module = module.to(classifier.device)
        self.objective, self.train, self.steps = objective, train, steps
        self.parameters = list(module.parameters())
        self.strengths = torch.tensor(objective.strengths, device=classifier.device)
        self.sizes = (len(classifier.labels), groups)
        self.optimizer = Adam(self.parameters, lr=train.lr, weight_decay=train.weight_decay)
        self.adversaries = _adversaries(objective, self.sizes, train.seed).to(classifier.device)
        self.adversary_optimizer = Adam(self.adversaries.parameters(), lr=objective.adversary_lr)

    def step(self, number: int, batch: Dataset) -> Losses:
        """Train all K triggers on one batch; `number` counts from 0 and sets the learning rates."""
        self._set_learning_rates(number)
        logits = self._forward(batch)  # (K, B, L), with the graph back to the triggers
        seen = logits.detach().requires_grad_()
        utility = utility_loss(seen, batch.labels)
        if self.objective.name == "gap":
            fairness = self._gap(seen, batch)
            gradients = self._pull(logits, seen, utility + self.strengths * fairness)
        else:
            fairness = self._guessing(seen, batch)
            gradients = self._fair_gradients(logits, seen, utility, fairness)
        self._descend(gradients)
        return Losses(utility.detach(), fairness.detach())

    def _forward(self, batch: Dataset) -> Tensor:
        bank = self.module.render()
        with torch.autocast(self.classifier.device.type, torch.bfloat16, enabled=self.train.precision == "bf16"):
            return sweep(self.classifier, batch.inputs, bank)

    def _fair_gradients(self, logits: Tensor, seen: Tensor, utility: Tensor, guessing: Tensor) -> list[Tensor]:
        """One step of the adversaries on their loss, and the published gradient of each trigger parameter."""
        a = self._pull(logits, seen, guessing, keep=True, also=list(self.adversaries.parameters()))
        u = self._pull(logits, seen, utility)
        self.adversary_optimizer.step()
        fair = surgery if self.objective.projection else plain_gradient
        return [fair(du, da, self.strengths) for du, da in zip(u, a, strict=True)]

    def _pull(
        self, logits: Tensor, seen: Tensor, loss: Tensor, *, keep: bool = False, also: Sequence[Tensor] = ()
    ) -> Sequence[Tensor]:
        """Gradients of a loss (K,) of the logits with respect to the trigger: one product through the model.

        Parameters in `also`, on which the loss depends directly, get their .grad.
        """
        at_logits, *others = torch.autograd.grad(loss.sum(), [seen, *also])
        for parameter, gradient in zip(also, others, strict=True):
            parameter.grad = gradient
        return torch.autograd.grad(logits, self.parameters, at_logits, retain_graph=keep)

    def _descend(self, gradients: Sequence[Tensor]) -> None:
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        self.optimizer.step()
        self.module.constrain_()

    def _gap(self, logits: Tensor, batch: Dataset) -> Tensor:
        criterion, temperature = self.objective.criterion, self.objective.temperature
        members = membership(batch.labels, batch.members, criterion, self.sizes[0])
        if self.overlapping:
            return distance_loss(logits, members, strata(batch.labels, criterion, self.sizes[0]), temperature)
        return gap_loss(logits, members, temperature)

    def _guessing(self, logits: Tensor, batch: Dataset) -> Tensor:
        return adversary_loss(self.adversaries(logits, batch.labels), batch.members, overlapping=self.overlapping)

    def _set_learning_rates(self, number: int) -> None:
        factor = learning_rate_factor(self.train.schedule, number / self.steps)
        self.optimizer.param_groups[0]["lr"] = factor * self.train.lr
        self.adversary_optimizer.param_groups[0]["lr"] = factor * self.objective.adversary_lr


def learning_rate_factor(schedule: str, done: float) -> float:
    """Share of the learning rate after a share `done` of the run; `step` is the published one: x0.1 at 80% and 90%."""
    if schedule == "step":
        return 1.0 if done < 0.8 else 0.1 if done < 0.9 else 0.01
    return {"constant": 1.0, "linear": 1.0 - done, "cosine": 0.5 + 0.5 * cos(pi * done)}[schedule]


def _adversaries(objective: ObjectiveConfig, sizes: tuple[int, int], seed: int) -> Adversaries:
    return Adversaries(
        len(objective.strengths),
        *sizes,
        criterion=objective.criterion,
        form=objective.adversary_input,
        with_logits=objective.with_logits,
        hidden=objective.adversary_hidden,
        seed=seed,
    )
