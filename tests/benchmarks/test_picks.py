"""What validation picks within a budget, on small real data: the product's own judge, and test counts of the pick."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.picks import Pick, group_threshold_picks, threshold_picks, trigger_picks, weight_picks
from benchmarks.systems import BUDGETS
from tests.trainer.datasets import digits
from tests.trainer.runs import run_config
from tests.trainer.training.test_training_loop import parity, quiet
from trainer.config.comparison_config import BaselinesConfig
from trainer.config.run_config import ObjectiveConfig, RunConfig, TrainConfig
from trainer.data.dataset import Splits
from trainer.evaluation.counts import accuracy, confusion_counts
from triggers.model.classifier import FrozenClassifier


@pytest.fixture(scope="module")
def splits() -> Splits:
    return digits.splits()


def config() -> RunConfig:
    train = TrainConfig(steps=40, batch_size=128, threads=1, eval_every=10)
    made = run_config(ObjectiveConfig("gap", strengths=(5.0, 20.0)), train=train)
    return replace(made, baselines=BaselinesConfig(epochs=4, lr=1e-3))


def bare(classifier: FrozenClassifier, splits: Splits) -> float:
    return accuracy(confusion_counts(classifier, splits.val, classifier.bank([classifier.null_trigger()]), 64)[0])


def check(picks: list[Pick], floor: float) -> None:
    """Every pick keeps to its budget on validation, and a larger budget never has a larger validation gap."""
    assert picks
    for pick in picks:
        assert accuracy(pick.val) >= floor - pick.budget - 1e-9
    gaps = [parity(pick.val) for pick in sorted(picks, key=lambda pick: pick.budget)]
    assert gaps == sorted(gaps, reverse=True)


def test_triggers(digits_classifier: FrozenClassifier, splits: Splits) -> None:
    picks = trigger_picks(config(), digits_classifier, splits, quiet())
    check(picks, bare(digits_classifier, splits))
    assert {pick.budget for pick in picks} == set(BUDGETS)
    assert {pick.strength for pick in picks} <= {5.0, 20.0}
    assert all(sum(pick.test.values()) == len(splits.test) for pick in picks)


def test_triggers_on_another_classifier(
    digits_classifier: FrozenClassifier, splits: Splits, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = digits.fitted(tmp_path_factory.mktemp("other"), seed=5)
    picks = trigger_picks(config(), digits_classifier, splits, quiet(), [digits_classifier, other])
    for pick in picks:
        same, different = pick.received
        assert same == pick.test != different
        assert sum(different.values()) == len(splits.test)


def test_threshold(digits_classifier: FrozenClassifier, splits: Splits) -> None:
    check(threshold_picks(config(), digits_classifier, splits), bare(digits_classifier, splits))


@pytest.mark.slow
def test_thresholds_by_group_go_further_than_one_for_all(digits_classifier: FrozenClassifier, splits: Splits) -> None:
    picks = group_threshold_picks(config(), digits_classifier, splits)
    check(picks, bare(digits_classifier, splits))
    assert all(sum(pick.test.values()) == len(splits.test) for pick in picks)
    together = {pick.budget: parity(pick.val) for pick in threshold_picks(config(), digits_classifier, splits)}
    apart = {pick.budget: parity(pick.val) for pick in picks}
    assert apart[max(BUDGETS)] < 0.5 * together[max(BUDGETS)]


def test_full_weights_leave_the_classifier_alone(digits_classifier: FrozenClassifier, splits: Splits) -> None:
    picks = weight_picks("AdvPost", config(), digits_classifier, splits, (5.0, 20.0))
    check(picks, bare(digits_classifier, splits))
    digits_classifier.verify()
