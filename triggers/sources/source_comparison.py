"""The comparison of a new bundle with its source's own pipeline, input by input and in mixed batches."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence

import torch

from triggers.errors import InputError, ModelError
from triggers.model import FrozenClassifier, Item, scores, sweep
from triggers.model.bundle import ComparisonRecord, Precision
from triggers.sources.oracles import Oracle, RawInput

SCORE_TOLERANCE = 1e-4
"""Largest difference of a score that a bundle may show."""
PRECISION_TOLERANCE: Mapping[Precision, float] = {"bf16": 0.05, "int8": 0.05, "int4": 0.1}
"""That of a bundle which is to be computed in less than its source is."""
BATCH = 7

PartsDone = Callable[[int, int], None]
"""Told how many parts of how many are done."""


def compare(
    classifier: FrozenClassifier,
    oracle: Oracle,
    inputs: Sequence[RawInput],
    *,
    seed: int = 0,
    progress: PartsDone = lambda _done, _parts: None,
) -> ComparisonRecord:
    """Largest difference of a score, and labels that differ, over inputs alone and in batches of random companions.

    Raises ModelError if an input is refused, or a score is no number.
    """
    order = random.Random(seed).sample(range(len(inputs)), len(inputs))
    batches = [[n] for n in range(len(inputs))] + [order[at : at + BATCH] for at in range(0, len(order), BATCH)]
    parts = len(inputs) + len(batches)
    items, expected = [], []
    for n, one in enumerate(inputs):
        item, row = _prepared(classifier, oracle, one, n)
        items.append(item)
        expected.append(row)
        progress(n + 1, parts)
    largest, flipped = 0.0, set()
    label_of = classifier.decision.label_of_scores
    bank = classifier.bank([classifier.null_trigger()])
    for done, batch in enumerate(batches, len(inputs) + 1):
        with torch.no_grad():
            found = scores(sweep(classifier, classifier.batch([items[n] for n in batch]), bank)[0]).tolist()
        for n, row in zip(batch, found, strict=True):
            _check_numbers(row, n, "The bundle")
            largest = max(largest, *(abs(one - other) for one, other in zip(row, expected[n], strict=True)))
            if label_of(row) != label_of(expected[n]):
                flipped.add(n)
        progress(done, parts)
    selected = [row[classifier.spec.pos_label] for row in expected]
    return ComparisonRecord(
        oracle=oracle.name,
        inputs=len(inputs),
        largest_difference=largest,
        flips=len(flipped),
        spread=max(selected) - min(selected),
    )


def _prepared(classifier: FrozenClassifier, oracle: Oracle, given: RawInput, n: int) -> tuple[Item, list[float]]:
    """An input as the bundle takes it, and the source's own scores of it. Raises ModelError."""
    try:
        item = classifier.preprocess(given)
    except InputError as error:
        raise ModelError(f"Input {n} of the comparison is refused: {error}") from error
    try:
        row = list(oracle.scores(given))
    except Exception as error:  # whatever the source's own code raises is the reason
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise ModelError(f"{oracle.name} does not answer input {n} of the comparison: {reason}") from error
    _check_numbers(row, n, oracle.name)
    return item, row


def _check_numbers(row: Sequence[float], n: int, who: str) -> None:
    if not all(math.isfinite(score) for score in row):
        raise ModelError(f"{who} gives input {n} of the comparison a score that is no number.")
