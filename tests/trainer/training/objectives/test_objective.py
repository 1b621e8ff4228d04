"""The losses and the fair gradient against values worked out by hand."""

from __future__ import annotations

from math import exp

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from trainer.config.run_config import Criterion, ObjectiveConfig
from trainer.training.objectives.objective import (
    BANDWIDTHS,
    cell_membership,
    cell_weights,
    distance_loss,
    gap_loss,
    kamiran_calders_weights,
    mmd_loss,
    project_out_and_subtract,
    stratum_membership,
    subtract_unprojected,
    utility_loss,
)


def logits_of(*high: float) -> Tensor:
    """Logits (1, B, 2) whose score of label 1 is as given."""
    p = torch.tensor([high])
    return torch.stack([(1 - p).log(), p.log()], dim=-1)


def gap(logits: Tensor, labels: list[int], groups: list[int], criterion: Criterion, count: int = 2) -> list[float]:
    in_group = one_hot(torch.tensor(groups), count).float()
    members = cell_membership(torch.tensor(labels), in_group, criterion, logits.shape[-1])
    return [round(value, 6) for value in gap_loss(logits, members, temperature=1.0).tolist()]


def test_surgery_by_hand() -> None:
    # Trigger 0: a points along y with length 2, so y leaves u and 0.5 * 2 is subtracted there. Trigger 1: strength 3.
    u = torch.tensor([[3.0, 4.0], [1.0, 1.0]])
    a = torch.tensor([[0.0, 2.0], [1.0, 0.0]])
    assert project_out_and_subtract(u, a, torch.tensor([0.5, 3.0])).tolist() == [[3.0, -1.0], [-3.0, 1.0]]


def test_surgery_keeps_shapes_and_projects_each_trigger_as_one_vector() -> None:
    u, a = torch.randn(3, 2, 4, 4), torch.randn(3, 2, 4, 4)
    fair = project_out_and_subtract(u, a, torch.zeros(3))
    assert fair.shape == u.shape
    assert torch.allclose((fair * a).flatten(1).sum(dim=1), torch.zeros(3), atol=1e-4)


def test_a_zero_adversary_gradient_changes_nothing() -> None:
    u = torch.randn(2, 5)
    assert torch.equal(project_out_and_subtract(u, torch.zeros(2, 5), torch.tensor([1.0, 100.0])), u)


def test_plain_gradient_by_hand() -> None:
    u, a = torch.tensor([[[3.0, 4.0]]]), torch.tensor([[[0.0, 2.0]]])
    assert subtract_unprojected(u, a, torch.tensor([0.5])).tolist() == [[[3.0, 3.0]]]
    both, strengths = torch.cat([u, u]), torch.tensor([0.5, 2.0])  # each trigger under its own strength
    assert torch.equal(subtract_unprojected(both, torch.cat([a, a]), strengths), torch.cat([u - 0.5 * a, u - 2.0 * a]))


def test_utility_is_each_triggers_own_cross_entropy() -> None:
    logits, labels = torch.randn(3, 7, 4), torch.randint(4, (7,))
    expected = torch.stack([cross_entropy(row, labels) for row in logits])
    assert torch.allclose(utility_loss(logits, labels), expected)


def test_parity_gap_by_hand() -> None:
    # group 0: mean of .8 and .6 is .7; group 1: .2. The squared difference is .25.
    assert gap(logits_of(0.8, 0.6, 0.2), [0, 1, 1], [0, 0, 1], "demographic_parity") == [0.25]


def test_odds_gap_by_hand() -> None:
    # label 0: .8 against .2, .36 squared; label 1: .6 against .5, .01; their mean is .185.
    scores = logits_of(0.8, 0.2, 0.6, 0.5)
    assert gap(scores, [0, 0, 1, 1], [0, 1, 0, 1], "equalized_odds") == [0.185]


def test_a_label_that_only_one_group_has_takes_no_part_in_the_odds_gap() -> None:
    assert gap(logits_of(0.8, 0.2, 0.6), [0, 0, 1], [0, 1, 0], "equalized_odds") == [0.36]


