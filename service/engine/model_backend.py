"""The interface of a model backend: this process (local_backend.py), or engine processes (remote_model.py).

The routes, the decoding and the counting are the same for both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from service.engine.batching import BatchTiming
from service.engine.client_disconnect import WaitForDisconnect
from service.engine.endpoint_health import EndpointState
from service.engine.predictor import BatchItem, BatchResult
from service.engine.types import ModelDescription
from service.rollout import TriggerHost


class RequestLease(Protocol):
    """One request's permit for its rows, and the versions that it holds in memory, until the block ends.

    On the event loop.
    """

    def __enter__(self) -> RequestLease: ...

    def __exit__(self, *error: object) -> None: ...

    def hold(self, version: int) -> bool:
        """Hold a version if it is in memory; returns whether it is."""
        ...

    async def load(self, version: int) -> None:
        """Hold a version, loading it first. Raises NotFound, ArtifactError or Overloaded."""
        ...

    async def submit(
        self, items: Sequence[BatchItem], disconnect: WaitForDisconnect | None = None
    ) -> tuple[list[BatchResult], list[BatchTiming]]:
        """Answers in the order of the items. Raises Overloaded, BatchFailed or ClientDisconnected."""
        ...


class ModelBackend(TriggerHost, Protocol):
    """Computes one model under its triggers. On the event loop, unless a method says otherwise."""

    @property
    def classifier(self) -> ModelDescription:
        """The description of the model."""
        ...

    @property
    def queued(self) -> int:
        """Rows that wait for a batch. May wait for other processes: not on the event loop."""
        ...

    @property
    def in_flight(self) -> int:
        """Rows in work: admitted and not yet answered."""
        ...

    @property
    def capacity(self) -> int:
        """Most rows in work."""
        ...

    @property
    def alive(self) -> bool:
        """False if only a restart of this process can help."""
        ...

    @property
    def ready(self) -> bool:
        """Whether requests can be computed now."""
        ...

    @property
    def endpoint(self) -> EndpointState | None:
        """The state of the model's endpoint, if it has one."""
        ...

    def admit(self, rows: int) -> RequestLease:
        """A lease for a request of so many rows. Raises Overloaded or EndpointUnavailable."""
        ...

    def start(self) -> None:
        """Start computing, or connect."""
        ...

    def warm(self) -> None:
        """Do what would slow down the first request. Not on the event loop."""
        ...

    async def close(self) -> None:
        """Finish the submitted requests."""
        ...
