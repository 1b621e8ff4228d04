"""One training step: batch -> render -> forward -> losses -> gradients of the trigger -> surgery -> optimiser.

The step computes gradients of the trigger only; the frozen model's weights need none. Losses see detached logits
(K, B, L), so their gradients with respect to the logits are cheap. The expensive way back through the model is walked
once for both gradients where that is exact (trainer/passes.py), whatever the number K of strengths: each trigger sees
only its own rows.

Several processes (trainer/world.py) each run their own rows of a batch and compute the losses of all of them.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, pi

import torch
from torch import Tensor
from torch.optim import Adam

from trainer.adversary import Adversaries, adversary_loss
from trainer.config import ObjectiveConfig, TrainConfig
from trainer.data import Dataset
from trainer.objective import group_distance, plain_gradient, surgery, utility_loss
from trainer.passes import Pass, forward, leaves
from trainer.replay import Replay
from trainer.world import World
from triggers.classifier import Bank, FrozenClassifier
from triggers.image_modules import ImageModule
from triggers.text_modules import TextModule

DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True, eq=False)
class Losses:
    """Of every strength, before the step: utility (K,) and fairness (K,), the adversary's loss or the squared gap."""

    utility: Tensor
    fairness: Tensor

    def shown(self) -> dict[str, float]:
        """Means over the strengths, for a progress display."""
        return {"utility": self.utility.mean().item(), "fairness": self.fairness.mean().item()}


