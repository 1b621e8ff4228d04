"""Confusion counts against counting one row at a time through the serving forward pass."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from tests.trainer.datasets import comments, digits
from trainer.data.dataset import Dataset
from trainer.evaluation.counts import accuracy, confusion_counts
from triggers.model.classifier import FrozenClassifier, Trigger
from triggers.model.reprogram import reprogram
from triggers.trigger.image_trainable import build_image_module
from triggers.trigger.text_trainable import build_text_module


def one_by_one(classifier: FrozenClassifier, data: Dataset, trigger: Trigger) -> Counter[tuple[str, int, int]]:
    bank, counts = classifier.bank([trigger]), Counter[tuple[str, int, int]]()
    for n in range(len(data)):
        row = data.take(torch.tensor([n]))
        prediction = reprogram(classifier, row.inputs, bank, torch.tensor([0])).argmax().item()
        counts[(data.group_names[int(row.groups)], int(row.labels), int(prediction))] += 1
    return counts


@pytest.mark.parametrize("rows", [7, 1000])
def test_image_counts(digits_classifier: FrozenClassifier, rows: int) -> None:
    data = digits.splits().val.take(torch.arange(60))
    module = build_image_module("overlay", count=2, channels=3, size=digits.SIZE, seed=0, epsilon=0.8)
    with torch.no_grad():
        module.weight.mul_(40)
    triggers: list[Trigger] = [digits_classifier.null_trigger(), *module.export()]
    counted = confusion_counts(digits_classifier, data, digits_classifier.bank(triggers), rows)
    assert counted == [one_by_one(digits_classifier, data, trigger) for trigger in triggers]
    assert counted[0] != counted[1]


def test_text_counts(comments_classifier: FrozenClassifier) -> None:
    data = comments.splits().val.take(torch.arange(60))
    matrix = comments_classifier.embedding_matrix
    words = comments_classifier.tokenizer.convert_ids_to_tokens(range(len(matrix)))
    allowed = torch.tensor([word in ("good", "kind") for word in words])
    module = build_text_module(
        "hard", count=1, tokens=3, position="after_cls", matrix=matrix, vocabulary=words, allowed=allowed, seed=0
    )
    triggers: list[Trigger] = [comments_classifier.null_trigger(), *module.export()]
    counted = confusion_counts(comments_classifier, data, comments_classifier.bank(triggers), 16)
    assert counted == [one_by_one(comments_classifier, data, trigger) for trigger in triggers]
    assert counted[0] != counted[1]


def test_accuracy_by_hand() -> None:
    assert accuracy({("a", 0, 0): 3, ("a", 1, 0): 1, ("b", 1, 1): 2, ("b", 0, 1): 2}) == 5 / 8
