"""Paired predictions: the same rows twice, and who changes."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from tests.trainer.datasets import comments, digits
from tests.trainer.datasets.digits import GROUPS
from trainer.data.dataset import Dataset
from trainer.diagnostics.prediction_flips import flips, paired_counts
from trainer.evaluation.counts import confusion_counts, predicted_labels
from triggers.metrics.paired import JointCounts
from triggers.model.classifier import FrozenClassifier
from triggers.trigger.image import ImageTrigger
from triggers.trigger.text import TextTrigger

PAIRED: JointCounts = {
    ("f", 0, 0, 1): 3,  # to positive, broken
    ("f", 1, 0, 1): 5,  # to positive, mended
    ("f", 1, 1, 1): 10,
    ("m", 0, 1, 0): 2,  # from positive, mended
    ("m", 1, 2, 0): 4,  # between others, wrong before and after
    ("f + m", 1, 1, 2): 1,  # from positive, broken
}


def test_flips_by_hand() -> None:
    found = flips(PAIRED, ("f", "m"), pos_label=1)
    names = ("n", "to_positive", "from_positive", "between_others", "mended", "broken")
    assert found["groups"]["f"] == dict(zip(names, (18, 8, 0, 0, 5, 3), strict=True))
    assert found["groups"]["m"] == dict(zip(names, (6, 0, 2, 4, 2, 0), strict=True))
    assert found["everyone"] == dict(zip(names, (25, 8, 3, 4, 7, 4), strict=True))


def test_overlapping_groups_hold_all_their_cells() -> None:
    found = flips(PAIRED, ("f", "m"), pos_label=1, overlapping=True)
    assert (found["groups"]["f"]["n"], found["groups"]["m"]["n"]) == (19, 7)
    assert found["groups"]["f"]["broken"] == 4
    assert found["everyone"]["n"] == 25


def bright(digits_classifier: FrozenClassifier) -> ImageTrigger:
    """A trigger that moves many predictions."""
    null = digits_classifier.null_trigger()
    assert isinstance(null, ImageTrigger)
    return ImageTrigger("overlay", null.inner, null.keep, null.delta + 0.3)


@pytest.mark.parametrize("rows", [7, 1000])
def test_margins_are_the_confusion_counts(digits_classifier: FrozenClassifier, rows: int) -> None:
    test = digits.splits().test
    bank = digits_classifier.bank([digits_classifier.null_trigger(), bright(digits_classifier)])
    before, after = predicted_labels(digits_classifier, test, bank, rows)
    paired = paired_counts(test, before, after)
    assert sum(n for (*_, bare, with_trigger), n in paired.items() if bare != with_trigger) > 20
    for column, counts in zip((0, 1), confusion_counts(digits_classifier, test, bank, 64), strict=True):
        margin: Counter[tuple[str, int | None, int]] = Counter()
        for (group, label, *both), n in paired.items():
            margin[group, label, both[column]] += n
        assert margin == counts
    assert {group for group, *_ in paired} == set(GROUPS)


def test_texts_keep_their_order(comments_classifier: FrozenClassifier) -> None:
    """Evaluation sorts texts by length; pairs must not."""
    test = comments.splits().test
    null = comments_classifier.null_trigger()
    assert isinstance(null, TextTrigger)
    (found,) = predicted_labels(comments_classifier, test, comments_classifier.bank([null]), 50)
    alone = [_one(comments_classifier, test, row) for row in range(0, len(test), 40)]
    assert found[::40].tolist() == alone


def _one(classifier: FrozenClassifier, data: Dataset, row: int) -> int:
    one = data.take(torch.tensor([row]))
    return int(predicted_labels(classifier, one, classifier.bank([classifier.null_trigger()]), 1)[0, 0])
