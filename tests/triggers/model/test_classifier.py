"""The frozen classifier: frozen, differentiable in its input, two logits always."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.bundles import MAX_TOKENS, SIZE, image_bundle, text_bundle
from triggers.errors import InputError, ModelError
from triggers.model import FrozenClassifier, load_bundle
from triggers.model.bundle import BundleSpec
from triggers.preprocessing.preprocess import TokenIds


def test_weights_are_frozen_and_gradients_reach_the_input(tmp_path: Path) -> None:
    classifier = load_bundle(image_bundle(tmp_path))
    assert not classifier.network.training
    images = torch.rand(2, 3, SIZE, SIZE, requires_grad=True)
    classifier.image_logits(images).sum().backward()
    assert images.grad is not None and images.grad.abs().sum() > 0
    assert all(p.grad is None and not p.requires_grad for p in classifier.network.parameters())


def single_logit() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE * SIZE, 1))


def test_a_single_logit_becomes_two(tmp_path: Path) -> None:
    spec = BundleSpec.model_validate(
        {
            "name": "one",
            "modality": "image",
            "labels": ["no", "yes"],
            "loader": {"kind": "factory", "target": "tests.triggers.model.test_classifier:single_logit"},
            "image": {"size": SIZE, "mean": [0.0] * 3, "std": [1.0] * 3},
        }
    )
    network = single_logit()
    classifier = FrozenClassifier(spec, network)
    images = torch.rand(3, 3, SIZE, SIZE)
    probability = torch.softmax(classifier.image_logits(images), dim=1)[:, 1]
    assert torch.allclose(probability, torch.sigmoid(network(images))[:, 0])


def test_labels_must_match_the_outputs(tmp_path: Path) -> None:
    good = load_bundle(image_bundle(tmp_path))
    spec = good.spec.model_copy(update={"labels": ("a", "b", "c")})
    with pytest.raises(ModelError, match="2 outputs for 3 labels"):
        FrozenClassifier(spec, good.network).image_logits(torch.rand(1, 3, SIZE, SIZE))


def test_long_text_is_cut_and_marked_and_blank_text_refused(tmp_path: Path) -> None:
    classifier = load_bundle(text_bundle(tmp_path))
    short, long = classifier.preprocess("the good dog"), classifier.preprocess("good dog " * 500)
    assert isinstance(short, TokenIds) and isinstance(long, TokenIds)
    assert not short.truncated and long.truncated and len(long.ids) == MAX_TOKENS
    assert long.ids[-1] == classifier.tokenizer.sep_token_id
    with pytest.raises(InputError, match="empty"):
        classifier.preprocess(" \n\t")


def test_texts_are_cut_as_the_tokenizer_itself_would_and_threads_do_not_disturb_each_other(tmp_path: Path) -> None:
    classifier = load_bundle(text_bundle(tmp_path))
    texts = ["good dog " * n for n in range(1, 60)] * 20
    wanted = [classifier.tokenizer(t, truncation=True, max_length=MAX_TOKENS)["input_ids"] for t in texts]
    classifier.tokenizer("reset")
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(classifier.preprocess, texts))
    assert [list(one.ids) for one in found if isinstance(one, TokenIds)] == wanted
