"""The health of a model's endpoint as one process knows it: whether it is asked, and whether it still is that model.

A circuit breaker whose probe is the canary: requests fail at once while the endpoint is away, and go on when it has
given its canary the recorded outputs again, not before. So a model that comes back is known before it answers anybody.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from triggers.errors import EndpointFailed, EndpointUnavailable, FairtriggerError

FAILURES = 3
"""Failures in a row after which an endpoint counts as away; one without a connection is enough."""
EndpointStatus = Literal["unverified", "answers", "away", "changed"]
ChangeRule = Literal["refuse", "withdraw", "warn"]
ENDPOINT_STATUSES: tuple[EndpointStatus, ...] = ("unverified", "answers", "away", "changed")
NOT_ASKED = "it was not asked for its canary yet"
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EndpointState:
    """An endpoint's status, why, and since when (time.time()); `serves` triggers, or at least the bare model.

    `unverified` after a start, `answers` its canary as recorded, `away`, or `changed`: it answers otherwise.
    """

    status: EndpointStatus
    reason: str | None
    since: float
    rule: ChangeRule

    def serves(self, *, triggers: bool) -> bool:
        """Whether requests are answered now, under triggers or without."""
        if self.status == "changed":
            return self.rule == "warn" or (self.rule == "withdraw" and not triggers)
        return self.status == "answers"

    def check(self, *, triggers: bool) -> None:
        """Raise EndpointUnavailable unless requests are answered now. The text is for clients."""
        if self.serves(triggers=triggers):
            return
        told = {
            "changed": "The model behind the endpoint is not the one that was wrapped, so it is not asked.",
            "away": "The model's endpoint does not answer at the moment.",
        }.get(self.status, "The model's endpoint has not yet shown which model it is.")
        raise EndpointUnavailable(told)

    @property
    def fault(self) -> str | None:
        """What a reader should know about its answers; None if all is well."""
        return None if self.status == "answers" else f"endpoint {self.status}: {self.reason}"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"status": self.status, "reason": self.reason, "since": self.since, "rule": self.rule}


class EndpointHealth:
    """The state of one endpoint; on any thread. `wake` is set when its canary should be asked now.

    `on_change` is called with every new status.
    """

    def __init__(
        self,
        model: str,
        rule: ChangeRule,
        every_seconds: float,
        on_change: Callable[[EndpointState], None] = lambda state: None,
    ) -> None:
        self.model, self.on_change, self.wake = model, on_change, threading.Event()
        self.every_seconds, self.answered_at = every_seconds, 0.0
        self._failures, self._paused_until = 0, 0.0
        self._changing = threading.Lock()
        self._state = EndpointState("unverified", NOT_ASKED, time.time(), rule)

    @property
    def state(self) -> EndpointState:
        """The state now."""
        return self._state

    def check(self, *, triggers: bool) -> None:
        """Raise EndpointUnavailable if the endpoint is not to be asked now."""
        self._state.check(triggers=triggers)
        if (left := self._paused_until - time.monotonic()) > 0:
            raise EndpointUnavailable("The model's endpoint asked to be left alone for a moment.", max(1, round(left)))

    def succeeded(self) -> None:
        """A request was answered."""
        self._failures = 0

    def failed(self, error: FairtriggerError) -> None:
        """A request, or the canary, was not answered: it is away now if there was no connection, or often enough."""
        if isinstance(error, EndpointUnavailable) and error.stated:
            self._paused_until = time.monotonic() + error.retry_after
        if isinstance(error, EndpointFailed) and error.of_rows and error.status < 500:
            return  # a client can send such rows at will
        self._failures += 1
        if self._failures >= FAILURES or (isinstance(error, EndpointUnavailable) and error.gone):
            self._become("away", " ".join(str(error).split()))

    def answered(self) -> None:
        """It gave its canary the recorded outputs."""
        self._failures, self.answered_at = 0, time.monotonic()
        self._become("answers", None)

    def changed(self, reason: str) -> None:
        """It gave its canary other outputs."""
        self._become("changed", reason)

    def suspect(self) -> None:
        """Its connections were cut: ask its canary soon, at most six times as often as usual."""
        if time.monotonic() - self.answered_at > self.every_seconds / 6:
            self.wake.set()

    def _become(self, status: EndpointStatus, reason: str | None) -> None:
        with self._changing:
            before = self._state
            if before.status == "changed" == status:
                return
            if before.status == "changed" and status == "away":
                reason = f"{reason} Before that: {before.reason}"
            since = before.since if before.status == status else time.time()
            self._state = EndpointState(status, reason, since, before.rule)
        if before.status == status:
            return
        level = logging.INFO if status == "answers" else logging.ERROR
        text = reason or "its endpoint gives its canary the recorded outputs"
        logger.log(level, "model %s: endpoint %s: %s", self.model, status, text)
        if status == "away":
            self.wake.set()
        self.on_change(self._state)