def test_three_groups_are_averaged_over_pairs_and_an_absent_fourth_is_left_out() -> None:
    # .9, .5, .4: squares .16, .25, .01, mean .14
    assert gap(logits_of(0.9, 0.5, 0.4), [0, 0, 0], [0, 1, 3], "demographic_parity", count=4) == [0.14]


def test_more_labels_compare_whole_distributions() -> None:
    scores = torch.tensor([[[0.5, 0.3, 0.2], [0.2, 0.3, 0.5]]]).log()
    assert gap(scores, [0, 1], [0, 1], "demographic_parity") == [0.09]


def test_one_group_alone_has_no_gap_and_no_nan() -> None:
    logits = logits_of(0.8, 0.6).requires_grad_()
    members = cell_membership(torch.tensor([0, 1]), torch.tensor([[0.0, 1.0], [0.0, 1.0]]), "equalized_odds", 2)
    loss = gap_loss(logits, members, temperature=1.0)
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert loss.tolist() == [0.0]
    assert torch.equal(gradient, torch.zeros_like(gradient))


@pytest.mark.parametrize(("temperature", "expected"), [(1.0, 0.36), (1e-3, 1.0)])
def test_a_low_temperature_compares_decisions(temperature: float, expected: float) -> None:
    members = cell_membership(torch.tensor([0, 0]), torch.eye(2), "demographic_parity", 2)
    assert gap_loss(logits_of(0.8, 0.2), members, temperature).item() == pytest.approx(expected)


def test_every_strength_has_its_own_loss() -> None:
    logits = torch.cat([logits_of(0.8, 0.2), logits_of(0.5, 0.5)])
    assert gap(logits, [0, 1], [0, 1], "demographic_parity") == [0.36, 0.0]


# ---- overlapping groups -----------------------------------------------------------------------------------------

