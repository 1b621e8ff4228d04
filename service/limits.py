"""What stands around every request: its names, a body limit, a count. Plain ASGI: no task and no copy per request."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.call import header_of, headers_of
from service.correlation import correlate
from service.metrics import Metrics
from service.problems import Problem, response
from service.safe_headers import guarded_headers


def too_large(limit: int) -> str:
    """What a client with too large a body is told."""
    return f"The body is larger than {limit} bytes; send fewer or smaller inputs."


class BodyTooLarge(HTTPException):
    """Raised while a body is read, so that it passes through every parser to the problem documents."""

    def __init__(self, limit: int) -> None:
        super().__init__(413, too_large(limit), {"Connection": "close"})


def refused(stated: bytes | None, limit: int) -> Problem | None:
    """The problem of a request that says that its body is too long, or nothing sensible."""
    if stated is None or (stated.isdigit() and int(stated) <= limit):
        return None
    return Problem(413, "body_too_large", too_large(limit), {"Connection": "close"})


def counting(receive: Receive, limit: int) -> Receive:
    """`receive` that raises BodyTooLarge once more than `limit` bytes came: for bodies of unknown length."""
    read = 0

    async def counted() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > limit:
            raise BodyTooLarge(limit)
        return message

    return counted


SMALL_BODY = 4 * 2**20
"""Bytes of the largest body that holds no inputs: 10,000 pieces of feedback fit."""
_INPUTS = ("/predict", "/infer")


class BodyLimit:
    """Refuses a body over `limit` bytes: at once if it says its length, else as soon as it grows beyond.

    Only inputs may be as large as that; anything else has to keep to SMALL_BODY.
    """

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self.app, self.limit = app, limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, counting what is read."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = self.limit if scope["path"].endswith(_INPUTS) else min(self.limit, SMALL_BODY)
        stated = header_of(scope, b"content-length")
        if problem := refused(stated, limit):
            await response(problem, scope["path"])(scope, receive, send)
            return
        # a server holds a client to the length that it said
        await self.app(scope, receive if stated else counting(receive, limit), send)


def identify(scope: Scope, headers: Mapping[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    """Give a request its names, which its handlers find in the scope's state; the headers that tell them."""
    state = scope.setdefault("state", {})
    names = correlate(headers)
    traceparent = state.setdefault("traceparent", names.traceparent)
    state["request_id"] = names.request_id
    return [(b"x-request-id", names.request_id.encode()), (b"traceparent", traceparent.encode())]


class Observed:
    """Gives every response its X-Request-Id and traceparent and counts it by route, model and status.

    While `draining()` it also asks clients to connect again, so that they find another replica.
    """

    def __init__(
        self, app: ASGIApp, metrics: Metrics, known_model: Callable[[str], bool], draining: Callable[[], bool]
    ) -> None:
        self.app, self.metrics, self.known_model, self.draining = app, metrics, known_model, draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and watch its response start."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        named = identify(scope, headers_of(scope))
        started, status = time.perf_counter(), 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*guarded_headers(message.get("headers", ())), *named]
                if self.draining():
                    message["headers"].append((b"connection", b"close"))
            await send(message)

        self.metrics.in_flight += 1
        try:
            await self.app(scope, receive, watched)
        finally:
            self.metrics.in_flight -= 1
            self._count(scope, status, time.perf_counter() - started)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        name = scope.get("path_params", {}).get("model", "")
        model = name if self.known_model(name) else ""
        self.metrics.on_request(route, model, status, seconds)
