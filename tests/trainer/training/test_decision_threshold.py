"""Training, calibration and the threshold control of a model that decides at a threshold.

For two labels a threshold t is the same as a network whose positive logit is lower by logit(t), decided as usual.
"""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Literal

import pytest
import torch
from torch import Tensor

from tests.trainer.datasets import digits
from tests.trainer.runs import RECIPE, run_config
from trainer.baselines.finetune_step import FinetuneOptimizer
from trainer.baselines.threshold import margins
from trainer.config.run_config import ObjectiveConfig, TrainConfig, TriggerConfig
from trainer.data.batches import Batches
from trainer.data.dataset import Dataset
from trainer.evaluation.counts import confusion_counts, predicted_labels
from trainer.evaluation.network_outputs import last_linear, network_outputs
from trainer.training.build_module import build_module
from trainer.training.objectives.adversary import adversary_loss
from trainer.training.objectives.calibration import calibrating_temperature
from trainer.training.objectives.objective import group_distance, utility_loss
from trainer.training.objectives.objective_step import ObjectiveStep, StepConfig
from trainer.training.step import TriggerOptimizer
from triggers.metrics import evaluate_counts
from triggers.model.classifier import FrozenClassifier

THRESHOLD = 0.8
SHIFT = math.log(THRESHOLD / (1 - THRESHOLD))


def at_threshold(classifier: FrozenClassifier, threshold: float = THRESHOLD, pos_label: int = 1) -> FrozenClassifier:
    """The same network, which decides at a threshold."""
    spec = classifier.spec.model_copy(update={"threshold": threshold, "pos_label": pos_label})
    return FrozenClassifier(spec, copy.deepcopy(classifier.network))


def shifted(classifier: FrozenClassifier) -> FrozenClassifier:
    """A network without a threshold that decides like it."""
    network = copy.deepcopy(classifier.network)
    head = last_linear(network, (2,))
    assert head is not None
    with torch.no_grad():
        head.bias[1] -= SHIFT
    return FrozenClassifier(classifier.spec, network)


def step_of(classifier: FrozenClassifier, objective: ObjectiveConfig, temperature: float) -> ObjectiveStep:
    return ObjectiveStep(StepConfig(objective, 2, 10, temperature=temperature), TrainConfig(steps=10), classifier)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("name", ["gap", "mmd", "adversarial"])
def test_losses_and_gradients_are_those_of_the_shifted_network(
    digits_classifier: FrozenClassifier, name: Literal["gap", "mmd", "adversarial"], temperature: float
) -> None:
    batch = digits.splits().tuning.take(torch.arange(64))
    logits = torch.randn(2, 64, 2, generator=torch.Generator().manual_seed(0)) * 3
    objective = ObjectiveConfig(name, "equalized_odds", (0.5, 3.0), gap_weight=1.0 if name == "adversarial" else 0.0)
    ours = step_of(at_threshold(digits_classifier), objective, temperature)
    plain = step_of(digits_classifier, objective, temperature)
    lowered = logits - torch.tensor([0.0, SHIFT])
    losses, found = ours.cotangents((logits / temperature).requires_grad_(), batch)
    expected, wanted = plain.cotangents((lowered / temperature).requires_grad_(), batch)
    assert torch.allclose(losses.utility, expected.utility) and torch.allclose(losses.fairness, expected.fairness)
    assert all(torch.allclose(one, other, atol=1e-7) for one, other in zip(found, wanted, strict=True))
    unmoved, _ = plain.cotangents((logits / temperature).requires_grad_(), batch)
    assert not torch.allclose(losses.utility, unmoved.utility) and not torch.allclose(losses.fairness, unmoved.fairness)


@pytest.mark.parametrize("name", ["gap", "adversarial"])
def test_with_three_labels_gradients_reach_all_logits_through_the_decision(
    digits_classifier: FrozenClassifier, name: Literal["gap", "adversarial"]
) -> None:
    spec = digits_classifier.spec.model_copy(update={"labels": ("a", "b", "c"), "threshold": 0.7})
    classifier, temperature = FrozenClassifier(spec, digits_classifier.network), 2.0
    data = digits.splits().tuning.take(torch.arange(48))
    batch = replace(data, labels=torch.arange(48) % 3, label_names=("a", "b", "c"))
    objective = ObjectiveConfig(name, "demographic_parity", (2.0,))
    step, by_hand = (step_of(classifier, objective, temperature) for _ in range(2))
    raw = (torch.randn(1, 48, 3, generator=torch.Generator().manual_seed(0)) * 2).requires_grad_()
    decided = classifier.decision.decision_logits(raw) / temperature
    utility, (leaf,) = utility_loss(decided, batch.labels), [(raw.detach() / temperature).requires_grad_()]
    losses, found = step.cotangents(leaf, batch)
    if name == "gap":
        distance = group_distance(decided, batch.labels, batch.members, objective, overlapping=False)
        sought: list[Tensor] = [utility + 2.0 * distance]
    else:
        sought = [adversary_loss(by_hand.adversaries(decided, batch.labels), batch.members), utility]
    assert torch.allclose(losses.utility, utility)
    for one, loss in zip(found, sought, strict=True):
        (wanted,) = torch.autograd.grad(loss.sum(), raw, retain_graph=True)
        assert torch.allclose(one / temperature, wanted, atol=1e-7)


