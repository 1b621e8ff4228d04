"""Whether a model computes so quickly that handing its inputs to another thread would take longer."""

from __future__ import annotations

import logging
import time

from service.engine.execution.dummy_inputs import largest_input
from service.engine.predictor import BatchItem, Predictor

INLINE_BATCH_SECONDS = 0.004
"""Seconds of a full batch that are brief."""
TRIAL_SECONDS = 0.3
"""Seconds to go on trying: on a busy machine, as one is while services start, a batch is often interrupted."""
logger = logging.getLogger(__name__)


def runs_inline(predictor: Predictor, max_batch: int) -> bool:
    """Whether a full batch of the largest inputs is, under the present champion; on a GPU, which works apart, never."""
    if predictor.classifier.device.type != "cpu":
        return False
    batch_items = [BatchItem(largest_input(predictor.classifier), "champion")] * max_batch
    found = all(_once(predictor, batch_items[:rows]) for rows in (1, max_batch))
    where = "where requests arrive" if found else "by a thread of its own"
    logger.info("model %s is computed %s", predictor.name, where)
    return found


def _once(predictor: Predictor, batch_items: list[BatchItem]) -> bool:
    """Whether a batch was brief once: then it is, whatever else the machine does."""
    end = time.perf_counter() + TRIAL_SECONDS
    while True:
        started = time.perf_counter()
        predictor.predict(batch_items)
        if time.perf_counter() - started <= INLINE_BATCH_SECONDS:
            return True
        if time.perf_counter() > end:
            return False
