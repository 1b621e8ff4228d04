"""The one ASGI middleware, which every request passes once. No task and no copy per request.

identification -> access -> body limit -> predict fast path, or FastAPI -> headers of the response -> count
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.problem_details import Problem, render_problem
from service.api.raw_request import RawRequest
from service.runtime import ServiceRuntime
from service.server.auth_middleware import AuthMiddleware
from service.server.body_limit import body_limit, length_problem, limit_body
from service.server.predict_fast_path import PredictFastPath
from service.server.request_id import trace_context
from service.server.security_headers import with_security_headers

CLOSE = (b"connection", b"close")


class RequestMiddleware:
    """Outermost but for tracing; `app` is FastAPI, which answers all but predictions. On the event loop.

    Every response, an error of any layer included, gets X-Request-Id, traceparent and the security headers, and is
    counted by route, model and status. While the service drains, responses carry `Connection: close`.
    """

    def __init__(self, app: ASGIApp, running: ServiceRuntime) -> None:
        self.app, self._running, self._metrics = app, running, running.metrics
        self._access = AuthMiddleware(running.settings, running.keyring, lambda: running.admin_port)
        self._predict = PredictFastPath(running)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request from its first header to its last byte. Unexpected errors go on to the server."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        call, started = RawRequest(scope, receive), time.perf_counter()
        reply = Reply(call, send, self._running)
        model = self._predict.model(scope)
        self._metrics.in_flight += 1
        try:
            if problem := self._access.refusal(scope) or self._limited(call):
                refusal = render_problem(problem, scope["path"])
                await reply.send_whole(refusal.status_code, refusal.raw_headers, bytes(refusal.body))
            elif model:
                await self._predict.answer(model, call, reply.send_whole)
            elif scope["method"] == "HEAD":
                await self._head(scope, call.receive, reply.send)
            else:
                await self.app(scope, call.receive, reply.send)
        finally:
            self._metrics.in_flight -= 1
            self._count(scope, reply.status, time.perf_counter() - started)

    async def _head(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer HEAD as GET; the server, which still sees HEAD, keeps the body back."""
        as_get = {**scope, "method": "GET"}
        try:
            await self.app(as_get, receive, send)
        finally:
            scope.update(as_get, method="HEAD")

    def _limited(self, call: RawRequest) -> Problem | None:
        """The problem of a Content-Length over the limit; a body of unknown length is counted while it is read."""
        limit, stated = body_limit(call.scope["path"], self._running.settings), call.headers.get(b"content-length")
        if stated is None:  # the server enforces a stated length
            call.receive = limit_body(call.receive, limit)
        return length_problem(stated, limit)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        scope["state"]["status"] = status
        route = getattr(scope.get("route"), "path", "unmatched")
        name = scope.get("path_params", {}).get("model", "")
        self._metrics.on_request(route, name if name in self._running.models else "", status, seconds)


class Reply:
    """The response of one request: completes its headers and notes its status."""

    __slots__ = ("_named", "_running", "_send", "status")

    def __init__(self, call: RawRequest, send: Send, running: ServiceRuntime) -> None:
        self._send, self._running, self.status = send, running, 500
        state, names = call.scope.setdefault("state", {}), trace_context(call.headers)
        state["request_id"] = names.request_id
        traceparent = state.setdefault("traceparent", names.traceparent)
        self._named = ((b"x-request-id", names.request_id.encode()), (b"traceparent", traceparent.encode()))

    async def send(self, message: Message) -> None:
        """ASGI's `send`."""
        if message["type"] == "http.response.start":
            message["headers"] = self._headers(message["status"], message.get("headers", ()))
        await self._send(message)

    async def send_whole(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> None:
        """Send a complete response."""
        await self._send({"type": "http.response.start", "status": status, "headers": self._headers(status, headers)})
        await self._send({"type": "http.response.body", "body": body})

    def _headers(self, status: int, given: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        self.status = status
        headers = with_security_headers(given)
        headers += self._named
        if self._running.draining:
            headers.append(CLOSE)
        return headers
