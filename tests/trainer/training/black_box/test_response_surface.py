"""Gradients out of answers: a response surface against the network itself."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.trainer.datasets import digits
from trainer.training.black_box.asked_points import AskedPoints, coefficients
from trainer.training.black_box.asked_rows import AskedRows, representative_rows
from trainer.training.black_box.low_frequencies import cosine_basis, in_low_frequencies
from trainer.training.black_box.response_surface import ResponseSurface
from trainer.training.objectives.objective import gap_loss, stratum_membership, utility_loss
from triggers.model import FrozenClassifier, sweep
from triggers.trigger.image_trainable import ImageModule, build_image_module

FREQUENCIES = 4
TUNING = digits.parts()["tuning"]
START = torch.tensor([1.0, 0, 0, 0] * 3)
"""Brighter everywhere: at no trigger the black background of the digits is clipped on one side, and has no gradient."""


def overlay() -> ImageModule:
    return build_image_module("overlay", count=1, channels=3, size=digits.SIZE, seed=0, epsilon=0.3)


def loss(logits: Tensor) -> Tensor:
    """Utility and gap (1, N, L) -> (1,)."""
    cells = stratum_membership(TUNING.labels, "demographic_parity", 2)[:, :, None] * TUNING.members[:, None, :]
    return utility_loss(logits, TUNING.labels) + 10 * gap_loss(logits, cells, 1.0)


def exact_gradient(classifier: FrozenClassifier, at: Tensor) -> Tensor:
    """Of the loss with respect to coefficients (P,)."""
    module = in_low_frequencies(overlay(), FREQUENCIES)
    with torch.no_grad():
        coefficients(module).copy_(at.view_as(coefficients(module)))
    found = torch.autograd.grad(loss(sweep(classifier, TUNING.inputs, module.render())).sum(), coefficients(module))
    return found[0].flatten()


def surface_gradient(surface: ResponseSurface, at: Tensor) -> Tensor:
    point = at[None].clone().requires_grad_()
    (found,) = torch.autograd.grad(loss(surface.logits(point, torch.arange(len(TUNING)))).sum(), point)
    return found[0]


def asked(classifier: FrozenClassifier, points: int) -> AskedPoints:
    rows = AskedRows(classifier, TUNING, labels_only=False, batch=512)
    return AskedPoints(rows, overlay(), FREQUENCIES, points, seed=0)


@pytest.mark.parametrize(("step", "least"), [(0.02, 0.999), (1.0, 0.9)])
def test_the_gradient_is_the_networks_own(digits_classifier: FrozenClassifier, step: float, least: float) -> None:
    found, start = asked(digits_classifier, 30), START
    found.ask(start + torch.cat([torch.zeros(1, 12), step * torch.eye(12), -step * torch.eye(12)]))
    surface = ResponseSurface.fit(found.points, found.answers, step)
    exact, estimated = exact_gradient(digits_classifier, start), surface_gradient(surface, start)
    assert float(torch.cosine_similarity(exact, estimated, dim=0)) > least
    if step < 1:
        assert float(estimated.norm() / exact.norm()) == pytest.approx(1, abs=0.05)


def test_a_few_random_directions_give_what_lies_in_them(digits_classifier: FrozenClassifier) -> None:
    found, start = asked(digits_classifier, 30), START
    directions = torch.linalg.qr(torch.randn(12, 12, generator=torch.Generator().manual_seed(1))).Q[:5]
    found.ask(start + torch.cat([torch.zeros(1, 12), 0.02 * directions, -0.02 * directions]))
    estimated = surface_gradient(ResponseSurface.fit(found.points, found.answers, 0.02), start)
    within = directions.T @ (directions @ exact_gradient(digits_classifier, start))
    assert float(torch.cosine_similarity(within, estimated, dim=0)) > 0.999


def test_answers_lie_on_the_surface(digits_classifier: FrozenClassifier) -> None:
    found = asked(digits_classifier, 30)
    found.ask(START + 0.3 * torch.randn(15, 12, generator=torch.Generator().manual_seed(0)))
    surface = found.surface()
    there = surface.logits(found.points, torch.arange(len(TUNING)))
    assert len(found.points) == 15 and found.left == 15
    assert float((there - found.answers).abs().max()) < 0.05 * float((found.answers - found.answers[0]).abs().max())


def test_no_more_points_are_asked_than_may_be(digits_classifier: FrozenClassifier) -> None:
    found = asked(digits_classifier, 3)
    found.ask(torch.zeros(5, 12))
    found.ask(torch.ones(1, 12))
    assert (len(found.points), found.left) == (3, 0)


def test_the_basis_is_orthogonal_and_begins_with_the_mean() -> None:
    basis = cosine_basis((6, 10), 60)
    products = basis.flatten(1) @ basis.flatten(1).T / 60
    assert torch.allclose(products, torch.eye(60), atol=1e-5)
    assert torch.allclose(basis[0], torch.ones(6, 10))


def test_every_beginning_of_the_rows_is_like_the_whole() -> None:
    rows = representative_rows(TUNING, 100, seed=0)
    assert len(set(rows.tolist())) == 100
    for label in (0, 1):
        for group in (0, 1):
            cell = (TUNING.labels == label) & (TUNING.groups == group)
            assert float(cell[rows].float().mean()) == pytest.approx(float(cell.float().mean()), abs=0.02)
