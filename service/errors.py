"""Exceptions of the service, its lowest layer; api/problem_details.py maps each to an HTTP status."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from triggers.errors import FairtriggerError


class ClientDisconnected(FairtriggerError):
    """The client disconnected before its items were computed."""


class BatchFailed(FairtriggerError):
    """The model failed on the items of one request; the log has the details."""


class DeadlineExceeded(FairtriggerError):
    """The request's own time limit passed before it was answered."""


class VersionNotLoaded(FairtriggerError):
    """A requested version is no longer in the memory of the engine process."""


class StatisticsOff(FairtriggerError):
    """Labels arrived at a service that runs with statistics off."""


class Overloaded(FairtriggerError):
    """The queue is full, or the service is shutting down; try again after `retry_after` seconds."""

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class EngineRestarting(Overloaded):
    """The engine process died with the request in work, or is not connected yet; another may answer."""


class NoReply(Overloaded):
    """The engine process is connected but did not reply in time; the request was cancelled."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"The process with the models did not reply within {seconds:g} s; retry later.", 1)


class ProblemError(FairtriggerError):
    """An error of the HTTP surface itself, with its status, code and headers."""

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
