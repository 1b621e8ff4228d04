"""FRAPPÉ's offset: its gradient, its two ends, the paper's theorem, and what is exported."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from tests.trainer.baselines.postprocessing.biased_cells import biased_cells
from trainer.baselines.postprocessing.frappe import ANCHORS, Anchor, OffsetObjective, fit_frappe
from trainer.baselines.postprocessing.frozen_outputs import FrozenOutputs
from trainer.baselines.postprocessing.ridge import Columns
from trainer.baselines.postprocessing.rule import FeatureOffset, FitTarget
from trainer.config import Criterion
from trainer.training.objectives.objective import cell_membership, gap_loss

PARITY = FitTarget("demographic_parity", "accuracy", 1)
ODDS = FitTarget("equalized_odds", "accuracy", 1)
TARGETS = pytest.mark.parametrize("target", [PARITY, ODDS], ids=lambda target: target.criterion)
SIDES = pytest.mark.parametrize("anchor", list(ANCHORS))


def intercepted(features: Tensor) -> Columns:
    """Features with an intercept."""
    return Columns(torch.cat([features, torch.ones(len(features), 1)], dim=1).double(), free=1)


def gap_of(outputs: FrozenOutputs, predictions: Tensor, criterion: Criterion) -> float:
    """The squared gap of hard answers, as the objective averages it."""
    data, count = outputs.data, len(outputs.data.label_names)
    sure = 1000.0 * one_hot(predictions, count).double()
    cells = cell_membership(data.labels, data.members, criterion, count).double()
    return float(gap_loss(sure[None], cells, temperature=1.0)[0])


@TARGETS
@SIDES
def test_the_gradient_is_that_of_finite_differences(target: FitTarget, anchor: Anchor) -> None:
    outputs, rows = biased_cells(40, labels=3, groups=3, width=6), torch.arange(0, 40, 2)
    loss = OffsetObjective(outputs, replace(target, measure="balanced_accuracy"), 1.7, anchor).at(2.0)
    offset = torch.randn(20, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda given: loss(rows, given), (offset,))


def test_without_strength_the_model_stays_and_the_labels_fit_a_head() -> None:
    outputs, columns = biased_cells(400), intercepted(biased_cells(400).features)
    kept = columns.fit(OffsetObjective(outputs, ODDS, 1.5, "model").at(0.0), 2, penalty=0.1)
    assert torch.equal(kept, torch.zeros_like(kept))
    base = outputs.logits.double() / 1.5
    fitted = columns.fit(OffsetObjective(outputs, ODDS, 1.5, "labels").at(0.0), 2, penalty=1e-6)
    assert cross_entropy(base + columns.values @ fitted.T, outputs.data.labels) < 0.9 * cross_entropy(
        base, outputs.data.labels
    )


@TARGETS
@SIDES
def test_the_gap_falls_with_strength_on_tuning_and_on_new_rows(target: FitTarget, anchor: Anchor) -> None:
    tuning, fresh = biased_cells(1500), biased_cells(6000, seed=1)
    family = [one for one in fit_frappe(tuning, target) if one.setting.startswith(f"close to the {anchor}")]
    assert [one.strength for one in family] == list(ANCHORS[anchor])
    for outputs, noise in ((tuning, 0.003), (fresh, 0.001)):
        bare = gap_of(outputs, outputs.predictions, target.criterion)
        gaps = [gap_of(outputs, one.rule.predict(outputs), target.criterion) for one in family]
        assert all(later <= earlier + noise for earlier, later in pairwise(gaps))
        assert gaps[-1] < 0.15 * bare
        assert gaps[-1] < 0.3 * gaps[0]


@TARGETS
def test_for_a_fitted_linear_model_it_is_in_processing(target: FitTarget) -> None:
    """The theorem: frozen scores that are the best of their loss, and an offset of the same features."""
    drawn = biased_cells(600, labels=3, width=7)
    columns, labels = intercepted(drawn.features), drawn.data.labels
    best = columns.fit(lambda rows, logits: cross_entropy(logits, labels[rows]), 3, penalty=0.0)
    frozen = replace(drawn, logits=columns.values @ best.T)
    cells = cell_membership(labels, drawn.data.members, target.criterion, 3).double()

    def in_processing(rows: Tensor, logits: Tensor) -> Tensor:
        return cross_entropy(logits, labels[rows]) + 3.0 * gap_loss(logits[None], cells[rows], 1.0)[0]

    whole = columns.values @ columns.fit(in_processing, 3, penalty=0.0, start=best).T
    for anchor in ANCHORS:
        offset = columns.fit(OffsetObjective(frozen, target, 1.0, anchor).at(3.0), 3, penalty=0.0)
        fair = frozen.logits + columns.values @ offset.T
        assert torch.allclose(fair.softmax(dim=1), whole.softmax(dim=1), atol=2e-3)
    assert not torch.allclose(frozen.logits.softmax(dim=1), whole.softmax(dim=1), atol=0.05)


def test_what_is_exported_predicts_the_same_from_features_as_they_are() -> None:
    outputs = biased_cells(500)
    moved = replace(outputs, features=100 + 50 * outputs.features)
    for one, other in zip(fit_frappe(outputs, ODDS), fit_frappe(moved, ODDS), strict=True):
        exported = one.rule.tensors()
        assert exported["weight"].shape == (2, 8)
        by_hand = outputs.logits + outputs.features @ exported["weight"].T + exported["bias"]
        assert torch.equal(by_hand.argmax(dim=1), one.rule.predict(outputs))
        assert float((one.rule.predict(outputs) == other.rule.predict(moved)).float().mean()) > 0.995


def test_a_model_that_is_surer_of_the_same_answers_is_moved_alike() -> None:
    outputs = biased_cells(500)
    for one, other in zip(
        fit_frappe(outputs, PARITY), fit_frappe(replace(outputs, logits=5 * outputs.logits), PARITY), strict=True
    ):
        surer = replace(outputs, logits=5 * outputs.logits)
        assert float((one.rule.predict(outputs) == other.rule.predict(surer)).float().mean()) > 0.99


def test_two_fits_are_equal_and_read_neither_group_nor_label_later() -> None:
    outputs = biased_cells(500)
    blind = replace(outputs, data=replace(outputs.data, groups=0 * outputs.data.groups, labels=0 * outputs.data.labels))
    for one, other in zip(fit_frappe(outputs, PARITY), fit_frappe(outputs, PARITY), strict=True):
        assert isinstance(one.rule, FeatureOffset)
        assert all(torch.equal(one.rule.tensors()[name], other.rule.tensors()[name]) for name in ("weight", "bias"))
        assert torch.equal(one.rule.predict(outputs), other.rule.predict(blind))


def test_balanced_accuracy_counts_a_rare_label_as_much() -> None:
    tuning, fresh = biased_cells(1000), biased_cells(4000, seed=1)
    rare = tuning.take(((tuning.data.labels == 0) | (torch.arange(1000) % 5 == 0)).nonzero()[:, 0])
    recalls = []
    for target in (ODDS, replace(ODDS, measure="balanced_accuracy")):
        (utility,) = (one.rule for one in fit_frappe(rare, target) if one.strength == 0)
        recalls.append(float((utility.predict(fresh)[fresh.data.labels == 1] == 1).double().mean()))
    assert recalls[1] > recalls[0] + 0.05
