"""One adversarial training step of a whole classifier, weights and all: for the baselines AdvIN and AdvPost.

Source: Zhang, Lemoine and Mitchell 2018, as "Fairness Reprogramming" (arXiv 2209.10222) runs it for its baselines.
Losses, adversary and surgery are the triggers'; norm and projection are taken per weight tensor, as published. The
network is in train mode, as in fitting the base: batch norms use the batch and update their averages, dropout is on.
Departures, with those of objectives/objective.py: biases and norms are trained; in the released code the text
optimiser's parameter groups lose them.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.optim import AdamW

from trainer.baselines.erm import parameter_groups
from trainer.config.hyperparameters import Hyperparameters
from trainer.data import Dataset
from trainer.evaluation.counts import predicted_labels
from trainer.training.objectives.objective_step import Losses, ObjectiveStep, StepConfig, descend
from triggers.model import FrozenClassifier, sweep


class FinetuneOptimizer(ObjectiveStep):
    """A classifier with all of its weights in training, its adversary and their optimizers; only `step` changes them.

    The objective has one strength.
    """

    def __init__(self, model: FrozenClassifier, hyperparameters: Hyperparameters, config: StepConfig) -> None:
        super().__init__(config, hyperparameters, model)
        self.model, self.hyperparameters = model, hyperparameters
        self.module = model.network
        self.bare = model.bank([model.null_trigger()])
        self.parameters = list(model.network.requires_grad_(True).parameters())
        self.optimizer = AdamW(
            parameter_groups(model.network, hyperparameters.weight_decay), fused=model.device.type == "cuda"
        )

    def step(self, number: int, batch: Dataset) -> Losses:
        """Train the model and its adversary on one batch; `number` counts from 0 and sets the learning rates."""
        self.set_learning_rates(self.optimizer, number)
        logits = self._forward(batch)  # (1, B, L), with the graph back to the weights
        losses, cotangents = self.cotangents(logits.detach().requires_grad_(), batch)
        last = len(cotangents) - 1
        found = [self._vjp(logits, each, keep=at < last) for at, each in enumerate(cotangents)]
        descend(self.optimizer, self.parameters, self.fair_gradients(found))
        return losses

    def predict(self, data: Dataset) -> Tensor:
        """Predicted labels (N,) with the weights as they are now, in eval mode."""
        self.module.eval()
        return predicted_labels(self.model, data, self.bare, self.hyperparameters.batch_size)[0]

    def _forward(self, batch: Dataset) -> Tensor:
        self.model.network.train()
        with torch.autocast(self.model.device.type, torch.bfloat16, enabled=self.hyperparameters.bf16):
            return sweep(self.model, batch.inputs, self.bare)

    def _vjp(self, logits: Tensor, at_logits: Tensor, *, keep: bool = False) -> list[Tensor | None]:
        """Gradients of the weights from a loss's gradient at the logits; None for a weight without influence."""
        return list(torch.autograd.grad(logits, self.parameters, at_logits, retain_graph=keep, allow_unused=True))
