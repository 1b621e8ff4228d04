"""The joint probe: calibrated probabilities of group and label, the model's own score where features say no more."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch.nn.functional import nll_loss

from tests.trainer.baselines.postprocessing.biased_cells import biased_cells
from tests.trainer.baselines.postprocessing.frozen import frozen
from trainer.baselines.postprocessing.joint_probe import fit_joint_probe


def test_probabilities_hold_on_rows_that_it_never_saw() -> None:
    fresh = biased_cells(20_000, seed=1)
    joint = fit_joint_probe(biased_cells(4000)).probe.posterior(fresh)
    assert torch.allclose(joint.sum(dim=(1, 2)), torch.ones(len(fresh), dtype=torch.float64))
    for group in range(2):
        for label in range(2):
            said = joint[:, group, label]
            true = ((fresh.data.groups == group) & (fresh.data.labels == label)).double()
            for low in (0.0, 0.1, 0.3, 0.6):
                bin_ = (said >= low) & (said < low + 0.3)
                assert abs(float(said[bin_].mean() - true[bin_].mean())) < 0.03


def test_a_score_that_knows_all_is_kept_and_only_calibrated() -> None:
    draw = torch.Generator().manual_seed(0)
    honest = 2 * torch.randn(1500, generator=draw)
    labels = (torch.rand(1500, generator=draw) < torch.sigmoid(honest)).long()
    groups = torch.randint(2, (1500,), generator=draw)
    noise = torch.randn(1500, 60, generator=draw)
    outputs = frozen(5 * honest + 1, labels, groups, noise)  # five times too sure, and shifted
    said = fit_joint_probe(outputs).probe.posterior(outputs).sum(dim=1)[:, 1]
    assert float((said - torch.sigmoid(honest).double()).abs().mean()) < 0.05


def test_held_out_probabilities_do_not_flatter_the_rows_that_were_fitted() -> None:
    outputs = biased_cells(300, width=60)
    fitted = fit_joint_probe(outputs)
    cells = outputs.data.groups * 2 + outputs.data.labels

    def loss(joint: torch.Tensor) -> float:
        return float(nll_loss(joint.flatten(1).log(), cells))

    fresh = biased_cells(20_000, seed=1, width=60)
    true = float(nll_loss(fitted.probe.posterior(fresh).flatten(1).log(), fresh.data.groups * 2 + fresh.data.labels))
    assert loss(fitted.probe.posterior(outputs)) < 0.95 * true
    assert 0.98 * true < loss(fitted.held_out) < 1.2 * true


def test_features_may_be_of_any_scale() -> None:
    outputs = biased_cells(400)
    moved = replace(outputs, features=100 + 50 * outputs.features)
    one, other = (fit_joint_probe(each).probe.posterior(each) for each in (outputs, moved))
    assert torch.allclose(one, other, atol=1e-3)


def test_many_labels_and_groups_and_cells_without_rows() -> None:
    outputs = biased_cells(900, labels=4, groups=3, width=10)
    kept = outputs.take(((outputs.data.groups != 1) | (outputs.data.labels != 2)).nonzero()[:, 0])
    joint = fit_joint_probe(kept).probe.posterior(outputs)
    assert joint.shape == (900, 3, 4)
    assert float(joint[:, 1, 2].mean()) < 0.01
