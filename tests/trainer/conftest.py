"""Classifiers that are fitted once for all tests of the trainer, whatever process runs them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.shared_folder import shared_folder
from triggers.model import FrozenClassifier, load_bundle


@pytest.fixture(scope="session")
def digits_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of a small CNN on tinted digits, biased by colour."""
    from tests.trainer.datasets import digits

    return shared_folder(tmp_path_factory, "digits", digits.fit_bundle)


@pytest.fixture(scope="session")
def digits_classifier(digits_bundle: Path) -> FrozenClassifier:
    """The CNN on tinted digits."""
    return load_bundle(digits_bundle)


@pytest.fixture(scope="session")
def comments_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of a tiny BERT on comments, biased by identity words."""
    from tests.trainer.datasets import comments

    return shared_folder(tmp_path_factory, "comments", comments.fit_bundle)


@pytest.fixture(scope="session")
def comments_classifier(comments_bundle: Path) -> FrozenClassifier:
    """The BERT on comments."""
    return load_bundle(comments_bundle)
