"""Weights kept in fewer bits than they are computed in: the same answers where they are widened, near ones else."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.text_families import DECODERS, ENCODERS, family_bundle
from trainer.training.kept_activations import bytes_kept
from triggers.model import FrozenClassifier, load_bundle
from triggers.model.networks.frozen_linear import (
    LARGE,
    SCALE_GROUP,
    Bits,
    Int4Linear,
    Int8Linear,
    WidenedLinear,
    in_dtype,
    is_large,
    quantize,
)
from triggers.preprocessing import TextBatch
from triggers.trigger import TextBank

FAMILIES = ENCODERS | DECODERS


def answers(classifier: FrozenClassifier, network: nn.Module) -> tuple[Tensor, Tensor]:
    """Logits and the gradient of the embeddings."""
    wide = classifier.with_network(network)
    batch = wide.batch([wide.preprocess(text) for text in ("the man is good", "bad " * 20)])
    bank = wide.bank([wide.null_trigger()])
    assert isinstance(batch, TextBatch) and isinstance(bank, TextBank)
    text = wide.embedded(batch, bank, torch.zeros(2, dtype=torch.long))
    text.embeds.requires_grad_()
    logits = wide.text_logits(text)
    return logits.detach(), torch.autograd.grad(logits[:, 1].sum(), text.embeds)[0]


@pytest.mark.parametrize("family", FAMILIES)
def test_narrow_weights_answer_as_their_copy_in_float32(family: str, tmp_path: Path) -> None:
    classifier = load_bundle(family_bundle(tmp_path, FAMILIES[family]))
    narrow = copy.deepcopy(classifier.network).bfloat16()
    shared = in_dtype(narrow, torch.float32)
    wanted, found = (answers(classifier, network) for network in (copy.deepcopy(narrow).float(), shared))
    assert all(torch.equal(one, other) for one, other in zip(wanted, found, strict=True))
    assert all(weight.dtype == torch.bfloat16 for weight in narrow.parameters())
    linears = [module for module in narrow.modules() if type(module) is nn.Linear]
    own = {weight.data_ptr() for weight in shared.parameters()}
    assert {module.weight.data_ptr() for module in linears} <= own


def test_weights_of_the_wanted_type_are_shared_altogether() -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)).bfloat16()
    same = in_dtype(network, torch.bfloat16)
    assert [weight.data_ptr() for weight in same.parameters()] == [weight.data_ptr() for weight in network.parameters()]
    assert not any(isinstance(module, WidenedLinear) for module in same.modules())
    assert not is_large(network) and is_large(nn.Linear(1000, LARGE // 1000, device="meta"))


def test_nothing_is_kept_between_the_passes() -> None:
    layer = WidenedLinear(nn.Linear(64, 64).bfloat16().requires_grad_(False))
    x = torch.rand(2, 64, requires_grad=True)
    assert bytes_kept(lambda: layer(x), layer) == 0


@pytest.mark.parametrize(("bits", "most"), [(8, 0.5 / 127), (4, 0.5 / 7)])
def test_a_rounded_weight_is_within_half_a_step(bits: Bits, most: float) -> None:
    torch.manual_seed(0)
    plain = nn.Linear(2 * SCALE_GROUP, 3).requires_grad_(False)
    plain.weight[0] = 0.0
    layer = Int8Linear(plain) if bits == 8 else Int4Linear(plain)
    away = (layer.dense(torch.float32) - plain.weight).abs()
    assert 0 < away.max() <= most * plain.weight.abs().max() * 1.001
    assert (layer.dense(torch.float32)[0] == 0).all()
    stored = layer.get_buffer("stored")
    assert stored.nbytes == plain.weight.numel() * bits // 8
    x = torch.rand(5, 2 * SCALE_GROUP, requires_grad=True)
    (gradient,) = torch.autograd.grad(layer(x).sum(), x)
    assert torch.allclose(gradient, layer.dense(torch.float32).sum(dim=0).expand(5, -1))
    assert torch.allclose(layer(x), nn.functional.linear(x, layer.dense(torch.float32), plain.bias))


def test_only_the_layers_of_blocks_are_quantized(tmp_path: Path) -> None:
    classifier = load_bundle(family_bundle(tmp_path, DECODERS["llama"]))
    network = quantize(copy.deepcopy(classifier.network), 8)
    made = [module for module in network.modules() if isinstance(module, Int8Linear)]
    assert len(made) == 2 * 7
    assert type(network.get_submodule("score")) is nn.Linear
    wanted, found = answers(classifier, classifier.network)[0], answers(classifier, network)[0]
    assert 0 < float((wanted - found).abs().max()) < 0.1 * float(wanted.abs().max())
