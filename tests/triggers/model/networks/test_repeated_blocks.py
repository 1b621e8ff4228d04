"""Blocks are found in networks of many families, and computing their activations again changes no bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.text_families import DECODERS, ENCODERS, family_bundle
from triggers.errors import ModelError
from triggers.model import FrozenClassifier, load_bundle
from triggers.model.networks.repeated_blocks import repeated_blocks, shared_copy, with_recomputation
from triggers.preprocessing import TextBatch
from triggers.trigger import TextBank

FAMILIES = ENCODERS | DECODERS
REPEATING = [name for name in FAMILIES if name != "albert"]  # which runs one block again and again


def vit() -> nn.Module:
    """A ViT of two layers over images of 16 pixels."""
    from transformers import ViTConfig, ViTForImageClassification

    torch.manual_seed(0)
    sizes: Any = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    network: nn.Module = ViTForImageClassification(ViTConfig(image_size=16, patch_size=8, **sizes)).eval()
    return network.requires_grad_(False)


def text_gradient(classifier: FrozenClassifier) -> tuple[Tensor, Tensor, int]:
    """Logits, the gradient of a trigger's embeddings, and the bytes that were kept between the passes."""
    batch = classifier.batch([classifier.preprocess(text) for text in ("the man is good", "bad " * 20)])
    bank = classifier.bank([classifier.null_trigger()])
    assert isinstance(batch, TextBatch) and isinstance(bank, TextBank)
    text = classifier.embedded(batch, bank, torch.zeros(2, dtype=torch.long))
    text.embeds.requires_grad_()
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = classifier.text_logits(text)
    (first,) = torch.autograd.grad(logits[:, 1].sum(), text.embeds, retain_graph=True)
    (again,) = torch.autograd.grad(logits[:, 1].sum(), text.embeds)
    assert torch.equal(first, again)
    return logits, first, sum(kept.values())


@pytest.mark.parametrize("family", REPEATING)
def test_texts_have_the_same_gradients_from_less_memory(family: str, tmp_path: Path) -> None:
    classifier = load_bundle(family_bundle(tmp_path, FAMILIES[family]))
    assert len(repeated_blocks(classifier.network)) == 2
    plain, recomputed = classifier.accelerated(), classifier.accelerated(recompute=True)
    logits, gradient, kept = text_gradient(plain)
    found, same_gradient, kept_now = text_gradient(recomputed)
    assert gradient.abs().max() > 0
    assert torch.equal(found, logits) and torch.equal(same_gradient, gradient)
    assert kept_now < 0.75 * kept
    weights = {weight.data_ptr() for weight in plain.network.parameters()}
    assert {weight.data_ptr() for weight in recomputed.network.parameters()} == weights


@pytest.mark.parametrize("build", [vit])
def test_images_have_the_same_gradients(build: Any) -> None:
    network, images = build(), torch.rand(2, 3, 16, 16, requires_grad=True)
    recomputed = with_recomputation(network)
    assert len(repeated_blocks(network)) == 2
    gradients = [torch.autograd.grad(each(images).logits[:, 0].sum(), images)[0] for each in (network, recomputed)]
    assert torch.equal(*gradients)


def test_a_network_without_blocks_is_refused(tmp_path: Path) -> None:
    classifier = load_bundle(family_bundle(tmp_path, ENCODERS["albert"]))
    assert repeated_blocks(classifier.network) == []
    with pytest.raises(ModelError, match="repeats no blocks"):
        classifier.accelerated(recompute=True)


def test_the_largest_list_of_one_class_counts() -> None:
    small = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    large = nn.ModuleList([nn.Linear(4, 4) for _ in range(3)])
    mixed = nn.Sequential(nn.Linear(64, 64), nn.ReLU())
    assert repeated_blocks(nn.ModuleDict({"a": small, "b": large, "c": mixed})) == list(large)


def test_a_shared_copy_has_its_own_modules_over_the_same_tensors() -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    copied = shared_copy(network)
    assert copied is not network and copied.get_submodule("0") is not network[0]
    assert copied.get_parameter("0.weight") is network[0].weight
    assert copied.get_buffer("1.running_mean") is network[1].running_mean
