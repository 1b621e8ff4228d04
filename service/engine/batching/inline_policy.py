"""The decision to compute a model on the event loop: if the hand-over to a thread would take longer."""

from __future__ import annotations

import logging
import time

from service.engine.execution.dummy_inputs import largest_input
from service.engine.predictor import BatchItem, Predictor

INLINE_BATCH_SECONDS = 0.004
"""Most seconds of a full batch that is computed on the event loop."""
TRIAL_SECONDS = 0.3
"""Seconds to repeat a slow trial: a machine that starts services is busy, and often interrupts a batch."""
logger = logging.getLogger(__name__)


def runs_inline(predictor: Predictor, max_batch: int) -> bool:
    """Whether batches of the largest inputs are fast enough under the present champion; never on a GPU."""
    if predictor.classifier.device.type != "cpu":
        return False
    batch_items = [BatchItem(largest_input(predictor.classifier), "champion")] * max_batch
    found = all(_once(predictor, batch_items[:rows]) for rows in (1, max_batch))
    where = "where requests arrive" if found else "by a thread of its own"
    logger.info("model %s is computed %s", predictor.name, where)
    return found


def _once(predictor: Predictor, batch_items: list[BatchItem]) -> bool:
    """Whether one of several trials took at most INLINE_BATCH_SECONDS; load on the machine may slow the others."""
    end = time.perf_counter() + TRIAL_SECONDS
    while True:
        started = time.perf_counter()
        predictor.predict(batch_items)
        if time.perf_counter() - started <= INLINE_BATCH_SECONDS:
            return True
        if time.perf_counter() > end:
            return False
