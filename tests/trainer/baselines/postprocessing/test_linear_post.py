"""LinearPost against exact answers: programmes over a finite input space, all rules, and the known form for two labels.

A finite space has ties, where a rule without randomness gives all copies of an input one answer. So a bound holds up to
the mass of tied inputs; where none ties it holds exactly.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from torch import Tensor
from torch.nn.functional import one_hot

from tests.trainer.baselines.postprocessing.biased_cells import biased_cells
from trainer.baselines.postprocessing.joint_probe import fit_joint_probe
from trainer.baselines.postprocessing.linear_post import SHARES, FairProgramme, fit_linear_post, linear_predictions
from trainer.baselines.postprocessing.rule import FitTarget
from trainer.config import Criterion

CRITERIA: tuple[Criterion, ...] = ("demographic_parity", "equalized_odds")
EXACT = 2e-5
"""The solver's accuracy."""


class FiniteSpace:
    """Inputs with whole-number masses (K,) and known p(group, label | input) (K, G, L)."""

    def __init__(self, seed: int, points: int, groups: int, labels: int) -> None:
        draw = np.random.default_rng(seed)
        joint = draw.dirichlet(np.full(groups * labels, 0.4), size=points) + 0.01
        self.joint = (joint / joint.sum(axis=1, keepdims=True)).reshape(points, groups, labels)
        self.masses = draw.integers(1, 6, size=points)
        self.mass = self.masses / self.masses.sum()

    def programme(self, criterion: Criterion) -> FairProgramme:
        """The programme on rows that are as frequent as the inputs."""
        rows = torch.from_numpy(np.repeat(self.joint, self.masses, axis=0))
        _, groups, labels = rows.shape
        return FairProgramme(rows, criterion, torch.ones(labels).double(), torch.ones(groups, labels) > 0)

    def error(self, answers: np.ndarray) -> float:
        """Expected error of answers (K, L)."""
        return float(1 - (self.mass[:, None] * answers * self.joint.sum(axis=1)).sum())

    def members(self, criterion: Criterion) -> np.ndarray:
        """Shares (G, S, K) of the inputs among the rows of a group and stratum."""
        cells = self.joint.sum(axis=2, keepdims=True) if criterion == "demographic_parity" else self.joint
        weighted = (self.mass[:, None, None] * cells).transpose(1, 2, 0)
        return np.asarray(weighted / weighted.sum(axis=2, keepdims=True))

    def gap(self, answers: np.ndarray, criterion: Criterion) -> float:
        """The largest difference between groups, over strata and labels, of the rate of an answer (K, L)."""
        rates = self.members(criterion) @ answers
        return float(np.ptp(rates, axis=0).max())

    def least_error(self, criterion: Criterion, tolerance: float) -> float:
        """The exact optimum: every pair of groups is compared, in every stratum and for every answer."""
        points, groups, labels = self.joint.shape
        members, pairs = self.members(criterion), []
        for one, other in product(range(groups), repeat=2):
            for stratum, answer in product(range(members.shape[1]), range(labels)):
                row = np.zeros((points, labels))
                row[:, answer] = members[one, stratum] - members[other, stratum]
                pairs.append(row.ravel())
        each = np.kron(np.eye(points), np.ones((1, labels)))
        worth = (self.mass[:, None] * self.joint.sum(axis=1)).ravel()
        known = linprog(-worth, np.stack(pairs), np.full(len(pairs), tolerance), each, np.ones(points), bounds=(0, 1))
        return float(1 + known.fun)

    def answers(self, table: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Answers (K, L) of the rule, one-hot, and which inputs (K,) are tied."""
        joint = torch.from_numpy(self.joint)
        scores = torch.einsum("ngy,gyl->nl", joint, table).sort(dim=1).values
        tied = (scores[:, -1] - scores[:, -2] < 1e-7).numpy()
        return np.eye(len(table[0]))[linear_predictions(joint, table).numpy()], tied


spaces: Any = st.builds(FiniteSpace, st.integers(0, 10_000), st.integers(4, 25), st.integers(2, 3), st.integers(2, 3))


@given(spaces, st.sampled_from(CRITERIA), st.floats(0, 0.5))
@settings(max_examples=60, deadline=None)
def test_the_rule_is_the_exact_optimum_but_for_tied_inputs(
    space: FiniteSpace, criterion: Criterion, tolerance: float
) -> None:
    answers, tied = space.answers(space.programme(criterion).table(tolerance))
    assert space.error(answers) <= space.least_error(criterion, tolerance) + space.mass[tied].sum() + EXACT
    tied_mass = space.members(criterion)[:, :, tied].sum(axis=2).max(initial=0)
    assert space.gap(answers, criterion) <= tolerance + tied_mass + EXACT


@given(spaces, st.sampled_from(CRITERIA))
@settings(max_examples=30, deadline=None)
def test_a_tolerance_above_the_gap_leaves_the_best_guess(space: FiniteSpace, criterion: Criterion) -> None:
    programme = space.programme(criterion)
    best, _ = space.answers(programme.bayes)
    assert programme.gap == pytest.approx(space.gap(best, criterion))
    assert np.array_equal(space.answers(programme.table(programme.gap + 0.01))[0], best)
    assert space.error(best) == pytest.approx(1 - (space.mass * space.joint.sum(axis=1).max(axis=1)).sum())


def many_inputs(seed: int, rows: int, labels: int = 2) -> Tensor:
    """Joint probabilities (N, 2, L) of as many inputs as rows; the groups differ in how frequent label 0 is."""
    draw = torch.Generator().manual_seed(seed)
    scores = 1.5 * torch.randn(rows, 1, labels, generator=draw, dtype=torch.float64).repeat(1, 2, 1)
    scores[:, 1, 0] += 1
    told = torch.sigmoid(2 * torch.randn(rows, generator=draw, dtype=torch.float64) + scores[:, 0, 0] / 3)
    return torch.softmax(scores, dim=2) * torch.stack([1 - told, told], dim=1)[:, :, None]


def programme_of(joint: Tensor, criterion: Criterion) -> FairProgramme:
    """All labels count alike, and every group has them."""
    return FairProgramme(joint, criterion, torch.ones(joint.shape[2]).double(), torch.ones(joint.shape[1:]) > 0)


def test_two_labels_under_parity_have_the_known_form_with_one_threshold() -> None:
    """Answer 1 where 2 p(1|x) - 1 exceeds t (p(b|x)/p(b) - p(a|x)/p(a)): no other t is better within the tolerance."""
    joint = many_inputs(0, 4000)
    programme = programme_of(joint, "demographic_parity")
    member = joint.sum(dim=2) / joint.sum(dim=2).mean(dim=0)
    lead, apart = 2 * joint.sum(dim=1)[:, 1] - 1, member[:, 1] - member[:, 0]
    tolerance = 0.4 * programme.gap
    table = programme.table(tolerance)
    chosen = linear_predictions(joint, table)

    def figures(answers: Tensor) -> tuple[float, float]:
        """The gap, and what the answers (N,) are worth above answering 0 to all."""
        return abs(float((apart * answers).mean())), float((lead * answers).mean())

    every = [figures((lead > t * apart).double()) for t in torch.linspace(-2, 2, 2001).tolist()]
    gap, worth = figures(chosen.double())
    assert gap <= tolerance + 2e-3
    assert worth >= max(other for own, other in every if own <= tolerance) - 1e-3
    t = float(table[0, 0, 1] - table[0, 0, 0] + 1) * float(joint[:, 0].sum(dim=1).mean())  # the price of group a's rate
    assert 0.05 < abs(t) < 2
    assert int((chosen != (lead > t * apart).long()).sum()) <= 1  # the row that ties


@pytest.mark.parametrize("labels", [2, 3])
@pytest.mark.parametrize("criterion", CRITERIA)
def test_error_rises_as_the_tolerance_falls_and_few_rows_tie(criterion: Criterion, labels: int) -> None:
    joint = many_inputs(1, 800, labels)
    programme = programme_of(joint, criterion)
    members = joint.sum(dim=2, keepdim=True) if criterion == "demographic_parity" else joint
    errors = []
    for share in SHARES:
        answers = one_hot(linear_predictions(joint, programme.table((1 - share) * programme.gap)), labels).double()
        errors.append(float(1 - (answers * joint.sum(dim=1)).sum(dim=1).mean()))
        rates = torch.einsum("ngs,nl->gsl", members / members.mean(dim=0), answers) / len(joint)
        assert float((rates[0] - rates[1]).abs().max()) <= (1 - share) * programme.gap + 0.02  # some rows tie
    assert all(later >= earlier - 1e-3 for earlier, later in pairwise(errors))
    assert errors[-1] > errors[0]


def test_a_label_that_counts_more_is_guessed_more_often() -> None:
    joint, seen = many_inputs(2, 500), torch.ones(2, 2) > 0
    rates = []
    for weight in (1.0, 3.0):
        programme = FairProgramme(joint, "equalized_odds", torch.tensor([1.0, weight]).double(), seen)
        rates.append(float(linear_predictions(joint, programme.table(0.05)).double().mean()))
    assert rates[1] > rates[0] + 0.1


def gap_of(outputs: Any, predictions: Tensor, criterion: Criterion) -> float:
    """The mean over strata of the difference between two groups in the rate of label 1."""
    data = outputs.data
    strata = (
        [torch.ones(len(data.labels)) > 0] if criterion == "demographic_parity" else [data.labels == y for y in (0, 1)]
    )
    rates = [[float((predictions[s & (data.groups == g)] == 1).double().mean()) for g in (0, 1)] for s in strata]
    return sum(abs(one - other) for one, other in rates) / len(rates)


@pytest.mark.parametrize("criterion", CRITERIA)
def test_fitted_rules_close_the_gap_of_new_rows_and_read_no_group(criterion: Criterion) -> None:
    tuning, fresh = biased_cells(1500), biased_cells(6000, seed=1)
    rules = fit_linear_post(tuning, FitTarget(criterion, "accuracy", 1))
    assert [one.strength for one in rules] == list(SHARES)
    bare = gap_of(fresh, fresh.predictions, criterion)
    gaps = [gap_of(fresh, one.rule.predict(fresh), criterion) for one in rules]
    assert gaps[-1] < 0.25 * bare
    assert gaps[-1] < gaps[4] < gaps[0]
    blind = replace(fresh, data=replace(fresh.data, groups=1 - fresh.data.groups, labels=0 * fresh.data.labels))
    assert torch.equal(rules[-1].rule.predict(blind), rules[-1].rule.predict(fresh))
    again = fit_linear_post(tuning, FitTarget(criterion, "accuracy", 1))
    for one, other in zip(rules, again, strict=True):
        assert all(torch.equal(one.rule.tensors()[name], other.rule.tensors()[name]) for name in one.rule.tensors())


def test_the_programme_sees_probabilities_of_rows_that_were_held_out() -> None:
    outputs = biased_cells(300, width=40)
    table = programme_of(fit_joint_probe(outputs).held_out, "equalized_odds").table(0.0)
    assert torch.equal(
        fit_linear_post(outputs, FitTarget("equalized_odds", "accuracy", 1))[-1].rule.tensors()["table"], table
    )


def test_balanced_accuracy_counts_a_rare_label_as_much() -> None:
    tuning, fresh = biased_cells(1000), biased_cells(4000, seed=1)
    rare = tuning.take(((tuning.data.labels == 0) | (torch.arange(1000) % 5 == 0)).nonzero()[:, 0])
    recalls = []
    for measure in ("accuracy", "balanced_accuracy"):
        guess = fit_linear_post(rare, FitTarget("equalized_odds", measure, 1))[0].rule.predict(fresh)
        recalls.append(float((guess[fresh.data.labels == 1] == 1).double().mean()))
    assert recalls[1] > recalls[0] + 0.1


def test_many_labels_and_groups_and_a_cell_without_rows() -> None:
    outputs = biased_cells(600, labels=3, groups=3, width=6)
    kept = outputs.take(((outputs.data.groups != 1) | (outputs.data.labels != 2)).nonzero()[:, 0])
    rules = fit_linear_post(kept, FitTarget("equalized_odds", "accuracy", 1))
    accuracy = [float((one.rule.predict(kept) == kept.data.labels).double().mean()) for one in rules]
    assert accuracy[0] > accuracy[-1] > 0.4
