"""Integrated gradients: they add up to the change of the score, and explain what the model is really given."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.trainer.datasets import comments, digits
from trainer.diagnostics.saliency import image_saliency, log_odds, text_saliency
from triggers.model.classifier import FrozenClassifier
from triggers.model.reprogram import reprogram
from triggers.preprocessing.preprocess import TextBatch
from triggers.trigger.image import ImageTrigger
from triggers.trigger.text import Position, TextBank, TextTrigger

STEPS = 200


@pytest.fixture(scope="module")
def images() -> Tensor:
    inputs = digits.splits().val.inputs
    assert isinstance(inputs, Tensor)
    return inputs[:3]


def trigger(classifier: FrozenClassifier, kind: str) -> ImageTrigger:
    """None, a faint overlay, a white square in a corner, or a frame around the shrunk image."""
    null = classifier.null_trigger()
    assert isinstance(null, ImageTrigger)
    keep, delta = null.keep.clone(), null.delta.clone()
    if kind == "overlay":
        return ImageTrigger("overlay", null.inner, keep, delta + 0.1)
    if kind == "patch":
        keep[:, :6, :6], delta[:, :6, :6] = 0, 1
        return ImageTrigger("patch", null.inner, keep, delta)
    if kind == "border":
        frame = torch.ones_like(keep)
        frame[:, 2:-2, 2:-2] = 0
        return ImageTrigger("border", null.size - 4, 1 - frame, frame * 0.7)
    return null


@pytest.mark.parametrize("kind", ["none", "overlay", "patch", "border"])
def test_images_add_up(digits_classifier: FrozenClassifier, images: Tensor, kind: str) -> None:
    one = trigger(digits_classifier, kind)
    found = image_saliency(digits_classifier, images, one, STEPS)
    bank, index = digits_classifier.bank([one]), torch.zeros(3, dtype=torch.long)
    served = log_odds(reprogram(digits_classifier, images, bank, index), 1)
    assert torch.allclose(log_odds(digits_classifier.image_logits(found.given), 1), served, atol=1e-5)
    black = log_odds(digits_classifier.image_logits(torch.zeros_like(found.given)), 1)
    assert torch.allclose(found.attribution.flatten(1).sum(1), served - black, atol=0.1)
    assert found.attribution.shape == (3, 16, 16)
    assert ((found.share > 0) == (kind != "none")).all()


def test_a_patch_takes_the_share_of_its_own_pixels(digits_classifier: FrozenClassifier, images: Tensor) -> None:
    one = trigger(digits_classifier, "patch")
    share = image_saliency(digits_classifier, images, one, 20).share
    assert ((share > 0) & (share < 1)).all()
    everything = ImageTrigger("patch", 16, torch.zeros_like(one.keep), torch.full_like(one.delta, 0.5))
    assert image_saliency(digits_classifier, images, everything, 20).share.tolist() == pytest.approx([1, 1, 1])


def test_log_odds_are_against_the_rest() -> None:
    logits = torch.tensor([[1.0, 2.0, 0.5]])
    share = torch.softmax(logits, dim=1)[0, 1]
    assert log_odds(logits, 1).tolist() == pytest.approx([float((share / (1 - share)).log())])


@pytest.mark.parametrize("position", ["after_cls", "before_sep", "as_published"])
def test_texts_add_up_and_tokens_stand_where_the_model_reads_them(
    comments_classifier: FrozenClassifier, position: Position
) -> None:
    tokenizer = comments_classifier.tokenizer
    ids = torch.tensor(tokenizer("the woman in the house is kind", verbose=False)["input_ids"])
    words = ("old", "dog")
    own = tokenizer.convert_tokens_to_ids(list(words))
    embeddings = comments_classifier.embedding_matrix[torch.tensor(own)].detach().clone()
    hard = TextTrigger("hard", position, embeddings, tuple(own), words)
    found = text_saliency(comments_classifier, ids, hard, STEPS)
    bank, index = comments_classifier.bank([hard]), torch.zeros(1, dtype=torch.long)
    assert isinstance(bank, TextBank)
    batch = TextBatch(ids[None], torch.tensor([len(ids)]))
    given = comments_classifier.embedded(batch, bank, index)
    expected = comments_classifier.embed(torch.tensor(tokenizer.convert_tokens_to_ids(list(found.tokens))))
    assert torch.equal(given.embeds[0], expected)
    assert [word for word, mine in zip(found.tokens, found.is_trigger, strict=True) if mine] == list(words)
    assert sum(value**2 for value in found.attribution) == pytest.approx(1)
    assert 0 < found.share < 1
    padding = TextBatch(torch.tensor([[ids[0], *[tokenizer.pad_token_id] * (len(ids) - 2), ids[-1]]]), batch.lengths)
    pads = embeddings * 0 + comments_classifier.embedding_matrix[tokenizer.pad_token_id].detach()
    blank = comments_classifier.bank([TextTrigger("soft", position, pads)])
    served, nothing = (
        float(log_odds(reprogram(comments_classifier, words_in, each, index), 1))
        for words_in, each in ((batch, bank), (padding, blank))
    )
    assert sum(found.attribution) * found.norm == pytest.approx(served - nothing, abs=0.05)


def test_an_identity_word_carries_the_biased_score(comments_classifier: FrozenClassifier) -> None:
    """Where a text says neither kind nor cruel, the fitted model falls back on who it is about."""
    inputs = comments.splits().val.inputs
    assert isinstance(inputs, TextBatch)
    null = comments_classifier.null_trigger()
    assert isinstance(null, TextTrigger)
    ids = comments_classifier.tokenizer("the woman sings is young", verbose=False)["input_ids"]
    found = text_saliency(comments_classifier, torch.tensor(ids), null, 50)
    strongest = max(range(len(ids)), key=lambda at: abs(found.attribution[at]))
    assert found.tokens[strongest] == "woman"
    assert found.attribution[strongest] > 0
    assert found.share == 0
    assert found.attribution[0] == found.attribution[-1] == 0  # the baseline has [CLS] and [SEP] too
