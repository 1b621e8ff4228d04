"""One prediction: admission, decoding, batching, routing, the forward pass, and the record of what was predicted."""

from service.engine.execution.execution_backend import use_threads
from service.engine.local_backend import LocalBackend
from service.engine.model_backend import ModelBackend, RequestLease
from service.engine.predictor import Answer, Query
from service.engine.served_model import Outcome, Served, ServedModel
from service.engine.types import Wanted

__all__ = [
    "Answer",
    "LocalBackend",
    "ModelBackend",
    "Outcome",
    "Query",
    "RequestLease",
    "Served",
    "ServedModel",
    "Wanted",
    "use_threads",
]
