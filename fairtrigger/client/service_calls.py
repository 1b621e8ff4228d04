"""Calls of the service as generators, so that one code serves both clients: they yield what to do and get what came.

A driver sends each ServiceCall and hands back its response, or throws its httpx.TransportError in; it waits out each
Pause. Nothing here does any input or output.
"""

from __future__ import annotations

import random
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeAlias, TypeVar
from urllib.parse import quote

import httpx

from fairtrigger.client.errors import AnswerLost, ServiceError, ServiceUnreachable

_T = TypeVar("_T")
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.WriteError, httpx.WriteTimeout)
"""What happens before a whole request has left: the service does nothing about it."""
_TURNED_AWAY = frozenset({"too_many_requests", "overloaded", "endpoint_unavailable", "store_unavailable"})
"""Problems of the service itself after which nothing was computed or counted."""
_MEDIA_TYPE = "application/problem+json"
_FIRST_PAUSE = 0.2


@dataclass(frozen=True)
class ServiceCall:
    """One request. `repeatable`: doing it twice is as doing it once."""

    method: str
    path: str
    json: Any = None
    params: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool = True

    def request(self) -> dict[str, Any]:
        """The arguments of httpx's request."""
        return {
            "method": self.method,
            "url": self.path,
            "json": self.json,
            "params": self.params,
            "headers": self.headers,
        }


@dataclass(frozen=True)
class Pause:
    """Seconds to wait."""

    seconds: float


@dataclass(frozen=True)
class RetryRules:
    """How often a call is sent again, and the longest that a Retry-After is waited for, in seconds."""

    retries: int = 4
    longest_wait: float = 60.0


Operation: TypeAlias = Generator[ServiceCall | Pause, httpx.Response | None, _T]
"""A call of a client, to be driven."""


def model_path(model: str, rest: str = "") -> str:
    """The path of a model, or of what is below it."""
    return f"/v1/models/{quote(model, safe='')}{rest}"


def exchange(call: ServiceCall, rules: RetryRules) -> Operation[httpx.Response]:
    """Send a call until it is answered, as often as is safe. Raises ServiceError."""
    uncertain = False
    for attempt in range(rules.retries + 1):
        last = attempt == rules.retries
        wait = _FIRST_PAUSE * 2**attempt * random.uniform(0.5, 1.0)
        try:
            response = yield call
        except httpx.TransportError as error:
            sent = not isinstance(error, _NOT_SENT)
            if last or (sent and not call.repeatable):
                raise _transport_error(error, sent and not call.repeatable) from error
            uncertain = uncertain or sent
        else:
            assert response is not None
            if response.is_success:
                return response
            error_found = service_error(response)
            stated = _retry_after(response)
            wait = max(wait, stated or 0.0)
            error_found.uncertain = uncertain
            if last or not _may_repeat(call, response, error_found) or wait > rules.longest_wait:
                raise error_found
            uncertain = uncertain or error_found.code not in _TURNED_AWAY
        yield Pause(wait)
    raise AssertionError("the last attempt returns or raises")


def fetch(path: str, rules: RetryRules, params: Mapping[str, Any] | None = None) -> Operation[Any]:
    """The JSON document at a path."""
    return (yield from exchange(ServiceCall("GET", path, params=params or {}), rules)).json()


def post_items(path: str, items: Sequence[Mapping[str, Any]], rules: RetryRules, most: int) -> Operation[list[Any]]:
    """The results of a list of items that count once however often they are sent, `most` of them at a time."""
    results: list[Any] = []
    waiting = [items[start : start + most] for start in range(0, len(items), most)][::-1]
    while waiting:
        some = waiting.pop()
        try:
            reply = yield from exchange(ServiceCall("POST", path, json=list(some)), rules)
        except ServiceError as error:
            if error.status != 413 or len(some) < 2:
                raise
            waiting += [some[len(some) // 2 :], some[: len(some) // 2]]
            continue
        results += reply.json()["results"]
    return results


def service_error(response: httpx.Response) -> ServiceError:
    """The error that a response stands for."""
    problem = {}
    if response.headers.get("content-type", "").startswith(_MEDIA_TYPE):
        problem = response.json()
    reason = (
        problem.get("detail") or f"{response.request.url.path} answered {response.status_code}, not by the service."
    )
    return ServiceError(
        problem.get("code", f"http_{response.status_code}"), reason, status=response.status_code, problem=problem
    )


def _may_repeat(call: ServiceCall, response: httpx.Response, error: ServiceError) -> bool:
    if error.code in _TURNED_AWAY:
        return True
    return call.repeatable and not error.problem and response.status_code in (429, 502, 503, 504)


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds that the response asks to wait: a number, or until a date."""
    stated = response.headers.get("retry-after", "").strip()
    if stated.isdigit():
        return float(stated)
    try:
        until = parsedate_to_datetime(stated)
    except ValueError:
        return None
    return (until - datetime.now(UTC)).total_seconds()


def _transport_error(error: httpx.TransportError, lost: bool) -> ServiceError:
    request = error.request
    where, what = f"{request.url.scheme}://{request.url.netloc.decode()}", str(error) or type(error).__name__
    if lost:
        reason = f"The answer of {where} was lost ({what}): what was sent may have been counted, and is not sent again."
        return AnswerLost("answer_lost", reason)
    return ServiceUnreachable("unreachable", f"No service answers at {where} ({what}).")
