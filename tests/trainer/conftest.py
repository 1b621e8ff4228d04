"""Classifiers that are fitted once for all tests of the trainer."""

from __future__ import annotations

import pytest

from tests.trainer import comments, digits
from triggers.classifier import FrozenClassifier


@pytest.fixture(scope="session")
def digits_classifier(tmp_path_factory: pytest.TempPathFactory) -> FrozenClassifier:
    """A small CNN on tinted digits, biased by colour."""
    return digits.fitted(tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="session")
def comments_classifier(tmp_path_factory: pytest.TempPathFactory) -> FrozenClassifier:
    """A tiny BERT on comments, biased by identity words."""
    return comments.fitted(tmp_path_factory.mktemp("comments"))
