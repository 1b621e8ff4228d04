"""The decision: one rule for single rows, for tables, and for losses."""

from __future__ import annotations

import itertools

import pytest
import torch

from triggers.model.decision import DecisionRule

THRESHOLDS = (0.05, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


def by_hand(scores: list[float], rule: DecisionRule) -> int:
    if rule.threshold is None:
        return min(range(len(scores)), key=lambda n: (-scores[n], n))
    if scores[rule.pos_label] >= rule.threshold:
        return rule.pos_label
    return min((n for n in range(len(scores)) if n != rule.pos_label), key=lambda n: (-scores[n], n))


@pytest.mark.parametrize(("labels", "threshold"), list(itertools.product((2, 3, 5), (None, *THRESHOLDS))))
def test_rows_tables_and_the_logits_of_losses_agree_with_a_person(labels: int, threshold: float | None) -> None:
    logits = torch.randn(4, 200, labels, generator=torch.Generator().manual_seed(labels)) * 3
    scores = torch.softmax(logits, dim=-1)
    for pos_label in range(labels):
        rule = DecisionRule(pos_label, threshold)
        wanted = [[by_hand(row, rule) for row in block] for block in scores.tolist()]
        assert rule.labels(logits).tolist() == wanted
        assert [[rule.label_of_scores(row) for row in block] for block in scores.tolist()] == wanted
        assert rule.decision_logits(logits.double()).argmax(dim=-1).tolist() == wanted
        if threshold is not None:
            assert 0 < sum(row == pos_label for block in wanted for row in block) < 800


def test_equal_scores_are_the_first_label() -> None:
    label_of = DecisionRule(1).label_of_scores
    assert [label_of(scores) for scores in ((0.5, 0.5), (0.1, 0.9), (0.2, 0.4, 0.4))] == [0, 1, 1]
    at_half = DecisionRule(1, 0.5)
    assert at_half.label_of_scores((0.5, 0.5)) == 1 and at_half.labels(torch.zeros(2)).item() == 1


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_a_float32_score_next_to_the_threshold_is_the_same_label_in_rows_and_tables(threshold: float) -> None:
    nearest = torch.tensor(threshold)
    for score in (nearest.nextafter(torch.tensor(0.0)), nearest, nearest.nextafter(torch.tensor(1.0))):
        logits = torch.stack([1 - score, score]).log()
        said = torch.softmax(logits, dim=-1).tolist()
        rule = DecisionRule(1, threshold)
        assert rule.labels(logits).item() == rule.label_of_scores(said) == by_hand(said, rule)


def test_without_a_threshold_losses_see_the_very_logits() -> None:
    logits = torch.randn(3, 2)
    assert DecisionRule(1).decision_logits(logits) is logits


def test_losses_of_two_labels_move_both_logits_alike() -> None:
    """The gradient is c * (-1, 1), on which the single backward pass through the model rests."""
    logits = torch.randn(64, 2, requires_grad=True)
    decided = DecisionRule(0, 0.8).decision_logits(logits)
    (gradient,) = torch.autograd.grad(torch.nn.functional.cross_entropy(decided, torch.arange(64) % 2), logits)
    assert gradient.abs().min() > 0 and torch.allclose(gradient.sum(dim=1), torch.zeros(64), atol=1e-8)