class Learner:
    """The K triggers in training, with their adversaries and optimisers; only `step` changes them.

    `average` is what to validate and keep: a running average of the triggers, or they themselves.
    `cell_weights` (L, groups) weighs the rows of the utility loss by label and group; None: all alike. All losses see
    the logits over `temperature`.
    """

    def __init__(
        self,
        classifier: FrozenClassifier,
        module: ImageModule | TextModule,
        groups: int,
        objective: ObjectiveConfig,
        train: TrainConfig,
        steps: int,
        cell_weights: Tensor | None = None,
        world: World | None = None,
        *,
        overlapping: bool = False,
        temperature: float = 1.0,
    ) -> None:
        device = classifier.device
        self.classifier, self.overlapping, self.temperature = classifier, overlapping, temperature
        self.module = module.to(device)
        self.objective, self.train, self.steps = objective, train, steps
        self.world = world or World()
        self.dtype = DTYPES[train.precision]
        self.fast = classifier.accelerated(self.dtype, compiled=train.compile)
        self.opposed = objective.centred and len(classifier.labels) == 2
        self.cell_weights = None if cell_weights is None else cell_weights.to(device)
        self.parameters: list[Tensor] = list(module.parameters())
        self.average = copy.deepcopy(self.module) if train.average else self.module
        self.strengths = torch.tensor(objective.strengths, device=device)
        self.sizes = (len(classifier.labels), groups)
        self.optimizer = _adam(self.parameters, train.lr, train.weight_decay)
        self.adversaries = _adversaries(objective, self.sizes, train.seed).to(device)
        self.adversary_optimizer = _adam(list(self.adversaries.parameters()), objective.adversary_lr)
        self._replay = Replay(self._run) if train.graph and device.type == "cuda" else None

    def step(self, number: int, batch: Dataset) -> Losses:
        """Train all K triggers on one batch; `number` counts from 0 and sets the learning rates.

        With several processes the batch's inputs are this process's part of its rows, labels and groups are all.
        """
        self._set_learning_rates(number)
        utility, fairness = self._replay(batch) if self._replay else self._run(batch)
        self._follow(number)
        return Losses(utility, fairness)

    def exchanged(self, rows: int) -> int:
        """Bytes that a step of `rows` rows passes between processes: logits, and the gradients of the triggers."""
        gradients = 2 if self.objective.name == "adversarial" else 1
        logits = len(self.strengths) * rows * self.sizes[0]
        return 4 * (logits + gradients * min(_entries(self.parameters), _entries(leaves(self.module.render()))))

    def _run(self, batch: Dataset) -> tuple[Tensor, Tensor]:
        """All of a step that is the same every time; utility and fairness losses (K,) before it."""
        bank = self.module.render()
        passed = forward(self.fast, batch.inputs, bank, self.dtype, opposed=self.opposed)
        seen = (self.world.gather(passed.logits, len(batch)) / self.temperature).requires_grad_()  # (K, B, L)
        utility = utility_loss(seen, batch.labels, self._row_weights(batch))
        if self.objective.name == "adversarial":
            guesses = self.adversaries(seen, batch.labels)
            fairness = adversary_loss(guesses, batch.members, overlapping=self.overlapping)
            gradients = self._fair_gradients(passed, seen, bank, batch, utility, fairness)
        else:
            fairness = self._distance(seen, batch)
            (cotangent,) = torch.autograd.grad((utility + self.strengths * fairness).sum(), seen)
            (gradients,) = self._pull(passed, bank, [cotangent])
        self._descend(gradients)
        return utility.detach(), fairness.detach()

    def _fair_gradients(
        self, passed: Pass, seen: Tensor, bank: Bank, batch: Dataset, utility: Tensor, guessing: Tensor
    ) -> Sequence[Tensor]:
        """One step of the adversaries on their loss, and the published gradient of each trigger parameter."""
        if self.objective.gap_weight:
            utility = utility + self.objective.gap_weight * self.strengths * self._distance(seen, batch)
        learning = list(self.adversaries.parameters())
        at_logits, *theirs = torch.autograd.grad(guessing.sum(), [seen, *learning])
        (of_utility,) = torch.autograd.grad(utility.sum(), seen)
        a, u = self._pull(passed, bank, [at_logits, of_utility])
        _step(self.adversary_optimizer, learning, theirs)
        fair = surgery if self.objective.projection else plain_gradient
        return [fair(du, da, self.strengths) for du, da in zip(u, a, strict=True)]

    def _distance(self, seen: Tensor, batch: Dataset) -> Tensor:
        return group_distance(seen, batch.labels, batch.members, self.objective, overlapping=self.overlapping)

    def _pull(self, passed: Pass, bank: Bank, cotangents: Sequence[Tensor]) -> list[Sequence[Tensor]]:
        """Gradients of R losses with respect to the trigger's parameters, given theirs at the seen logits (K, B, L).

        From trigger to parameters the way is the same in every process: sums are taken where there are fewer numbers.
        """
        part = self.world.part(cotangents[0].shape[1])
        pulled = passed.pull([cotangent[:, part] / self.temperature for cotangent in cotangents])
        early = _entries(leaves(bank)) < _entries(self.parameters)
        if early:
            self.world.sum_([gradient for each in pulled for gradient in each])
        found: list[Sequence[Tensor]] = [
            torch.autograd.grad(leaves(bank), self.parameters, gradients, retain_graph=True) for gradients in pulled
        ]
        if not early:
            self.world.sum_([gradient for each in found for gradient in each])
        return found

    def _row_weights(self, batch: Dataset) -> Tensor | None:
        return None if self.cell_weights is None else self.cell_weights[batch.labels, batch.groups]

    def _descend(self, gradients: Sequence[Tensor]) -> None:
        _step(self.optimizer, self.parameters, gradients)
        self.module.constrain_()

    def _follow(self, number: int) -> None:
        """Move the average; it starts short, so that it soon forgets the start."""
        if self.average is not self.module:
            decay = min(self.train.average, (1 + number) / (10 + number))
            with torch.no_grad():
                averages: list[Tensor] = list(self.average.parameters())
                torch._foreach_lerp_(averages, self.parameters, 1 - decay)

    def _set_learning_rates(self, number: int) -> None:
        factor = learning_rate_factor(self.train.schedule, number / self.steps)
        for optimizer, lr in ((self.optimizer, self.train.lr), (self.adversary_optimizer, self.objective.adversary_lr)):
            present = optimizer.param_groups[0]["lr"]
            if isinstance(present, Tensor):
                present.fill_(factor * lr)  # in place: a recorded step reads it
            else:
                optimizer.param_groups[0]["lr"] = factor * lr


def learning_rate_factor(schedule: str, done: float) -> float:
    """Share of the learning rate after a share `done` of the run; `step` is the published one: x0.1 at 80% and 90%."""
    if schedule == "step":
        return 1.0 if done < 0.8 else 0.1 if done < 0.9 else 0.01
    return {"constant": 1.0, "linear": 1.0 - done, "cosine": 0.5 + 0.5 * cos(pi * done)}[schedule]


def _entries(tensors: Sequence[Tensor]) -> int:
    return sum(tensor.numel() for tensor in tensors)


def _adam(parameters: Sequence[Tensor], lr: float, weight_decay: float = 0.0) -> Adam:
    """On a GPU in one kernel, with its learning rate in a tensor, so that a step can be recorded."""
    if not parameters[0].is_cuda:
        return Adam(parameters, lr=lr, weight_decay=weight_decay)
    rate = torch.tensor(lr, device=parameters[0].device)
    return Adam(parameters, lr=rate, weight_decay=weight_decay, fused=True, capturable=True)


def _step(optimizer: Adam, parameters: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    optimizer.step()


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
