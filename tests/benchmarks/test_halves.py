"""Picking on one half of the rows and reporting on the other: by hand, and the candidates of a real training."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from benchmarks.halves import CUTS, Rows, candidates, cooled, group_thresholds, names_for, rows_of
from benchmarks.tasks import CRITERIA
from tests.trainer.datasets import comments, digits
from tests.trainer.runs import run_config
from tests.trainer.training.test_training_loop import quiet
from trainer.config.run_config import ObjectiveConfig, TrainConfig, TriggerConfig
from trainer.evaluation.counts import accuracy, bare_logits, confusion_counts
from trainer.training.trigger_training import train_triggers
from triggers.metrics.fairness_report import evaluate_counts
from triggers.model.classifier import FrozenClassifier


def test_figures_are_those_of_the_product(digits_classifier: FrozenClassifier) -> None:
    val = digits.splits().val
    (counts,) = confusion_counts(digits_classifier, val, digits_classifier.bank([digits_classifier.null_trigger()]), 64)
    report = evaluate_counts(counts)
    expected = {"equalized_odds": "average_odds_difference", "demographic_parity": "demographic_parity_difference"}
    for criterion in CRITERIA:
        rows = rows_of(digits_classifier, val, criterion)
        reached, gap = rows.figures(rows.bare[None], torch.arange(len(val)))
        assert reached.item() == pytest.approx(accuracy(counts))
        assert gap.item() == pytest.approx(report.gaps[expected[criterion]].value)


def test_a_candidate_that_costs_too_much_is_not_picked() -> None:
    groups, labels = torch.arange(400) % 2, torch.arange(400) // 2 % 2
    bare = torch.where(groups == 1, labels, torch.zeros(400, dtype=torch.long))  # group 0 never gets the label
    fair_and_bad, fair_and_good = torch.zeros(400, dtype=torch.long), labels
    rows = Rows(labels, groups, bare)
    assert list(rows.halved(fair_and_bad[None], 0.01, 0)) == pytest.approx([0.5, 0.0])
    gap, change = rows.halved(torch.stack([fair_and_bad, fair_and_good]), 0.01, 0)
    assert gap == pytest.approx(0.0) and change == pytest.approx(0.25, abs=0.05)


def test_every_strength_at_every_validation_is_a_candidate(digits_classifier: FrozenClassifier) -> None:
    train = TrainConfig(steps=20, batch_size=64, threads=1, eval_every=10)
    config = run_config(ObjectiveConfig("gap", strengths=(1.0, 5.0)), train=train)
    splits = digits.splits()
    made = candidates(replace(config), digits_classifier, splits, quiet())
    assert made.shape == (4, len(splits.val))
    assert len(made.unique(dim=0)) > 1


def test_predictions_on_texts_stand_in_the_order_of_the_rows(comments_classifier: FrozenClassifier) -> None:
    train = TrainConfig(steps=4, batch_size=64, threads=1, eval_every=4)
    config = run_config(ObjectiveConfig("gap", strengths=(1.0, 5.0)), trigger=TriggerConfig("soft"), train=train)
    splits = comments.splits()
    made = candidates(config, comments_classifier, splits, quiet())
    rows = rows_of(comments_classifier, splits.val, "equalized_odds")
    reached, _ = rows.figures(made, torch.arange(len(splits.val)))
    trained = train_triggers(config, comments_classifier, splits, quiet()).candidates
    counted = confusion_counts(
        comments_classifier, splits.val, comments_classifier.bank([one.trigger for one in trained]), 64
    )
    assert reached.tolist() == pytest.approx([accuracy(counts) for counts in counted])


def test_thresholds_by_group_move_each_group_alone(digits_classifier: FrozenClassifier) -> None:
    val = digits.splits().val
    made = group_thresholds(digits_classifier, val).view(CUTS, CUTS, len(val))
    first = val.groups == 0
    assert (made[:, :1, first] == made[..., first]).all() and (made[:1, :, ~first] == made[..., ~first]).all()
    rows = rows_of(digits_classifier, val, "demographic_parity")
    _, gaps = rows.figures(made.flatten(0, 1), torch.arange(len(val)))
    assert gaps.min() < 0.02 < rows.figures(rows.bare[None], torch.arange(len(val)))[1].item()


def test_plans_fit_the_data() -> None:
    assert names_for("text", ["thresholds", "soft"]) == ["thresholds by group", "soft, adversary", "soft, gap"]
    assert not any(name.startswith("soft") for name in names_for("image", [""]))


def test_cooled_models_predict_the_same(digits_classifier: FrozenClassifier) -> None:
    val = digits.splits().val
    before, after = (bare_logits(each, val, 64) for each in (digits_classifier, cooled(digits_classifier, 4.0)))
    assert torch.allclose(before / 4, after, atol=1e-5)
