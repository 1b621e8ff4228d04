"""The Python client of a running service, with and without async: predictions, feedback, fairness, rollouts."""

try:
    from fairtrigger.client.async_client import AsyncClient
    from fairtrigger.client.client import Client
    from fairtrigger.client.errors import AnswerLost, ReplicasBehind, ServiceError
    from fairtrigger.client.results import ItemError, PredictionResult
    from fairtrigger.client.rollouts import RolloutState
except ModuleNotFoundError as error:
    raise ImportError(f"The client needs {error.name}: pip install 'fairtrigger[client]'.") from error

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
