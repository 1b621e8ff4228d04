"""Batches of waiting requests: who is let in, until when, and what is computed together, in a thread or at once."""

from service.engine.batching.admission_control import AdmissionControl, Permit
from service.engine.batching.batcher import Batcher
from service.engine.batching.deadline import MAX_TIMEOUT_MS, with_deadline
from service.engine.batching.inline_batcher import InlineBatcher
from service.engine.batching.inline_policy import runs_inline
from service.engine.batching.pending_requests import BatchTiming

__all__ = [
    "MAX_TIMEOUT_MS",
    "AdmissionControl",
    "BatchTiming",
    "Batcher",
    "InlineBatcher",
    "Permit",
    "runs_inline",
    "with_deadline",
]
