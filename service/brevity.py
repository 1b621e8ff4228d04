"""Whether a model computes so quickly that handing its inputs to another thread would take longer."""

from __future__ import annotations

import timeit

from service.blanks import largest
from service.predictor import Predictor, Query

BRIEF = 0.004
"""Seconds of a full batch that are brief."""


def brief(predictor: Predictor, max_batch: int) -> bool:
    """Whether a full batch of the largest inputs is, under the present champion; on a GPU, which works apart, never."""
    if predictor.classifier.device.type != "cpu":
        return False
    queries = [Query(largest(predictor.classifier), "champion")] * max_batch
    return all(_fastest(predictor, queries[:rows]) <= BRIEF for rows in (1, max_batch))


def _fastest(predictor: Predictor, queries: list[Query]) -> float:
    return min(timeit.repeat(lambda: predictor.predict(queries), number=1, repeat=3))
