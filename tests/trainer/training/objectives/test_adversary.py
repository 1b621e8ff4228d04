"""The adversaries' inputs by hand, and that they learn."""

from __future__ import annotations

from math import log

import pytest
import torch

from tests.trainer.datasets import digits
from trainer.config.run_config import AdversaryInput, Criterion
from trainer.training.objectives.adversary import Adversaries, adversary_loss, log_odds_features, score_features
from triggers.model.classifier import FrozenClassifier
from triggers.model.reprogram import sweep

ODDS = torch.tensor([[[1.0, 1.0 + log(3) / 2]]])
"""One row whose label-1 score is 3/4 once its log odds, log(3)/2, are doubled by the scale 1 + |c| = 2."""

LABEL_1 = torch.tensor([1])
TWO = torch.tensor([2.0])


def rounded(features: torch.Tensor) -> list[float]:
    return [round(value, 4) for value in features.flatten().tolist()]


def test_image_form_by_hand() -> None:
    o = [1.0, round(1 + log(3) / 2, 4)]
    assert rounded(score_features(ODDS, LABEL_1, TWO, "demographic_parity", False)) == [0.25, 0.75]
    assert rounded(score_features(ODDS, LABEL_1, TWO, "demographic_parity", True)) == [*o, 0.25, 0.75]
    assert rounded(score_features(ODDS, LABEL_1, TWO, "equalized_odds", True)) == [*o, 0.25, 0.75, 0.0, 0.75]


def test_text_form_by_hand() -> None:
    o = round(log(3) / 2, 4)
    assert rounded(log_odds_features(ODDS, LABEL_1, TWO, "demographic_parity", True)) == [0.75, o]
    assert rounded(log_odds_features(ODDS, LABEL_1, TWO, "equalized_odds", True)) == [0.75, 0.75, 0, o, o, 0, 1]
    label_0 = torch.tensor([0])
    assert rounded(log_odds_features(ODDS, label_0, TWO, "equalized_odds", True)) == [0.75, 0, 0.75, o, 0, o, 0]


def test_the_first_scale_is_two_as_published() -> None:
    made = Adversaries(1, labels=2, groups=2, criterion="demographic_parity", with_logits=False)
    assert rounded(made.features(ODDS, LABEL_1)) == [0.25, 0.75]


def test_loss_is_the_mean_cross_entropy_of_each_adversary() -> None:
    guesses = torch.tensor([[[0.0, log(3)], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]])
    losses = adversary_loss(guesses, torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    assert losses.tolist() == pytest.approx([(log(4 / 3) + log(2)) / 2, log(2)])


def test_overlapping_groups_are_a_yes_or_no_each() -> None:
    guesses = torch.tensor([[[log(3), 0.0, 0.0], [log(3), 0.0, -log(3)]], [[0.0] * 3] * 2])
    members = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])  # in two groups, and in none
    # 3/4 for a yes, 1/2, 1/2; then 1/4 for a no, 1/2, 3/4
    first = (log(4 / 3) + 2 * log(2) + log(4) + log(2) + log(4 / 3)) / 6
    assert adversary_loss(guesses, members, overlapping=True).tolist() == pytest.approx([first, log(2)])


def test_all_start_alike_and_do_not_mix() -> None:
    made = Adversaries(2, labels=3, groups=4, criterion="equalized_odds")
    logits, labels = torch.randn(1, 5, 3), torch.randint(3, (5,))
    first = made(torch.cat([logits, torch.zeros_like(logits)]), labels)
    second = made(torch.cat([torch.zeros_like(logits), logits]), labels)
    assert first.shape == (2, 5, 4)
    assert torch.equal(first[0], second[1])


@pytest.mark.parametrize("form", ["scores", "log_odds"])
@pytest.mark.parametrize("criterion", ["demographic_parity", "equalized_odds"])
def test_learns_the_group_from_a_biased_classifier(
    digits_classifier: FrozenClassifier, form: AdversaryInput, criterion: Criterion
) -> None:
    data = digits.splits().tuning
    bank = digits_classifier.bank([digits_classifier.null_trigger()])
    logits = sweep(digits_classifier, data.inputs, bank)
    made = Adversaries(1, labels=2, groups=2, criterion=criterion, form=form)
    start = {name: value.detach().clone() for name, value in made.named_parameters()}
    optimizer = torch.optim.Adam(made.parameters(), lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        loss = adversary_loss(made(logits, data.labels), data.members)
        torch.autograd.backward(loss.sum())
        optimizer.step()
    assert loss.item() < 0.66  # chance is log(2) = 0.693
    assert all(not torch.equal(start[name], value) for name, value in made.named_parameters())  # biases too
