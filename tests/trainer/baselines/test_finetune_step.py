"""The step that trains whole models: surgery tensor by tensor, the published gradient, every weight in training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import torch

from tests.bundles import torchvision_bundle
from tests.trainer.datasets import comments, digits
from tests.trainer.runs import RECIPE
from trainer.baselines.finetune_step import FinetuneOptimizer
from trainer.config.hyperparameters import Hyperparameters
from trainer.config.run_config import ObjectiveConfig
from trainer.data.batches import Batches
from trainer.data.dataset import Dataset
from trainer.training.objectives.adversary import adversary_loss
from trainer.training.objectives.objective import fair_gradients, utility_loss
from trainer.training.objectives.objective_step import StepConfig
from triggers.model import load_bundle
from triggers.model.reprogram import sweep

Name = Literal["adversarial", "gap", "mmd"]


def learner_for(
    folder: Path, objective: ObjectiveConfig, recipe: Hyperparameters = RECIPE, steps: int = 10
) -> FinetuneOptimizer:
    torch.manual_seed(0)
    return FinetuneOptimizer(load_bundle(digits.fit_bundle(folder, epochs=2)), recipe, StepConfig(objective, 2, steps))


def batch(rows: int = 64) -> Dataset:
    return Batches(digits.splits().tuning, rows, seed=0).batch(0)


def test_norm_and_projection_are_taken_per_weight_tensor() -> None:
    u = [torch.tensor([3.0, 4.0]), torch.tensor([[1.0], [1.0]]), torch.tensor(5.0)]
    a = [torch.tensor([0.0, 2.0]), torch.tensor([[3.0], [0.0]]), torch.tensor(-2.0)]
    first, second, third = fair_gradients(u, a, torch.tensor([0.5]), projection=True)
    assert first is not None and second is not None and third is not None
    assert torch.allclose(first, torch.tensor([3.0, -1.0]))  # â = (0, 1): u without its 4, less half of a
    assert torch.allclose(second, torch.tensor([[-1.5], [1.0]]))  # over both tensors together it would be another
    assert torch.allclose(third, torch.tensor(1.0))  # one number is all along â: only - 0.5 * -2 is left


def test_without_projection_the_gradient_is_plain() -> None:
    u, a = [torch.tensor([3.0, 4.0])], [torch.tensor([0.0, 2.0])]
    (found,) = fair_gradients(u, a, torch.tensor([2.0]), projection=False)
    assert found is not None and torch.allclose(found, torch.tensor([3.0, 0.0]))


def test_weights_that_the_adversary_does_not_reach_follow_the_utility_alone() -> None:
    u = torch.tensor([3.0, 4.0])
    found = fair_gradients([u, None], [torch.zeros(2), None], torch.tensor([100.0]), projection=True)
    assert found[0] is not None and torch.equal(found[0], u)
    assert found[1] is None


def test_the_step_descends_the_fair_gradient_of_every_tensor(tmp_path: Path) -> None:
    learner = learner_for(tmp_path, ObjectiveConfig(strengths=(3.0,)))
    one = batch()
    logits = sweep(learner.model, one.inputs, learner.bare)
    guessing = adversary_loss(learner.adversaries(logits, one.labels), one.members).sum()
    a = torch.autograd.grad(guessing, learner.parameters, retain_graph=True)
    u = torch.autograd.grad(utility_loss(logits, one.labels).sum(), learner.parameters)
    learner.step(0, one)
    for parameter, du, da in zip(learner.parameters, u, a, strict=True):
        unit = da / da.norm()
        expected = du - (du * unit).sum() * unit - 3.0 * da
        assert parameter.grad is not None and torch.allclose(parameter.grad, expected, atol=1e-6)


@pytest.mark.parametrize("name", ["adversarial", "gap", "mmd"])
def test_every_weight_is_trained_even_biases_norms_and_word_embeddings(tmp_path: Path, name: Name) -> None:
    model = load_bundle(comments.fit_bundle(tmp_path, epochs=0))
    before = {key: value.detach().clone() for key, value in model.network.named_parameters()}
    learner = FinetuneOptimizer(model, RECIPE, StepConfig(ObjectiveConfig(name, strengths=(1.0,)), 2, 2))
    learner.step(0, comments.splits().tuning)
    same = {key for key, value in model.network.named_parameters() if torch.equal(value, before[key])}
    assert not same


def test_batch_norms_go_on_averaging(tmp_path: Path) -> None:
    model = load_bundle(torchvision_bundle(tmp_path))
    state = model.network.state_dict()
    before = state["bn1.running_mean"].clone()
    inputs = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8)
    labels = torch.tensor([0, 1] * 4)
    data = Dataset(inputs, labels, labels.flip(0), (), model.labels, ("a", "b"))
    FinetuneOptimizer(model, RECIPE, StepConfig(ObjectiveConfig(strengths=(1.0,)), 2, 1)).step(0, data)
    assert not torch.equal(model.network.state_dict()["bn1.running_mean"], before)


def test_the_adversary_learns_meanwhile(tmp_path: Path) -> None:
    recipe = replace(RECIPE, lr=1e-12)  # weights as good as fixed
    learner = learner_for(tmp_path, ObjectiveConfig(strengths=(1.0,)), recipe, steps=200)
    one = batch(350)
    losses = [learner.step(number, one).fairness.item() for number in range(60)]
    assert losses[-1] < losses[0] - 0.05


def test_both_learning_rates_follow_the_schedule(tmp_path: Path) -> None:
    learner = learner_for(tmp_path, ObjectiveConfig(strengths=(1.0,)), steps=10)
    for number in (0, 9):
        learner.step(number, batch(16))
        share = 1.0 if number == 0 else 0.1
        assert [group["lr"] for group in learner.optimizer.param_groups] == pytest.approx([share * RECIPE.lr] * 2)
        assert learner.adversary_optimizer.param_groups[0]["lr"] == pytest.approx(share * 0.01)


def test_bf16_follows_float32(tmp_path: Path) -> None:
    losses = []
    for at, recipe in enumerate((RECIPE, replace(RECIPE, bf16=True))):
        losses.append(
            learner_for(tmp_path / str(at), ObjectiveConfig(strengths=(1.0,)), recipe).step(0, batch(128)).utility
        )
    exact, rough = losses
    assert torch.allclose(exact, rough, rtol=0.02)
    assert not torch.equal(exact, rough)  # it really ran in bf16


def test_reweighing_changes_the_utility(tmp_path: Path) -> None:
    model = load_bundle(digits.fit_bundle(tmp_path, epochs=2))
    weights = torch.tensor([[2.0, 0.0], [2.0, 0.0]])  # only rows of the first group count
    learner = FinetuneOptimizer(model, RECIPE, StepConfig(ObjectiveConfig(strengths=(1.0,)), 2, 1, weights))
    one = batch()
    with torch.no_grad():
        logits = sweep(model, one.inputs, learner.bare)
    expected = utility_loss(logits, one.labels, weights[one.labels, one.groups])
    assert torch.allclose(learner.step(0, one).utility, expected)
