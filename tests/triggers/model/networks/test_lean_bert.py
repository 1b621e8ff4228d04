"""The lean BERT gives the answers and the gradients of the `transformers` model that it is made from."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from transformers import BertConfig, BertForSequenceClassification

from triggers.model.networks.fused_inference import accelerate
from triggers.model.networks.lean_bert import LeanBert


@pytest.fixture(scope="module")
def bert() -> nn.Module:
    torch.manual_seed(0)
    config = BertConfig(vocab_size=50, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=64)
    network: nn.Module = BertForSequenceClassification(config)
    return network.eval().requires_grad_(False)


def inputs(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Embeddings, a ragged mask, and positions out of order."""
    generator = torch.Generator().manual_seed(seed)
    mask = (torch.arange(9) < torch.tensor([[9], [4], [7]])).long()
    positions = torch.stack([torch.randperm(9, generator=generator) for _ in range(3)])
    return torch.randn(3, 9, 32, generator=generator), mask, positions


@pytest.mark.parametrize("with_positions", [False, True])
def test_answers_and_gradients_are_the_same(bert: nn.Module, with_positions: bool) -> None:
    embeds, mask, positions = inputs()
    more = {"position_ids": positions} if with_positions else {}
    first, second = embeds.clone().requires_grad_(), embeds.clone().requires_grad_()
    expected = bert(inputs_embeds=first, attention_mask=mask, **more).logits
    found = LeanBert(bert)(second, mask, **more)
    assert torch.allclose(found, expected, atol=1e-6)
    (wanted,) = torch.autograd.grad(expected[:, 1].sum(), first)
    (given,) = torch.autograd.grad(found[:, 1].sum(), second)
    assert torch.allclose(given, wanted, atol=1e-6)
    assert float(wanted.abs().max()) > 1e-3  # there is something to compare


def test_an_accelerated_bert_is_a_lean_copy(bert: nn.Module) -> None:
    faster = accelerate(bert)
    assert isinstance(faster, LeanBert) and type(bert).__name__ == "BertForSequenceClassification"
    assert faster.get_input_embeddings() is not bert.get_input_embeddings()  # type: ignore[operator]


def test_other_networks_are_left_alone() -> None:
    assert not LeanBert.fits(nn.Linear(2, 2))
