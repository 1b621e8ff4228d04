"""The common part of training steps under the objective: losses, their gradients at the logits, schedules.

Losses see detached logits (K, B, L), so their gradients there are cheap. The gradients from the logits back to the
trained parameters are in trainer/training/step.py for triggers, in trainer/baselines/finetune_step.py for whole models.

Where the model decides at a threshold all losses, of utility, of the groups' distance and the adversary's, are taken of
the decision's logits (triggers/model/decision.py): accuracy and gaps are counted from decisions, and a loss that stands
for them has to be steep where the decision changes. Without a threshold these are the logits themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, isfinite, pi

import torch
from torch import Tensor
from torch.optim import Adam

from trainer.config import ObjectiveConfig, TrainConfig
from trainer.config.hyperparameters import Hyperparameters
from trainer.data import Dataset
from trainer.training.objectives.adversary import Adversaries, adversary_loss
from trainer.training.objectives.objective import cell_weights, fair_gradients, group_distance, utility_loss
from triggers.errors import ConfigError
from triggers.model import FrozenClassifier

FINETUNE_REPORT_EVERY = 10
"""Steps between two reads of the losses: each read waits for the GPU."""


@dataclass(frozen=True, eq=False)
class StepConfig:
    """Settings of a step.

    `groups` counts identities, which may be `overlapping`. `cell_weights` (L, groups) weighs the rows of the utility
    loss by label and group; None: all alike. All losses see the decision's logits over `temperature`.
    """

    objective: ObjectiveConfig
    groups: int
    steps: int
    cell_weights: Tensor | None = None
    overlapping: bool = False
    temperature: float = 1.0

    @classmethod
    def for_data(
        cls, data: Dataset, objective: ObjectiveConfig, steps: int, *, overlapping: bool, temperature: float = 1.0
    ) -> StepConfig:
        """For a run over a training part, whose weights by label and group are counted if the objective wants them."""
        sizes = len(data.label_names), len(data.group_names)
        weights = cell_weights(data.labels, data.groups, sizes, objective)
        return cls(objective, len(data.identities), steps, weights, overlapping, temperature)


@dataclass(frozen=True, eq=False)
class Losses:
    """Losses of every strength before the step: utility (K,) and fairness (K,), the adversary's or the squared gap."""

    utility: Tensor
    fairness: Tensor

    def means(self, what: str, step: int, advice: str) -> dict[str, float]:
        """Means over the strengths, for a progress display. Raises ConfigError if one is NaN or infinite."""
        means = {"utility": self.utility.mean().item(), "fairness": self.fairness.mean().item()}
        if not all(map(isfinite, means.values())):
            raise ConfigError(f"{what} diverged, the losses of step {step} are {means}: {advice}")
        return means


class ObjectiveStep:
    """The K adversaries with their optimizer, and the losses of K systems.

    `rates` has the learning rate, its schedule and the seed of the adversaries; `sizes` is (L, groups).
    """

    def __init__(self, config: StepConfig, rates: TrainConfig | Hyperparameters, classifier: FrozenClassifier) -> None:
        objective, device, self.decision = config.objective, classifier.device, classifier.decision
        self.objective, self.steps, self.overlapping = objective, config.steps, config.overlapping
        self.temperature, self.rates = config.temperature, rates
        self.cell_weights = None if config.cell_weights is None else config.cell_weights.to(device)
        self.strengths = torch.tensor(objective.fixed_strengths, device=device)
        self.sizes = (len(classifier.labels), config.groups)
        self.adversaries = Adversaries(
            len(self.strengths),
            *self.sizes,
            criterion=objective.criterion,
            form=objective.adversary_input,
            with_logits=objective.with_logits,
            hidden=objective.adversary_hidden,
            seed=rates.seed,
        ).to(device)
        self.adversary_optimizer = adam(list(self.adversaries.parameters()), objective.adversary_lr)

    def cotangents(self, logits: Tensor, batch: Dataset) -> tuple[Losses, list[Tensor]]:
        """The losses of logits over the temperature (K, B, L), a leaf, and their gradients there (K, B, L).

        With an adversary two: of its own loss, by which it is updated too, and of utility; else one, of the sum.
        """
        leaf, logits = logits, self._decided(logits)
        weights = None if self.cell_weights is None else self.cell_weights[batch.labels, batch.groups]
        utility = utility_loss(logits, batch.labels, weights)
        if self.objective.name != "adversarial":
            fairness = self._distance(logits, batch)
            found = torch.autograd.grad((utility + self.strengths * fairness).sum(), leaf)
            return Losses(utility.detach(), fairness.detach()), list(found)
        fairness = adversary_loss(self.adversaries(logits, batch.labels), batch.members, overlapping=self.overlapping)
        losses = Losses(utility.detach(), fairness.detach())
        if self.objective.gap_weight:
            utility = utility + self.objective.gap_weight * self.strengths * self._distance(logits, batch)
        learning: list[Tensor] = list(self.adversaries.parameters())
        of_adversary, *theirs = torch.autograd.grad(fairness.sum(), [leaf, *learning], retain_graph=logits is not leaf)
        (of_utility,) = torch.autograd.grad(utility.sum(), leaf)
        descend(self.adversary_optimizer, learning, theirs)
        return losses, [of_adversary, of_utility]

    def fair_gradients(self, found: Sequence[Sequence[Tensor | None]]) -> list[Tensor | None]:
        """The gradients to descend, from those of the trained parameters under each cotangent of `cotangents`."""
        if len(found) == 1:
            return list(found[0])
        of_adversary, of_utility = found
        return fair_gradients(of_utility, of_adversary, self.strengths, projection=self.objective.projection)

    def _decided(self, logits: Tensor) -> Tensor:
        """The decision's logits over the temperature: the threshold is one of scores without a temperature."""
        if self.decision.threshold is None:
            return logits
        return self.decision.decision_logits(logits * self.temperature) / self.temperature

    def _distance(self, logits: Tensor, batch: Dataset) -> Tensor:
        return group_distance(logits, batch.labels, batch.members, self.objective, overlapping=self.overlapping)

    def set_learning_rates(self, optimizer: torch.optim.Optimizer, number: int) -> None:
        """Set the learning rates of step `number`, of an optimizer and of the adversaries' own."""
        factor = learning_rate_factor(self.rates.schedule, number / self.steps)
        set_rate(optimizer, factor * self.rates.lr)
        set_rate(self.adversary_optimizer, factor * self.objective.adversary_lr)


def learning_rate_factor(schedule: str, done: float) -> float:
    """Share of the learning rate after a share `done` of the run; `step` is the published one: x0.1 at 80% and 90%."""
    if schedule == "step":
        return 1.0 if done < 0.8 else 0.1 if done < 0.9 else 0.01
    return {"constant": 1.0, "linear": 1.0 - done, "cosine": 0.5 + 0.5 * cos(pi * done)}[schedule]


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of an optimizer."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)  # in place: a recorded step reads it
        else:
            group["lr"] = rate


def adam(parameters: Sequence[Tensor], lr: float, weight_decay: float = 0.0) -> Adam:
    """Adam, on a GPU in one kernel with its learning rate in a tensor, so that a step can be recorded."""
    if not parameters[0].is_cuda:
        return Adam(parameters, lr=lr, weight_decay=weight_decay)
    rate = torch.tensor(lr, device=parameters[0].device)
    return Adam(parameters, lr=rate, weight_decay=weight_decay, fused=True, capturable=True)


def descend(optimizer: torch.optim.Optimizer, parameters: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> None:
    """One step of the optimizer along given gradients; None: that parameter stays."""
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    optimizer.step()
