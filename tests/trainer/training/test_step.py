"""The training step on small real data: signs, cost, independence of the strengths, precision."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from tests.trainer.datasets import comments, digits
from tests.trainer.runs import run_config
from trainer.config.run_config import Criterion, ObjectiveConfig, RunConfig, TrainConfig, TriggerConfig
from trainer.data.batches import Batches
from trainer.data.dataset import Dataset
from trainer.training.build_module import build_module
from trainer.training.objectives.adversary import adversary_loss
from trainer.training.objectives.objective import cell_membership, gap_loss, project_out_and_subtract, utility_loss
from trainer.training.objectives.objective_step import StepConfig, learning_rate_factor
from trainer.training.step import TriggerOptimizer
from triggers.model.classifier import FrozenClassifier
from triggers.model.reprogram import sweep

Name = Literal["adversarial", "gap"]
SMALL_OVERLAY = TriggerConfig("overlay", epsilon=0.2)


def learner_for(config: RunConfig, classifier: FrozenClassifier, temperature: float = 1.0) -> TriggerOptimizer:
    module, steps = build_module(config, classifier), config.train.steps or 1
    step = StepConfig(config.objective, 2, steps, temperature=temperature)
    return TriggerOptimizer(classifier, module, config.train, step)


def trained(config: RunConfig, classifier: FrozenClassifier, tuning: Dataset) -> TriggerOptimizer:
    learner = learner_for(config, classifier)
    batches = Batches(tuning, config.train.batch_size, seed=config.train.seed)
    for number in range(learner.steps):
        learner.step(number, batches.batch(number))
    return learner


def soft_gaps(learner: TriggerOptimizer, data: Dataset, criterion: Criterion) -> list[float]:
    """Squared gaps of mean scores, per strength, then of the bare model."""
    classifier = learner.classifier
    members = cell_membership(data.labels, data.members, criterion, 2)
    triggers = [*learner.module.export(), classifier.null_trigger()]
    gaps: list[float] = gap_loss(sweep(classifier, data.inputs, classifier.bank(triggers)), members, 1.0).tolist()
    return gaps


@pytest.mark.slow
@pytest.mark.parametrize("criterion", ["demographic_parity", "equalized_odds"])
@pytest.mark.parametrize(("name", "strength"), [("gap", 20.0), ("adversarial", 5.0)])
def test_a_strength_lowers_the_gap_of_images(
    digits_classifier: FrozenClassifier, name: Name, strength: float, criterion: Criterion
) -> None:
    objective = ObjectiveConfig(name, criterion, (0.0, strength))
    config = run_config(objective, trigger=SMALL_OVERLAY, train=TrainConfig(steps=100, batch_size=175))
    tuning = digits.splits().tuning
    without, with_it, bare = soft_gaps(trained(config, digits_classifier, tuning), tuning, criterion)
    assert with_it < 0.5 * bare
    assert with_it < without  # the utility alone helps too, but less


@pytest.mark.parametrize("criterion", ["demographic_parity", "equalized_odds"])
@pytest.mark.parametrize(("name", "strength"), [("gap", 20.0), ("adversarial", 5.0)])
def test_a_strength_lowers_the_gap_of_texts(
    comments_classifier: FrozenClassifier, name: Name, strength: float, criterion: Criterion
) -> None:
    objective = ObjectiveConfig(name, criterion, (0.0, strength))
    train = TrainConfig(steps=40, batch_size=200, lr=0.1)
    config = run_config(objective, trigger=TriggerConfig("embedding", tokens=2), train=train)
    tuning = comments.splits().tuning
    without, with_it, bare = soft_gaps(trained(config, comments_classifier, tuning), tuning, criterion)
    assert with_it < 0.25 * bare
    assert with_it < without


@pytest.mark.parametrize(
    ("objective", "products"),
    [
        (ObjectiveConfig("gap", strengths=(0.0, 1.0, 2.0, 3.0)), 1),
        (ObjectiveConfig("adversarial", strengths=(0.0, 1.0, 2.0, 3.0)), 1),
        (ObjectiveConfig("adversarial", strengths=(0.0, 1.0, 2.0, 3.0), adversary_input="log_odds"), 1),
        (ObjectiveConfig("adversarial", strengths=(0.0, 1.0, 2.0, 3.0), adversary_input="scores"), 2),
    ],
)
def test_products_through_the_model_do_not_grow_with_the_strengths(
    digits_classifier: FrozenClassifier, objective: ObjectiveConfig, products: int
) -> None:
    learner = learner_for(run_config(objective), digits_classifier)
    walks: list[int] = []

    def count(module: nn.Module, arriving: tuple[Tensor, ...], leaving: tuple[Tensor, ...] | Tensor) -> None:
        walks.append(len(leaving[0]))

    first_layer = next(module for module in learner.fast.network.modules() if isinstance(module, nn.Conv2d))
    hook = first_layer.register_full_backward_hook(count)
    try:
        learner.step(0, Batches(digits.splits().tuning, 32, seed=0).batch(0))
    finally:
        hook.remove()
    assert walks == [4 * 32] * products


def test_graph_on_a_cpu_is_an_ordinary_step(digits_classifier: FrozenClassifier) -> None:
    batch = Batches(digits.splits().tuning, 32, seed=0).batch(0)
    losses = []
    for graph in (False, True):
        config = run_config(ObjectiveConfig(strengths=(1.0,)), train=TrainConfig(steps=2, batch_size=32, graph=graph))
        learner = learner_for(config, digits_classifier)
        losses.append([learner.step(number, batch).utility for number in range(2)])
    assert torch.equal(*map(torch.stack, losses))


@pytest.mark.parametrize("temperature", [1.0, 3.0])
@pytest.mark.parametrize("form", ["centred", "scores", "log_odds"])
def test_the_adversarial_gradient_is_the_published_one(
    digits_classifier: FrozenClassifier, form: Literal["centred", "scores", "log_odds"], temperature: float
) -> None:
    strength = 3.0
    objective = ObjectiveConfig(strengths=(strength,), adversary_input=form)
    learner = learner_for(run_config(objective), digits_classifier, temperature)
    batch = Batches(digits.splits().tuning, 64, seed=0).batch(0)
    logits = sweep(digits_classifier, batch.inputs, learner.module.render()) / temperature
    (a,) = torch.autograd.grad(
        adversary_loss(learner.adversaries(logits, batch.labels), batch.members).sum(),
        learner.parameters,
        retain_graph=True,
    )
    (u,) = torch.autograd.grad(utility_loss(logits, batch.labels).sum(), learner.parameters)
    expected = project_out_and_subtract(u, a, torch.tensor([strength]))
    learner.step(0, batch)
    assert learner.parameters[0].grad is not None
    assert torch.allclose(learner.parameters[0].grad, expected, atol=1e-7)


@pytest.mark.slow
def test_the_adversary_learns_meanwhile(digits_classifier: FrozenClassifier) -> None:
    train = TrainConfig(steps=60, lr=1e-9, schedule="constant")  # triggers as good as fixed
    learner = learner_for(run_config(ObjectiveConfig(strengths=(1.0, 2.0)), train=train), digits_classifier)
    batch = Batches(digits.splits().tuning, 350, seed=0).batch(0)
    losses = [learner.step(number, batch).fairness for number in range(60)]
    assert torch.allclose(losses[0], torch.full((2,), 0.693), atol=0.05)  # chance is log(2)
    assert (losses[-1] < 0.66).all()


def test_without_projection_the_gradient_is_plain(digits_classifier: FrozenClassifier) -> None:
    batch = Batches(digits.splits().tuning, 64, seed=0).batch(0)
    found = []
    for projection in (True, False):
        objective = ObjectiveConfig(strengths=(3.0,), projection=projection)
        learner = learner_for(run_config(objective), digits_classifier)
        learner.step(0, batch)
        found.append(learner.parameters[0].grad)
    assert found[0] is not None and found[1] is not None
    assert not torch.allclose(found[0], found[1], atol=1e-7)


@pytest.mark.parametrize("name", ["gap", "adversarial"])
def test_a_front_equals_runs_of_one_strength(digits_classifier: FrozenClassifier, name: Name) -> None:
    tuning = digits.splits().tuning
    config = run_config(ObjectiveConfig(name, strengths=(0.5, 5.0)), train=TrainConfig(steps=5, batch_size=64))
    front = trained(config, digits_classifier, tuning).parameters[0]
    for k, strength in enumerate(config.objective.fixed_strengths):
        single = replace(config, objective=replace(config.objective, strengths=(strength,)))
        assert torch.allclose(front[k], trained(single, digits_classifier, tuning).parameters[0][0], atol=1e-5)


def test_only_triggers_and_adversaries_change(comments_classifier: FrozenClassifier) -> None:
    config = run_config(
        ObjectiveConfig(strengths=(1.0,)), trigger=TriggerConfig("hard"), train=TrainConfig(steps=3, batch_size=32)
    )
    trained(config, comments_classifier, comments.splits().tuning)
    comments_classifier.verify()
    assert all(parameter.grad is None for parameter in comments_classifier.network.parameters())


def test_a_dead_trigger_gets_no_nan(digits_classifier: FrozenClassifier) -> None:
    """Images so dark that a negative overlay clips every pixel: the adversary's gradient is exactly zero."""
    learner = learner_for(run_config(ObjectiveConfig(strengths=(1.0,))), digits_classifier)
    with torch.no_grad():
        learner.parameters[0].fill_(-5.0)
    batch = Batches(digits.splits().tuning, 32, seed=0).batch(0)
    black = batch.with_inputs(torch.zeros_like(batch.inputs))  # type: ignore[arg-type]
    learner.step(0, black)
    assert torch.equal(learner.parameters[0], torch.full_like(learner.parameters[0], -5.0))


