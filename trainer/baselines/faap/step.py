"""One training step of FAAP: its discriminator on the frozen model's features, then its generator against it.

Source: Wang et al., "Fairness-aware Adversarial Perturbation Towards Bias Mitigation for Deployed Deep Models" (CVPR
2022, arXiv 2203.01584). The discriminator D learns to tell the group from the features of perturbed images; the
generator descends label loss - strength * (D's loss + ENTROPY * entropy of D's guess): without the entropy it would
only exchange the groups. The gradient runs through the frozen model to the generator: without it nothing is learned.
Departures:

- The label loss is taken of the decision's logits over the temperature that triggers are trained with.
- Features are scaled to mean 0 and variance 1, as they are on the tuning part without a perturbation.
- For equalized odds the discriminator also reads the label (as Zhang et al. 2018 condition their adversary): then it
  need not be fooled by what the label tells. For demographic parity it reads the features alone.
- Where groups overlap, it guesses each identity by itself.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.baselines.faap.perturbed_classifier import PerturbedClassifier
from trainer.config.hyperparameters import Hyperparameters
from trainer.config.run_config import Criterion
from trainer.data import Dataset
from trainer.evaluation.network_outputs import captured_features, network_outputs
from trainer.training.objectives.adversary import adversary_loss
from trainer.training.objectives.objective import utility_loss
from trainer.training.objectives.objective_step import Losses, adam, descend, learning_rate_factor, set_rate
from triggers.model import FrozenClassifier

ENTROPY = 0.25
"""Weight of the entropy beside the discriminator's loss."""

HIDDEN = 128
SLOWER = 0.2
"""The discriminator's learning rate as a share of the generator's."""


class GroupDiscriminator(nn.Module):
    """Features (B, F), and for equalized odds labels (B,), to logits over groups (B, G)."""

    def __init__(
        self, centre: Tensor, scale: Tensor, sizes: tuple[int, int], criterion: Criterion, hidden: int = HIDDEN
    ) -> None:
        super().__init__()
        self.centre, self.scale = centre, scale
        self.labels = sizes[0] if criterion == "equalized_odds" else 0
        width = len(centre) + self.labels
        self.layers = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, sizes[1]))

    @classmethod
    def for_data(
        cls, classifier: FrozenClassifier, data: Dataset, criterion: Criterion, rows: int
    ) -> GroupDiscriminator:
        """For the features that a part of the data has without a perturbation, computed `rows` at a time."""
        (bare,) = network_outputs(classifier, data, [classifier.null_trigger()], rows)
        scale = bare.features.std(dim=0, correction=0)
        scale = torch.where(scale > 1e-6, scale, 1.0)
        sizes = len(classifier.labels), len(data.identities)
        centre, scale = (one.to(classifier.device) for one in (bare.features.mean(dim=0), scale))
        return cls(centre, scale, sizes, criterion).to(classifier.device)

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Guesses of the group."""
        read = (features - self.centre) / self.scale
        if self.labels:
            read = torch.cat([read, functional.one_hot(labels, self.labels).to(read.dtype)], dim=1)
        return cast(Tensor, self.layers(read))


class FaapOptimizer:
    """A generator in training with its discriminator and their optimizers; only `step` changes them."""

    def __init__(
        self,
        model: PerturbedClassifier,
        discriminator: GroupDiscriminator,
        hyperparameters: Hyperparameters,
        steps: int,
        strength: float,
        *,
        temperature: float = 1.0,
        overlapping: bool = False,
    ) -> None:
        self.model, self.discriminator, self.hyperparameters = model, discriminator, hyperparameters
        self.steps, self.strength = steps, strength
        self.temperature, self.overlapping = temperature, overlapping
        self.module: nn.Module = model.generator
        dtype = torch.bfloat16 if hyperparameters.bf16 else torch.float32
        self.fast = model.classifier.accelerated(dtype)
        self.parameters: list[Tensor] = list(model.generator.parameters())
        self.optimizer = adam(self.parameters, hyperparameters.lr, hyperparameters.weight_decay)
        self.theirs: list[Tensor] = list(discriminator.parameters())
        self.their_optimizer = adam(self.theirs, SLOWER * hyperparameters.lr)

    def step(self, number: int, batch: Dataset) -> Losses:
        """Train the discriminator, then the generator, on one batch; `number` counts from 0."""
        self._set_learning_rates(number)
        with captured_features(self.fast) as features_of:
            logits = self.fast.image_logits(self.model.generator.perturbed(cast(Tensor, batch.inputs)))
            features = features_of(logits).float()
        told = self._loss(self.discriminator(features.detach(), batch.labels), batch)
        descend(self.their_optimizer, self.theirs, torch.autograd.grad(told, self.theirs))
        guesses = self.discriminator(features, batch.labels)
        decided = self.model.classifier.decision.decision_logits(logits) / self.temperature
        label = utility_loss(decided[None], batch.labels)[0]
        fooled = self._loss(guesses, batch) + ENTROPY * guess_entropy(guesses, overlapping=self.overlapping)
        gradients = torch.autograd.grad(label - self.strength * fooled, self.parameters)
        descend(self.optimizer, self.parameters, gradients)
        return Losses(label.detach()[None], told.detach()[None])

    def predict(self, data: Dataset) -> Tensor:
        """Predicted labels (N,) with the generator as it is now."""
        return self.model.predict(data, self.hyperparameters.batch_size)

    def _loss(self, guesses: Tensor, batch: Dataset) -> Tensor:
        return adversary_loss(guesses[None], batch.members, overlapping=self.overlapping)[0]

    def _set_learning_rates(self, number: int) -> None:
        rate = self.hyperparameters.lr * learning_rate_factor(self.hyperparameters.schedule, number / self.steps)
        set_rate(self.optimizer, rate)
        set_rate(self.their_optimizer, SLOWER * rate)


def guess_entropy(guesses: Tensor, *, overlapping: bool = False) -> Tensor:
    """Mean entropy, in nats, of guesses (B, G): of the distribution over groups, or where they overlap of each one."""
    if overlapping:
        return functional.binary_cross_entropy_with_logits(guesses, torch.sigmoid(guesses))
    return functional.cross_entropy(guesses, torch.softmax(guesses, dim=1))
