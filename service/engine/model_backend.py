"""What computes one model's predictions: this process (local_backend.py) or others (remote_model.py).

The routes, the decoding and the counting are the same for both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from service.engine.client_disconnect import WaitForDisconnect
from service.engine.pending_requests import BatchTiming
from service.engine.predictor import BatchItem, BatchResult
from service.engine.types import ModelDescription
from service.rollout import TriggerHost


class RequestLease(Protocol):
    """One request's room in the queue, and the versions that it has held in memory, until the block ends.

    For the event loop.
    """

    def __enter__(self) -> RequestLease: ...

    def __exit__(self, *error: object) -> None: ...

    def hold(self, version: int) -> bool:
        """Hold a version, if that needs no waiting."""
        ...

    async def load(self, version: int) -> None:
        """Hold a version, bringing it into memory first. Raises NotFound, ArtifactError or Overloaded."""
        ...

    async def submit(
        self, items: Sequence[BatchItem], disconnect: WaitForDisconnect | None = None
    ) -> tuple[list[BatchResult], list[BatchTiming]]:
        """Answers in the order of the queries. Raises Overloaded, BatchFailed or ClientDisconnected."""
        ...


class ModelBackend(TriggerHost, Protocol):
    """Computes one model under its triggers; it is used on the event loop, but for what says otherwise."""

    @property
    def classifier(self) -> ModelDescription:
        """What the model is."""
        ...

    @property
    def queued(self) -> int:
        """Rows that wait for a batch; may wait for other processes, so it is for threads."""
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
        """Whether queries can be computed now."""
        ...

    def admit(self, rows: int) -> RequestLease:
        """Room for a request of so many rows. Raises Overloaded if there is none."""
        ...

    def start(self) -> None:
        """Begin."""
        ...

    def warm(self) -> None:
        """Do now what would make the first request slow; for threads."""
        ...

    async def close(self) -> None:
        """Finish what was submitted."""
        ...
