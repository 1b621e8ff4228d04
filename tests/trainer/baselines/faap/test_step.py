"""FAAP's step: the gradient runs through the frozen model's features to the generator, the discriminator learns."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Categorical

from tests.trainer.datasets import digits
from tests.trainer.runs import RECIPE
from trainer.baselines.faap import FaapOptimizer, GroupDiscriminator, PerturbedClassifier
from trainer.baselines.faap.step import guess_entropy
from trainer.config.run_config import Criterion
from trainer.data.batches import Batches
from trainer.data.dataset import Dataset
from triggers.model import FrozenClassifier

CRITERIA: tuple[Criterion, ...] = ("demographic_parity", "equalized_odds")


def optimizer_for(
    classifier: FrozenClassifier, strength: float, criterion: Criterion = "equalized_odds"
) -> FaapOptimizer:
    torch.manual_seed(0)
    model = PerturbedClassifier.untrained(classifier, 0.3)
    discriminator = GroupDiscriminator.for_data(classifier, digits.splits().tuning, criterion, 64)
    return FaapOptimizer(model, discriminator, replace(RECIPE, lr=3e-3), 100, strength)


def batch(rows: int = 64) -> Dataset:
    return Batches(digits.splits().tuning, rows, seed=0).batch(0)


def gradients(optimizer: FaapOptimizer) -> list[Tensor]:
    optimizer.step(0, batch())
    found = [parameter.grad for parameter in optimizer.parameters]
    return [gradient for gradient in found if gradient is not None]


@pytest.mark.parametrize("criterion", CRITERIA)
def test_both_losses_reach_every_parameter_of_the_generator(
    digits_classifier: FrozenClassifier, criterion: Criterion
) -> None:
    """Features computed without a gradient would leave the label loss alone, or nothing."""
    of_label, of_both = (gradients(optimizer_for(digits_classifier, s, criterion)) for s in (0.0, 3.0))
    assert len(of_label) == len(of_both) == len(list(optimizer_for(digits_classifier, 1.0).module.parameters()))
    for alone, together in zip(of_label, of_both, strict=True):
        assert alone.abs().max() > 0
        assert not torch.allclose(alone, together, rtol=0.01)
    digits_classifier.verify()
    assert all(parameter.grad is None for parameter in digits_classifier.network.parameters())


def test_the_discriminator_learns_the_group_where_nobody_fools_it(digits_classifier: FrozenClassifier) -> None:
    optimizer, one = optimizer_for(digits_classifier, 0.0), batch(350)
    told = [optimizer.step(number, one).fairness.item() for number in range(60)]
    assert told[-1] < told[0] - 0.2


def test_the_generator_fools_it(digits_classifier: FrozenClassifier) -> None:
    def told(strength: float) -> float:
        optimizer, one = optimizer_for(digits_classifier, strength), batch(350)
        return [optimizer.step(number, one).fairness.item() for number in range(60)][-1]

    assert told(3.0) > told(0.0) + 0.1


def test_the_discriminator_reads_the_label_for_equalized_odds_alone(digits_classifier: FrozenClassifier) -> None:
    features, labels = torch.randn(8, 256), torch.tensor([0, 1] * 4)
    same = {
        criterion: torch.equal(*(optimizer_for(digits_classifier, 1.0, criterion).discriminator(features, each)
                                 for each in (labels, 1 - labels)))
        for criterion in CRITERIA
    }  # fmt: skip
    assert same == {"demographic_parity": True, "equalized_odds": False}


def test_the_discriminator_sees_standard_features(digits_classifier: FrozenClassifier) -> None:
    tuning = digits.splits().tuning
    one = GroupDiscriminator.for_data(digits_classifier, tuning, "demographic_parity", 64)
    other = GroupDiscriminator.for_data(digits_classifier, tuning, "demographic_parity", 350)
    assert torch.allclose(one.centre, other.centre, atol=1e-5)
    assert torch.allclose(one.scale, other.scale, atol=1e-5)
    assert one.scale.min() > 0  # features that never change are left as they are


def test_entropy_is_of_the_groups_or_of_each_identity() -> None:
    guesses = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(guess_entropy(guesses), Categorical(logits=guesses).entropy().mean())
    each = Bernoulli(logits=guesses).entropy().mean()
    assert torch.allclose(guess_entropy(guesses, overlapping=True), each)


def test_predictions_are_those_of_perturbed_images_in_any_pieces(digits_classifier: FrozenClassifier) -> None:
    model, val = optimizer_for(digits_classifier, 1.0).model, digits.splits().val
    assert isinstance(val.inputs, Tensor)
    with torch.no_grad():
        model.generator.last.weight.mul_(100)
        logits = digits_classifier.image_logits(model.generator.perturbed(val.inputs))
    assert torch.equal(model.predict(val, 33), logits.argmax(dim=1))
    assert not torch.equal(model.predict(val, 350), digits_classifier.image_logits(val.inputs / 255.0).argmax(dim=1))


def test_bf16_follows_float32(digits_classifier: FrozenClassifier) -> None:
    exact = optimizer_for(digits_classifier, 1.0)
    rough = FaapOptimizer(
        exact.model, exact.discriminator, replace(exact.hyperparameters, bf16=True), exact.steps, exact.strength
    )
    rounded, full = (each.step(0, batch()).utility for each in (rough, optimizer_for(digits_classifier, 1.0)))
    assert torch.allclose(rounded, full, rtol=0.03) and not torch.equal(rounded, full)


def test_the_learning_rates_follow_the_schedule(digits_classifier: FrozenClassifier) -> None:
    optimizer = optimizer_for(digits_classifier, 1.0)
    for number, share in ((0, 1.0), (90, 0.1)):
        optimizer.step(number, batch(16))
        rates = [each.param_groups[0]["lr"] for each in (optimizer.optimizer, optimizer.their_optimizer)]
        assert rates == pytest.approx([share * 3e-3, share * 0.2 * 3e-3])
