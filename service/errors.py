"""The service's own errors, below everything that raises or answers them; problem_details.py knows which status each
has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from triggers.errors import FairtriggerError


class ClientDisconnected(FairtriggerError):
    """The client went away before its items were computed."""


class BatchFailed(FairtriggerError):
    """The model failed on the items of one request; the log has the details."""


class DeadlineExceeded(FairtriggerError):
    """The request's own time limit passed before it was answered."""


class VersionNotLoaded(FairtriggerError):
    """A request names a version that has left the memory of the process that computes."""


class StatisticsOff(FairtriggerError):
    """Labels came for a service that counts nothing."""


class Overloaded(FairtriggerError):
    """The queue is full, or the service is going down; try again after `retry_after` seconds."""

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class EngineRestarting(Overloaded):
    """The inference process died, with what it had in work, or is not there yet; another may be."""


class NoReply(Overloaded):
    """The inference process is there and has not replied in time; it was told that nobody waits any more."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"The process with the models did not reply within {seconds:g} s; retry later.", 1)


class ProblemError(FairtriggerError):
    """An error of the HTTP surface itself, raised where it is noticed."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(detail)
        self.status, self.code, self.headers, self.errors = status, code, dict(headers or {}), list(errors)
