"""The Python client of a running service, with and without async: predictions, feedback, fairness, rollouts."""

from fairtrigger.client.client import AsyncClient, Client
from fairtrigger.client.errors import AnswerLost, ReplicasBehind, ServiceError
from fairtrigger.client.results import ItemError, PredictionResult
from fairtrigger.client.rollouts import RolloutState

__all__ = [
    "AnswerLost",
    "AsyncClient",
    "Client",
    "ItemError",
    "PredictionResult",
    "ReplicasBehind",
    "RolloutState",
    "ServiceError",
]
