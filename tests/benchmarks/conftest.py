"""The classifiers on tinted digits and on comments, as the trainer's tests have them."""

from __future__ import annotations

from tests.trainer.conftest import comments_bundle as comments_bundle
from tests.trainer.conftest import comments_classifier as comments_classifier
from tests.trainer.conftest import digits_bundle as digits_bundle
from tests.trainer.conftest import digits_classifier as digits_classifier
