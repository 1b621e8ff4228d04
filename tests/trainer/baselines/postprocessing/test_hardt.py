"""Hardt's rule against fairlearn's ThresholdOptimizer, its gaps, and its turns instead of draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator

from tests.trainer.baselines.postprocessing.frozen import frozen
from trainer.baselines.postprocessing.frozen_outputs import FrozenOutputs
from trainer.baselines.postprocessing.hardt import GAPS, RandomisedThresholds, fit_hardt
from trainer.baselines.postprocessing.rule import FitTarget, UnsupportedDataError
from trainer.config import Criterion
from trainer.config.run_config import Measure


class GivenScores(BaseEstimator):  # type: ignore[misc]
    """An estimator whose scores are its inputs."""

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def fit(self, inputs: Any, labels: Any) -> GivenScores:
        return self

    def predict(self, inputs: Any) -> Any:
        return np.asarray(inputs)[:, 0]


def biased(rows: int = 1500, seed: int = 0) -> FrozenOutputs:
    random = np.random.default_rng(seed)
    groups = random.integers(0, 3, rows)
    labels = random.random(rows) < np.array([0.3, 0.5, 0.6])[groups]
    scores = (1.2 * labels + 0.6 * groups + random.normal(size=rows)).round(2) - 1  # ties, also between labels
    return frozen(scores, labels, groups, names="abc")


def expected(rule: RandomisedThresholds, outputs: FrozenOutputs) -> np.ndarray:
    """The probability (N,) with which each row is positive."""
    lead = (outputs.logits[:, 1] - outputs.logits[:, 0]).double()[:, None]
    groups = outputs.data.groups
    return ((lead >= rule.thresholds[groups]) * rule.weights[groups]).sum(dim=1).numpy()


def rates(positive: np.ndarray, outputs: FrozenOutputs) -> np.ndarray:
    """True and false positive rates and selection rates per group (3, 3)."""
    labels, groups = outputs.data.labels.numpy(), outputs.data.groups.numpy()
    strata = [labels == 1, labels == 0, labels >= 0]
    return np.array([[positive[(groups == group) & each].mean() for each in strata] for group in range(3)])


def fitted(outputs: FrozenOutputs, criterion: Criterion, measure: Measure = "accuracy") -> list[RandomisedThresholds]:
    rules = [one.rule for one in fit_hardt(outputs, FitTarget(criterion, measure, 1))]
    assert all(isinstance(rule, RandomisedThresholds) for rule in rules)
    return rules  # type: ignore[return-value]


@pytest.mark.parametrize("criterion", ["equalized_odds", "demographic_parity"])
@pytest.mark.parametrize("measure", ["accuracy", "balanced_accuracy"])
def test_without_a_gap_it_is_fairlearns_threshold_optimizer(criterion: Criterion, measure: Measure) -> None:
    from fairlearn.postprocessing import ThresholdOptimizer

    outputs = biased()
    lead = (outputs.logits[:, 1:] - outputs.logits[:, :1]).double().numpy()
    labels, groups = outputs.data.labels.numpy(), outputs.data.groups.numpy()
    theirs = ThresholdOptimizer(
        estimator=GivenScores(),
        constraints=criterion,
        objective=f"{measure}_score",
        prefit=True,
        predict_method="predict",
        grid_size=4000,
    )
    theirs.fit(lead, labels, sensitive_features=groups)
    wanted = theirs._pmf_predict(lead, sensitive_features=groups)[:, 1]
    ours = expected(fitted(outputs, criterion, measure)[-1], outputs)
    right, theirs_right = (np.where(labels == 1, each, 1 - each) for each in (ours, wanted))
    assert right.mean() == pytest.approx(theirs_right.mean(), abs=1e-3)
    assert rates(ours, outputs) == pytest.approx(rates(wanted, outputs), abs=1e-3)


def test_every_rule_keeps_its_gap_and_a_wider_one_costs_less() -> None:
    outputs = biased()
    labels = outputs.data.labels.numpy()
    accuracies = []
    for gap, rule in zip(GAPS, fitted(outputs, "equalized_odds"), strict=True):
        positive = expected(rule, outputs)
        assert np.ptp(rates(positive, outputs)[:, :2], axis=0).mean() <= gap + 1e-9
        accuracies.append(np.where(labels == 1, positive, 1 - positive).mean())
    assert accuracies == sorted(accuracies, reverse=True)
    assert accuracies[0] > accuracies[-1] + 0.02
    assert accuracies[0] >= (outputs.predictions == outputs.data.labels).float().mean().item()


def test_turns_give_every_cell_its_expected_positives_whatever_the_order_of_rows() -> None:
    outputs = biased()
    rule = fitted(outputs, "equalized_odds")[-1]
    found, wanted = rule.predict(outputs), expected(rule, outputs)
    for group in range(3):
        for label in range(2):
            cell = ((outputs.data.groups == group) & (outputs.data.labels == label)).numpy()
            assert abs(found.numpy()[cell].sum() - wanted[cell].sum()) < 1
    assert ((wanted > 0.01) & (wanted < 0.99)).sum() > 50  # there was something to take turns about
    again = rule.predict(outputs.take(torch.arange(len(outputs)).flip(0)))
    assert int(again.sum()) == pytest.approx(int(found.sum()), abs=3)
    assert torch.equal(rule.predict(outputs), found)


def test_a_group_that_tuning_did_not_have_keeps_the_models_answers() -> None:
    outputs = biased()
    seen = outputs.take((outputs.data.groups != 2).nonzero()[:, 0])
    rule = fitted(seen, "demographic_parity")[-1]
    new = outputs.data.groups == 2
    assert torch.equal(rule.predict(outputs)[new], outputs.predictions[new])
    assert not torch.equal(rule.predict(outputs), outputs.predictions)


def test_a_group_with_one_label_only_is_fitted_on_the_rate_that_it_has() -> None:
    outputs = biased()
    kept = outputs.take(((outputs.data.groups != 2) | (outputs.data.labels == 0)).nonzero()[:, 0])
    positive = expected(fitted(kept, "equalized_odds")[-1], kept)
    labels, groups = kept.data.labels.numpy(), kept.data.groups.numpy()
    false = [positive[(groups == group) & (labels == 0)].mean() for group in range(3)]
    assert np.ptp(false) < 1e-9


def test_more_than_two_labels_are_refused() -> None:
    with pytest.raises(UnsupportedDataError, match="needs a model of two labels, this one has 3"):
        fit_hardt(frozen(np.eye(3), [0, 1, 2], [0, 1, 0]), FitTarget("equalized_odds", "accuracy", 1))