def test_bf16_follows_float32(digits_classifier: FrozenClassifier) -> None:
    batch = Batches(digits.splits().tuning, 128, seed=0).batch(0)
    losses = []
    for precision in ("float32", "bf16"):
        train = TrainConfig(steps=1, precision=precision)
        losses.append(
            learner_for(run_config(ObjectiveConfig(strengths=(1.0,)), train=train), digits_classifier).step(0, batch)
        )
    exact, rough = losses
    assert rough.utility.dtype == torch.float32
    assert torch.allclose(exact.utility, rough.utility, rtol=0.02)
    assert not torch.equal(exact.utility, rough.utility)  # it really ran in bf16


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [1, 1, 1, 1]),
        ("step", [1, 1, 0.1, 0.01]),
        ("linear", [1, 0.5, 0.2, 0.1]),
        ("cosine", [1, 0.5, 0.0955, 0.0245]),
    ],
)
def test_schedules(schedule: str, expected: list[float]) -> None:
    found = [round(learning_rate_factor(schedule, done), 4) for done in (0.0, 0.5, 0.8, 0.9)]
    assert found == pytest.approx(expected)


def test_the_learning_rates_follow_the_schedule(digits_classifier: FrozenClassifier) -> None:
    train = TrainConfig(steps=10, batch_size=32, schedule="linear", lr=0.5)
    learner = trained(
        run_config(ObjectiveConfig(strengths=(1.0,)), train=train), digits_classifier, digits.splits().tuning
    )
    assert learner.optimizer.param_groups[0]["lr"] == pytest.approx(0.05)
    assert learner.adversary_optimizer.param_groups[0]["lr"] == pytest.approx(0.001)