def counts_at(classifier: FrozenClassifier, data: Dataset, learner: TriggerOptimizer | None = None) -> float:
    bank = learner.module.render() if learner else classifier.bank([classifier.null_trigger()])
    with torch.no_grad():
        (counts,) = confusion_counts(classifier, data, bank, 256)
    value = evaluate_counts(counts, pos_label=1, labels=2).demographic_parity_difference.value
    assert value is not None
    return value


@pytest.mark.slow
@pytest.mark.parametrize(("name", "strength"), [("gap", 20.0), ("adversarial", 5.0)])
def test_the_gap_of_the_decisions_falls(
    digits_classifier: FrozenClassifier, name: Literal["gap", "adversarial"], strength: float
) -> None:
    classifier, tuning = at_threshold(digits_classifier), digits.splits().tuning
    objective = ObjectiveConfig(name, "demographic_parity", (strength,))
    train = TrainConfig(steps=100, batch_size=175)
    config = run_config(objective, trigger=TriggerConfig("overlay", epsilon=0.2), train=train)
    learner = TriggerOptimizer(
        classifier, build_module(config, classifier), config.train, StepConfig(objective, 2, 100)
    )
    batches = Batches(tuning, 175, seed=0)
    for number in range(100):
        learner.step(number, batches.batch(number))
    assert counts_at(classifier, tuning, learner) < 0.5 * counts_at(classifier, tuning)


def test_counts_and_flips_are_those_of_the_shifted_network(digits_classifier: FrozenClassifier) -> None:
    data, ours, plain = digits.splits().val, at_threshold(digits_classifier), shifted(digits_classifier)
    bank = ours.bank([ours.null_trigger()])
    assert confusion_counts(ours, data, bank, 64) == confusion_counts(plain, data, bank, 64)
    assert confusion_counts(ours, data, bank, 64) != confusion_counts(digits_classifier, data, bank, 64)
    assert torch.equal(predicted_labels(ours, data, bank, 64), predicted_labels(plain, data, bank, 64))


@pytest.mark.parametrize("pos_label", [0, 1])
@pytest.mark.parametrize("threshold", [0.3, 0.8])
def test_no_shift_of_the_threshold_control_is_the_models_own_decision(
    digits_classifier: FrozenClassifier, threshold: float, pos_label: int
) -> None:
    data, classifier = digits.splits().val, at_threshold(digits_classifier, threshold, pos_label)
    (bare,) = confusion_counts(classifier, data, classifier.bank([classifier.null_trigger()]), 64)
    assert margins(classifier, data, 64).counts(0.0) == bare


def test_a_row_whose_score_is_the_threshold_is_positive_without_a_shift(digits_classifier: FrozenClassifier) -> None:
    """A score in float32 may equal a threshold that logits in float64 just miss."""
    data = digits.splits().val
    with torch.no_grad():
        images = torch.as_tensor(data.inputs).float() / 255
        scores = torch.softmax(digits_classifier.image_logits(images), dim=1)[:, 1].tolist()
    for threshold in sorted(score for score in scores if 0.05 < score < 0.95)[::5]:
        classifier = at_threshold(digits_classifier, threshold)
        (bare,) = confusion_counts(classifier, data, classifier.bank([classifier.null_trigger()]), len(data))
        assert margins(classifier, data, len(data)).counts(0.0) == bare


def test_the_temperature_is_that_of_the_shifted_network(digits_classifier: FrozenClassifier) -> None:
    data = digits.splits().tuning
    wrong = replace(data, labels=torch.where(torch.arange(len(data)) % 3 == 0, 1 - data.labels, data.labels))
    ours, plain = (make(digits_classifier) for make in (at_threshold, shifted))
    assert calibrating_temperature(ours, wrong, 64) == calibrating_temperature(plain, wrong, 64)


def test_probes_see_the_distance_from_the_decision(digits_classifier: FrozenClassifier) -> None:
    data, ours, plain = digits.splits().val, at_threshold(digits_classifier), shifted(digits_classifier)
    (found,), (wanted,) = (network_outputs(each, data, [each.null_trigger()], 64) for each in (ours, plain))
    assert torch.allclose(found.features, wanted.features) and torch.allclose(found.logits, wanted.logits, atol=1e-5)


def test_whole_models_learn_the_decision_too(digits_classifier: FrozenClassifier) -> None:
    objective, data = ObjectiveConfig("gap", strengths=(1.0,)), digits.splits().tuning.take(torch.arange(32))
    losses = [
        FinetuneOptimizer(make(digits_classifier), RECIPE, StepConfig(objective, 2, 1)).step(0, data)
        for make in (at_threshold, shifted)
    ]
    assert losses[0].utility.item() == pytest.approx(losses[1].utility.item(), rel=1e-5)