BOTH_A_B_NONE = torch.tensor([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
"""Four rows: in both groups, in the first, in the second, in none."""


def distance(logits: Tensor, labels: list[int], members: Tensor, criterion: Criterion) -> list[float]:
    found, count = torch.tensor(labels), logits.shape[-1]
    cells, everyone = cell_membership(found, members, criterion, count), stratum_membership(found, criterion, count)
    return [round(value, 6) for value in distance_loss(logits, cells, everyone, temperature=1.0).tolist()]


def test_parity_distance_by_hand() -> None:
    # everyone .5, of whom one is in no group; group a mean of .9 and .7 is .8, group b of .9 and .3 is .6: .09 and .01
    assert distance(logits_of(0.9, 0.7, 0.3, 0.1), [0, 1, 0, 1], BOTH_A_B_NONE, "demographic_parity") == [0.05]


def test_odds_distance_by_hand() -> None:
    # label 0, the rows in both and in b: everyone .6, a .9, b .6: .09 and 0.
    # label 1, the rows in a and in none: everyone .4, a .7, b has no row: .09.
    scores = logits_of(0.9, 0.7, 0.3, 0.1)
    assert distance(scores, [0, 1, 0, 1], BOTH_A_B_NONE, "equalized_odds") == [round((0.045 + 0.09) / 2, 6)]


def test_of_two_equal_halves_the_distance_is_a_quarter_of_the_gap() -> None:
    scores, halves = logits_of(0.8, 0.4, 0.2, 0.2), torch.eye(2).repeat_interleave(2, dim=0)
    (gap_of_pairs,) = gap(scores, [0, 0, 0, 0], [0, 0, 1, 1], "demographic_parity")
    assert distance(scores, [0, 0, 0, 0], halves, "demographic_parity") == [pytest.approx(gap_of_pairs / 4)]


def test_rows_of_no_group_alone_have_no_distance_and_no_nan() -> None:
    logits = logits_of(0.8, 0.6).requires_grad_()
    labels, nobody = torch.tensor([0, 1]), torch.zeros(2, 3)
    cells = cell_membership(labels, nobody, "equalized_odds", 2)
    loss = distance_loss(logits, cells, stratum_membership(labels, "equalized_odds", 2), temperature=1.0)
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert loss.tolist() == [0.0]
    assert torch.equal(gradient, torch.zeros_like(gradient))


def test_a_row_counts_in_all_its_groups_and_only_there() -> None:
    cells = cell_membership(torch.tensor([0, 1, 0, 1]), BOTH_A_B_NONE, "equalized_odds", 2)
    assert cells.sum(dim=0).tolist() == [[1, 2], [1, 0]]  # by label, then group


def test_reweighing_by_hand() -> None:
    labels, groups = torch.tensor([0, 0, 0, 1, 1, 1, 1, 1]), torch.tensor([0, 0, 1, 0, 1, 1, 1, 1])
    weights = kamiran_calders_weights(labels, groups, (2, 2))
    # n = 8: labels 3 and 5, groups 3 and 5; cells (0,0) 2, (0,1) 1, (1,0) 1, (1,1) 4
    expected = torch.tensor([[3 * 3 / 8 / 2, 3 * 5 / 8 / 1], [5 * 3 / 8 / 1, 5 * 5 / 8 / 4]])
    assert torch.allclose(weights, expected)
    table = torch.zeros(2, 2)
    table.index_put_((labels, groups), weights[labels, groups], accumulate=True)
    assert torch.allclose(table / 8, torch.outer(table.sum(1) / 8, table.sum(0) / 8))  # now independent


@pytest.mark.parametrize("sizes", [(2, 3), (3, 2)])
def test_cells_without_rows_weigh_nothing_whatever_the_numbers_of_labels_and_groups(sizes: tuple[int, int]) -> None:
    labels, groups = torch.tensor([0, 0, 1]), torch.tensor([0, 1, 0])
    expected = torch.zeros(sizes)
    expected[0, 0], expected[0, 1], expected[1, 0] = 2 * 2 / 3, 2 / 3, 2 / 3
    assert torch.allclose(kamiran_calders_weights(labels, groups, sizes), expected)


def test_rows_have_weights_only_where_the_objective_reweighs() -> None:
    labels, groups = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 1, 1])
    found = cell_weights(labels, groups, (2, 2), ObjectiveConfig(reweigh=True))
    assert found is not None and torch.equal(found, kamiran_calders_weights(labels, groups, (2, 2)))
    assert cell_weights(labels, groups, (2, 2), ObjectiveConfig(reweigh=False)) is None


def test_weights_weigh_rows() -> None:
    logits, labels = torch.randn(2, 4, 2), torch.tensor([0, 1, 1, 0])
    weights = torch.tensor([2.0, 0.0, 1.0, 0.0])
    rows = [utility_loss(logits[:, [row]], labels[[row]]) for row in range(4)]
    assert torch.allclose(utility_loss(logits, labels, weights), (2 * rows[0] + rows[2]) / 4)


def test_mmd_by_hand() -> None:
    """Two groups of one row each: twice the kernel at 0 minus twice the kernel at their distance."""
    scores = torch.tensor([[0.9, 0.1], [0.6, 0.4]])
    members = torch.eye(2)[:, None, :]
    kernel = sum(exp(-(2 * 0.3**2) / (2 * width**2)) for width in BANDWIDTHS) / len(BANDWIDTHS)
    assert mmd_loss(scores.log()[None], members).item() == pytest.approx(2 - 2 * kernel, rel=1e-5)


def test_mmd_sees_what_means_hide() -> None:
    """Equal mean scores, unequal spread: the gap is zero, the discrepancy is not; alike groups have neither."""
    spread, narrow = [0.1, 0.9, 0.1, 0.9], [0.5, 0.5, 0.5, 0.5]
    members = cell_membership(
        torch.zeros(8, dtype=torch.long), torch.eye(2).repeat_interleave(4, 0), "demographic_parity", 2
    )
    for second, alike in ((narrow, False), (spread, True)):
        positive = torch.tensor([*spread, *second])
        logits = torch.stack([1 - positive, positive], dim=1).log()[None]
        assert gap_loss(logits, members, 1.0).item() == pytest.approx(0, abs=1e-6)
        assert (mmd_loss(logits, members).item() < 1e-6) is alike
