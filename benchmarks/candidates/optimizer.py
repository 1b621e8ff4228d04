"""The step that trains a candidate: the product's losses, adversaries and surgery, whatever makes the logits."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.candidates.candidate import Candidate
from trainer.config import TrainConfig
from trainer.data import Dataset
from trainer.training.objectives.objective_step import Losses, ObjectiveStep, StepConfig, adam, descend
from trainer.training.step import COMPUTE_DTYPES
from triggers.model import FrozenClassifier


class CandidateOptimizer(ObjectiveStep):
    """A candidate of K strengths in training, with its adversaries and optimizers; only `step` changes them."""

    def __init__(
        self, classifier: FrozenClassifier, candidate: Candidate, train: TrainConfig, config: StepConfig
    ) -> None:
        super().__init__(config, train, classifier)
        self.candidate = candidate
        self.fast = classifier.accelerated(COMPUTE_DTYPES[train.precision])
        self.groups = candidate.groups()
        self.optimizers = [adam(group, train.lr, train.weight_decay) for group, _ in self.groups]

    def step(self, number: int, batch: Dataset) -> Losses:
        """Train all K on one batch; `number` counts from 0 and sets the learning rates."""
        for optimizer, (_, share) in zip(self.optimizers, self.groups, strict=True):
            self.set_learning_rates(optimizer, number)
            for settings in optimizer.param_groups:
                settings["lr"] *= share
        logits = self.candidate.logits(self.fast, batch.inputs)
        losses, cotangents = self.cotangents((logits.detach() / self.temperature).requires_grad_(), batch)
        last = len(cotangents) - 1
        parameters = [one for group, _ in self.groups for one in group]
        found: list[list[Tensor | None]] = [
            list(torch.autograd.grad(logits, parameters, each / self.temperature, retain_graph=at < last))
            for at, each in enumerate(cotangents)
        ]
        gradients = iter(self.fair_gradients(found))
        for optimizer, (group, _) in zip(self.optimizers, self.groups, strict=True):
            descend(optimizer, group, [next(gradients) for _ in group])
        self.candidate.change.constrain_()
        return losses
