"""Which models are computed where their requests arrive."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from torch import Tensor, nn

from service.engine.batching.inline_policy import INLINE_BATCH_SECONDS, runs_inline
from service.engine.execution.dummy_inputs import blank_input, largest_input
from service.engine.predictor import Predictor
from tests.bundles import text_bundle, tiny_network
from triggers.artifact.artifact import TriggerArtifact
from triggers.errors import NotFound
from triggers.model import FrozenClassifier, load_bundle
from triggers.preprocessing.preprocess import TokenIds


class Paced(nn.Module):
    """Waits for so many seconds, once for each number, and then no more."""

    def __init__(self, *waits: float) -> None:
        super().__init__()
        self.inner, self.waits = tiny_network(), list(waits)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, 2)."""
        time.sleep(self.waits.pop(0) if self.waits else 0)
        logits: Tensor = self.inner(images)
        return logits


def predictor(classifier: FrozenClassifier) -> Predictor:
    def fetch(version: int) -> TriggerArtifact:
        raise NotFound(f"v{version}")

    return Predictor(classifier, fetch, max_versions=2)


def test_a_tiny_network_is_brief(image_model: FrozenClassifier, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        assert runs_inline(predictor(image_model), 8)
    assert "where requests arrive" in caplog.text


def test_one_that_takes_longer_is_not(image_model: FrozenClassifier) -> None:
    slow = FrozenClassifier(image_model.spec, Paced(*[2 * INLINE_BATCH_SECONDS] * 1000))
    assert not runs_inline(predictor(slow), 8)


def test_interruptions_of_a_busy_machine_do_not_count(image_model: FrozenClassifier) -> None:
    interrupted = FrozenClassifier(image_model.spec, Paced(*[5 * INLINE_BATCH_SECONDS] * 5))
    assert runs_inline(predictor(interrupted), 8)


def test_of_texts_the_longest_is_tried(tmp_path: Path, image_model: FrozenClassifier) -> None:
    texts = load_bundle(text_bundle(tmp_path / "posts"))
    assert texts.spec.text
    short, long = blank_input(texts), largest_input(texts)
    assert isinstance(short, TokenIds) and isinstance(long, TokenIds)
    assert (len(short.ids), len(long.ids)) == (2, texts.spec.text.max_tokens)
    assert largest_input(image_model).shape == blank_input(image_model).shape  # type: ignore[union-attr]
