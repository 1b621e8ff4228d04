"""The temperature that calibrates a model: against a search, its bounds, and what training makes of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from tests.trainer.datasets import comments, digits
from trainer.training.objectives.calibration import HIGHEST, calibrating_temperature, temperature_of
from triggers.model.classifier import FrozenClassifier
from triggers.model.reprogram import sweep


def drawn(seed: int, labels: int, sureness: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits that are `sureness` times the ones that their labels were drawn from."""
    generator = torch.Generator().manual_seed(seed)
    honest = torch.randn(4000, labels, generator=generator, dtype=torch.float64)
    return sureness * honest, torch.multinomial(honest.softmax(1), 1, generator=generator)[:, 0]


@given(st.integers(0, 1000), st.integers(2, 5), st.floats(1.5, 20))
@settings(max_examples=20, deadline=None)
def test_it_undoes_overconfidence_and_no_other_temperature_fits_better(seed: int, labels: int, sureness: float) -> None:
    logits, targets = drawn(seed, labels, sureness)
    found = temperature_of(logits, targets)
    assert found == pytest.approx(sureness, rel=0.2)
    least = cross_entropy(logits / found, targets)
    assert all(cross_entropy(logits / (found * factor), targets) >= least for factor in (0.5, 0.95, 1.05, 2))


def test_a_model_that_is_not_too_sure_is_left_alone() -> None:
    assert temperature_of(*drawn(0, 3, sureness=0.5)) == 1.0


def test_a_model_that_knows_nothing_gets_the_highest() -> None:
    logits, _ = drawn(0, 2, sureness=30)
    assert temperature_of(logits, logits.argmin(dim=1)) == pytest.approx(HIGHEST, rel=1e-6)


def test_it_is_measured_on_the_bare_model(digits_classifier: FrozenClassifier) -> None:
    data = digits.splits().tuning
    wrong = replace(data, labels=torch.where(torch.arange(len(data)) % 3 == 0, 1 - data.labels, data.labels))
    with torch.no_grad():
        logits = digits_classifier.image_logits(torch.as_tensor(data.inputs).float() / 255)
    expected = temperature_of(logits.double(), wrong.labels)
    assert expected > 1
    assert calibrating_temperature(digits_classifier, wrong, 64) == pytest.approx(expected, rel=0.06)


def test_of_texts_each_row_meets_its_own_label(comments_classifier: FrozenClassifier) -> None:
    """Texts go through the model in another order, by their lengths."""
    data = comments.splits().tuning
    wrong = replace(data, labels=torch.where(torch.arange(len(data)) % 3 == 0, 1 - data.labels, data.labels))
    whole = comments_classifier.bank([comments_classifier.null_trigger()])
    with torch.no_grad():
        logits = sweep(comments_classifier, wrong.inputs, whole)[0]
    expected = temperature_of(logits.double(), wrong.labels)
    assert 1 < expected < HIGHEST / 2
    assert calibrating_temperature(comments_classifier, wrong, 16) == pytest.approx(expected, rel=0.06)
