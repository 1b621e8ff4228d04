"""The heartbeat that reports to the store which rollout revision this replica serves."""

from __future__ import annotations

import logging
import secrets
import socket
import time
from dataclasses import replace
from datetime import UTC, datetime

from triggers.errors import StoreError
from triggers.rollout.rollout_history import timestamp
from triggers.store import Store
from triggers.store.store import Replica

logger = logging.getLogger(__name__)

TTL_FACTOR = 3.0
"""Heartbeats without a report after which a replica counts as dead."""


def replica_name() -> str:
    """A unique replica name: the host, so that a person sees where it runs, and a random part."""
    return f"{socket.gethostname()[:60]}-{secrets.token_hex(3)}"


class ReplicaHeartbeat:
    """Reports what a model's replica serves, on change and as a heartbeat; a failing store only delays it."""

    def __init__(self, store: Store, model: str, name: str, heartbeat_seconds: float) -> None:
        self.name = name
        self._store, self._model, self._heartbeat = store, model, heartbeat_seconds
        self._reported: Replica | None = None
        self._reported_at = 0.0
        self._failing = False

    def report(self, replica: Replica) -> None:
        """Report a change, or a heartbeat that is due. One thread at a time; waits for the store."""
        now = time.monotonic()
        if replica == self._reported and now < self._reported_at + self._heartbeat:
            return
        try:
            self._store.report(self._model, replica, ttl_seconds=TTL_FACTOR * self._heartbeat)
            self._reported, self._reported_at, self._failing = replica, now, False
        except StoreError as error:
            self._fail(error)

    def list_all(self, own: Replica) -> list[Replica]:
        """All running replicas by name; this one up to date, even if its last report is not. Raises StoreError."""
        found = {each.name: each for each in self._store.replicas(self._model)}
        reported = found.get(self.name)
        found[self.name] = replace(own, seen_at=reported.seen_at if reported else timestamp(datetime.now(UTC)))
        return [found[name] for name in sorted(found)]

    def deregister(self) -> None:
        """Remove the stopping replica from the store's list."""
        try:
            self._store.withdraw(self._model, self.name)
        except StoreError as error:
            self._fail(error)

    def _fail(self, error: StoreError) -> None:
        if not self._failing:
            logger.warning("model %s: the store does not learn what is served here: %s", self._model, error)
        self._failing = True
