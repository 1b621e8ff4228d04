"""One prediction: admission, decoding, batching, routing, the forward pass, and the record of what was predicted."""

from service.engine.endpoint_health import EndpointState
from service.engine.execution.execution_backend import set_torch_threads
from service.engine.local_backend import LocalBackend
from service.engine.model_backend import ModelBackend, RequestLease
from service.engine.model_loading import FailedModel, LoadedModels, load_models
from service.engine.predictor import BatchItem, Scored
from service.engine.served_model import ItemResult, RequestResult, ServedModel
from service.engine.types import PredictInput

__all__ = [
    "BatchItem",
    "EndpointState",
    "FailedModel",
    "ItemResult",
    "LoadedModels",
    "LocalBackend",
    "ModelBackend",
    "PredictInput",
    "RequestLease",
    "RequestResult",
    "Scored",
    "ServedModel",
    "load_models",
    "set_torch_threads",
]
