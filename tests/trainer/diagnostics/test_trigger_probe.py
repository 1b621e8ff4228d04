"""What a trigger says: a tint that paints every digit red must be read as red; a blank image leaves nothing to read."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.trainer.datasets import comments, digits
from trainer.data.dataset import Splits
from trainer.diagnostics.trigger_probe import null_inputs, probe_trigger, sample_rows
from triggers.model.classifier import FrozenClassifier
from triggers.preprocessing.preprocess import TextBatch
from triggers.trigger.image import ImageTrigger

FULL = {"rows": 1000, "batch": 128, "seed": 0}


@pytest.fixture(scope="module")
def splits() -> Splits:
    return digits.splits()


def overlay(classifier: FrozenClassifier, tint: tuple[float, float, float], keep: float = 1.0) -> ImageTrigger:
    null = classifier.null_trigger()
    assert isinstance(null, ImageTrigger)
    delta = torch.tensor(tint).view(3, 1, 1).expand_as(null.delta).clone()
    return ImageTrigger("overlay", null.inner, null.keep * keep, delta)


def test_a_red_tint_is_read_as_red_and_a_blue_one_as_blue(digits_classifier: FrozenClassifier, splits: Splits) -> None:
    shown = {}
    for name, tint in (("red", (0.4, 0.0, 0.0)), ("blue", (0.0, 0.0, 0.4))):
        found = probe_trigger(digits_classifier, splits, overlay(digits_classifier, tint), **FULL)
        shown[name] = {one["group"]: one["trigger"]["red"] - one["bare"]["red"] for one in found["shift"]}
        assert found["held_out"]["value"] > 0.95  # tints are easy
        assert [one["input"] for one in found["null"]] == ["black image", "grey image"]
        assert all(sum(one["trigger"].values()) == pytest.approx(1) for one in found["null"])
    assert shown["red"]["blue"] > 0.3
    assert shown["blue"]["red"] < -0.3


def test_a_blank_image_leaves_nothing_to_read(digits_classifier: FrozenClassifier, splits: Splits) -> None:
    found = probe_trigger(digits_classifier, splits, overlay(digits_classifier, (0.0, 0.0, 0.0), keep=0.0), **FULL)
    leak = {one["from"]: one for one in found["leak"]}
    assert leak["features"]["bare"]["value"] > 0.95
    assert leak["features"]["trigger"]["value"] == 0.5
    assert leak["scores"]["trigger"]["value"] == 0.5
    assert leak["true label alone"]["bare"] == leak["true label alone"]["trigger"]
    # Tints follow nothing here, so the true label says little; scores beside it give the biased model away.
    assert leak["scores and true label"]["bare"]["low"] > leak["true label alone"]["bare"]["high"]
    assert leak["scores and true label"]["trigger"]["value"] == pytest.approx(
        leak["true label alone"]["trigger"]["value"], abs=1e-9
    )


def test_texts_have_an_empty_text(comments_classifier: FrozenClassifier) -> None:
    found = probe_trigger(
        comments_classifier, comments.splits(), comments_classifier.null_trigger(), rows=200, batch=64, seed=0
    )
    ((name, inputs),) = null_inputs(comments_classifier).items()
    assert isinstance(inputs, TextBatch)
    assert name == "empty text [CLS] [SEP]"
    assert inputs.ids.shape == (1, 2)
    assert found["rows"] == {"tuning": 200, "val": 200, "test": 200}
    (null,) = found["null"]
    assert null["bare"] == null["trigger"]
    assert all(one["bare"] == one["trigger"] for one in found["leak"])


def test_a_sample_is_bounded_and_keeps_the_order(splits: Splits) -> None:
    small = sample_rows(splits.val, 50, seed=1)
    assert len(small) == 50
    assert sample_rows(splits.val, 50, seed=1).labels.equal(small.labels)
    assert isinstance(small.inputs, torch.Tensor)
    other = sample_rows(splits.val, 50, seed=2).inputs
    assert isinstance(other, torch.Tensor) and not other.equal(small.inputs)
    assert sample_rows(splits.val, 10_000, seed=1).labels.equal(splits.val.labels)
    numbered = replace(splits.val, labels=torch.arange(len(splits.val)))
    taken = sample_rows(numbered, 50, seed=1).labels
    assert taken.equal(taken.sort().values)
