"""The classifier on tinted digits, as the trainer's tests have it."""

from __future__ import annotations

from tests.trainer.conftest import digits_classifier as digits_classifier
