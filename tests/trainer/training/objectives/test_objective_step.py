"""The learning rates of a step, also where a recorded step reads them from a tensor."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD

from trainer.config.run_config import ObjectiveConfig, TrainConfig
from trainer.training.objectives.objective_step import ObjectiveStep, StepConfig
from triggers.model import FrozenClassifier


def test_a_learning_rate_in_a_tensor_follows_the_schedule_in_place(digits_classifier: FrozenClassifier) -> None:
    """As on a GPU, where a recorded step keeps reading the same tensor; an optimizer on a CPU takes one too."""
    objective, train = (
        ObjectiveConfig(strengths=(1.0,), adversary_lr=0.1),
        TrainConfig(steps=10, schedule="linear", lr=0.5),
    )
    step = ObjectiveStep(StepConfig(objective, 2, 10), train, digits_classifier)
    recorded = torch.tensor(0.5)
    optimizer = SGD([nn.Parameter(torch.zeros(1))], lr=recorded)
    for number, share in ((0, 1.0), (3, 0.7), (9, 0.1)):
        step.set_learning_rates(optimizer, number)
        (group,), (of_adversary,) = optimizer.param_groups, step.adversary_optimizer.param_groups
        assert group["lr"] is recorded and recorded.item() == pytest.approx(share * 0.5)
        assert not isinstance(of_adversary["lr"], Tensor) and of_adversary["lr"] == pytest.approx(share * 0.1)
