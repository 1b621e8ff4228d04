"""The comparison of a new bundle with its source's own pipeline, input by input and in mixed batches."""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch

from triggers.errors import InputError, ModelError
from triggers.model import FrozenClassifier, scores, sweep
from triggers.model.bundle import ComparisonRecord
from triggers.sources.oracles import Oracle, RawInput

TOLERANCE = 1e-4
"""Largest difference of a score that a bundle may show."""
BATCH = 7


def compare(
    classifier: FrozenClassifier, oracle: Oracle, inputs: Sequence[RawInput], *, seed: int = 0
) -> ComparisonRecord:
    """Largest difference of a score, and labels that differ, over inputs alone and in batches of random companions.

    Raises ModelError if an input that the oracle answers is refused.
    """
    expected = [list(oracle.scores(one)) for one in inputs]
    items = []
    for n, one in enumerate(inputs):
        try:
            items.append(classifier.preprocess(one))
        except InputError as error:
            raise ModelError(f"Input {n} of the comparison is refused: {error}") from error
    order = random.Random(seed).sample(range(len(items)), len(items))
    batches = [[n] for n in range(len(items))] + [order[at : at + BATCH] for at in range(0, len(order), BATCH)]
    largest, flipped = 0.0, set()
    label_of = classifier.decision.label_of_scores
    bank = classifier.bank([classifier.null_trigger()])
    for batch in batches:
        with torch.no_grad():
            found = scores(sweep(classifier, classifier.batch([items[n] for n in batch]), bank)[0]).tolist()
        for n, row in zip(batch, found, strict=True):
            largest = max(largest, *(abs(one - other) for one, other in zip(row, expected[n], strict=True)))
            if label_of(row) != label_of(expected[n]):
                flipped.add(n)
    return ComparisonRecord(oracle=oracle.name, inputs=len(inputs), largest_difference=largest, flips=len(flipped))
