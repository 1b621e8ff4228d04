"""Heads: scores of every kind by hand, at their edges, in half precision, and a head that is not the network's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from triggers.errors import ModelError
from triggers.model.head import Head, head_fault, head_logits


def head(**fields: Any) -> Head:
    found: Head = TypeAdapter(Head).validate_python(fields)
    return found


MULTI = {"kind": "multi_label", "outputs": 3, "index": 1}
AGES = {"kind": "expected_value", "values": [10.0, 50.0], "cut": 43.0, "scale": 2.0}
RANDOM = torch.randn(50, 3, generator=torch.Generator().manual_seed(1)) * 3


def second(given: Head, outputs: Tensor) -> Tensor:
    """The second label's score (N,)."""
    return torch.softmax(head_logits(given, outputs, 2), dim=1)[:, 1]


@pytest.mark.parametrize(
    ("given", "outputs", "wanted"),
    [
        (head(kind="softmax"), RANDOM[:, :2], RANDOM[:, :2].softmax(1)[:, 1]),
        (head(kind="softmax"), RANDOM[:, :1], RANDOM[:, 0].sigmoid()),
        (head(kind="sigmoid"), RANDOM[:, :1], RANDOM[:, 0].sigmoid()),
        (head(**MULTI), RANDOM, RANDOM[:, 1].sigmoid()),
        (head(**MULTI, gives="probabilities"), RANDOM.sigmoid(), RANDOM[:, 1].sigmoid()),
        (head(kind="probabilities"), RANDOM[:, :2].softmax(1), RANDOM[:, :2].softmax(1)[:, 1]),
        (head(kind="probabilities"), RANDOM[:, :1].sigmoid(), RANDOM[:, 0].sigmoid()),
        (head(**AGES), torch.tensor([[0.5, 0.5], [0.175, 0.825]]), torch.tensor([-6.5, 0.0]).sigmoid()),
        (head(**AGES | {"scale": -2.0}), torch.tensor([[0.5, 0.5]]), torch.tensor([6.5]).sigmoid()),
        (head(**AGES, outputs="logits"), torch.tensor([[0.0, 0.0]]), torch.tensor([-6.5]).sigmoid()),
    ],
)
def test_scores_are_what_the_head_says(given: Head, outputs: Tensor, wanted: Tensor) -> None:
    assert torch.allclose(second(given, outputs), wanted, atol=1e-6)
    for dtype in (torch.float16, torch.bfloat16):
        half = head_logits(given, outputs.to(dtype), 2)
        assert half.dtype == torch.float32 and half.isfinite().all()
        assert torch.allclose(half.softmax(1), head_logits(given, outputs.to(dtype).float(), 2).softmax(1), atol=0)


@pytest.mark.parametrize("fields", [{"kind": "probabilities"}, MULTI | {"gives": "probabilities"}])
def test_probabilities_of_0_and_1_stay_themselves_and_give_finite_gradients(fields: dict[str, Any]) -> None:
    given = head(**fields)
    width = 1 if fields["kind"] == "probabilities" else 3
    outputs = torch.tensor([0.0, 1e-12, 1 - 2**-24, 1.0])[:, None].repeat(1, width).requires_grad_()
    logits = head_logits(given, outputs, 2)
    scores = logits.softmax(dim=1)
    assert torch.allclose(scores[:, 1], outputs[:, 0], atol=1e-7) and scores[-1, 1] == 1
    odds = logits[:, 1] - logits[:, 0]
    assert (odds.diff() > 0).all() and odds.abs().max() < 70 and odds[-1] < 18, "no jump at the end"
    (gradient,) = torch.autograd.grad(logits.sum(), outputs)
    assert gradient.isfinite().all()


def test_a_distribution_with_a_zero_is_finite() -> None:
    logits = head_logits(head(kind="probabilities"), torch.tensor([[0.0, 1.0, 0.0]]), 3)
    assert logits.isfinite().all() and logits.softmax(1)[0].tolist() == pytest.approx([0, 1, 0], abs=1e-12)


def test_an_expected_value_can_be_trained_through_after_it_was_served() -> None:
    given = head(**AGES | {"values": [1.0, 90.0]})
    with torch.inference_mode():
        head_logits(given, torch.tensor([[0.5, 0.5]]), 2)
    outputs = torch.tensor([[0.5, 0.5]], requires_grad=True)
    (gradient,) = torch.autograd.grad(head_logits(given, outputs, 2)[:, 1].sum(), outputs)
    assert gradient.tolist() == [[0.5, 45.0]]


@pytest.mark.parametrize(
    ("fields", "labels", "columns"),
    [({"kind": "softmax"}, 3, 1), ({"kind": "sigmoid"}, 2, 2), (MULTI, 2, 2), (AGES, 2, 3), (MULTI, 3, 3)],
)
def test_another_number_of_outputs_is_refused(fields: dict[str, Any], labels: int, columns: int) -> None:
    with pytest.raises(ModelError, match=f"{columns} outputs for {labels} labels"):
        head_logits(head(**fields), torch.rand(1, columns), labels)


@pytest.mark.parametrize("change", [{"cut": float("nan")}, {"scale": float("inf")}, {"values": [1.0, float("nan")]}])
def test_numbers_of_a_head_are_finite(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="finite"):
        head(**AGES | change)


@pytest.mark.parametrize(
    ("given", "outputs", "fault"),
    [
        (head(kind="softmax"), RANDOM, None),
        (head(kind="softmax"), RANDOM.softmax(1), "already are probabilities"),
        (head(kind="softmax"), RANDOM.softmax(1).bfloat16(), "already are probabilities"),
        (head(kind="sigmoid"), RANDOM[:, :1].sigmoid(), None),
        (head(**MULTI), RANDOM, None),
        (head(**MULTI, gives="probabilities"), RANDOM.sigmoid(), None),
        (head(**MULTI, gives="probabilities"), RANDOM, "the outputs go from -"),
        (head(kind="probabilities"), RANDOM.softmax(1), None),
        (head(kind="probabilities"), RANDOM.softmax(1).half(), None),
        (head(kind="probabilities"), RANDOM.softmax(1).bfloat16(), None),
        (head(kind="probabilities"), RANDOM[:, :1].sigmoid(), None),
        (head(kind="probabilities"), RANDOM[:, :1], "the outputs go from -"),
        (head(kind="probabilities"), RANDOM.softmax(1) * 0.998, "off by 0.002"),
        (head(**AGES), RANDOM[:, :2].sigmoid(), "add up to 1, but a row is off by"),
        (head(**AGES, outputs="logits"), RANDOM[:, :2], None),
        (head(**AGES, outputs="logits"), RANDOM[:, :2].softmax(1), "already are probabilities"),
        (head(kind="softmax"), torch.tensor([[0.0, float("nan")]]), "NaN"),
    ],
)
def test_outputs_that_a_head_cannot_take_are_found(given: Head, outputs: Tensor, fault: str | None) -> None:
    found = head_fault(given, outputs)
    assert (found is None) if fault is None else (found is not None and fault in found)
