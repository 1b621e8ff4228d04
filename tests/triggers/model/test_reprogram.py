"""The one forward pass: sweeps, single rows and mixed rows agree; gradients stay with the triggers."""

from __future__ import annotations

from pathlib import Path

import torch

from tests.bundles import SIZE, image_bundle, text_bundle
from triggers.model import Bank, FrozenClassifier, load_bundle
from triggers.model.reprogram import reprogram, scores, sweep
from triggers.preprocessing.preprocess import Inputs
from triggers.trigger.image_trainable import build_image_module
from triggers.trigger.text_trainable import build_text_module


def check_agreement(classifier: FrozenClassifier, inputs: Inputs, bank: Bank) -> None:
    with torch.no_grad():
        everything = sweep(classifier, inputs, bank)
        for v in range(len(bank)):
            rows = reprogram(classifier, inputs, bank, torch.full((len(inputs),), v))
            assert torch.allclose(everything[v], rows, atol=1e-5)
        mixed = reprogram(classifier, inputs, bank, torch.arange(len(inputs)) % len(bank))
        for n in range(len(inputs)):
            assert torch.allclose(everything[n % len(bank), n], mixed[n], atol=1e-5)
    assert everything.std() > 0


def test_images_of_four_kinds_in_one_batch(tmp_path: Path) -> None:
    classifier = load_bundle(image_bundle(tmp_path))
    kinds = {"border": {"width": 3}, "patch": {"patch_size": 5}, "overlay": {}, "pixels": {"fraction": 0.2}}
    made = [classifier.null_trigger()]
    for kind, geometry in kinds.items():
        made += build_image_module(kind, count=1, channels=3, size=SIZE, seed=1, **geometry).export()  # type: ignore[arg-type]
    images = torch.randint(0, 256, (11, 3, SIZE, SIZE), dtype=torch.uint8)
    check_agreement(classifier, images, classifier.bank(made))


def test_texts_with_no_three_and_five_words_in_one_batch(tmp_path: Path) -> None:
    classifier = load_bundle(text_bundle(tmp_path))
    vocabulary = classifier.tokenizer.convert_ids_to_tokens(range(len(classifier.tokenizer)))
    made = [classifier.null_trigger()]
    for tokens, kind, position in (
        (3, "hard", "after_cls"),
        (5, "embedding", "before_sep"),
        (5, "soft", "as_published"),
    ):
        made += build_text_module(
            kind,
            count=1,
            tokens=tokens,
            position=position,  # type: ignore[arg-type]
            matrix=classifier.embedding_matrix,
            vocabulary=vocabulary,
            allowed=torch.ones(len(vocabulary), dtype=torch.bool),
            seed=tokens,
        ).export()
    texts = ["the dog", "a nice house and a very old tree", "bad", "people are kind or cruel and not very young"] * 2
    check_agreement(classifier, classifier.batch([classifier.preprocess(t) for t in texts]), classifier.bank(made))


def test_only_the_trigger_gets_gradients(tmp_path: Path) -> None:
    classifier = load_bundle(image_bundle(tmp_path))
    module = build_image_module("overlay", count=2, channels=3, size=SIZE, seed=0)
    images = torch.randint(0, 256, (4, 3, SIZE, SIZE), dtype=torch.uint8)
    probabilities = scores(sweep(classifier, images, module.render()))
    assert probabilities.shape == (2, 4, 2)
    assert torch.allclose(probabilities.sum(dim=-1), torch.ones(2, 4))
    probabilities[1, :, 1].sum().backward()
    assert module.weight.grad is not None
    assert module.weight.grad[0].abs().sum() == 0 and module.weight.grad[1].abs().sum() > 0
    assert all(p.grad is None for p in classifier.network.parameters())
