"""A short cut for the one route that carries the traffic: no router, no dependencies, no second validation.

What FastAPI does for a request before the route's own code takes several times as long as that code. The short cut
stands in front of everything, recognises the address of a served model, and does in one pass what stands around every
other request (limits.py); it calls the function that the route calls, with the same checks and the same problem
documents. Anything else goes the usual way. The route stays declared in FastAPI, for the OpenAPI document.
"""

from __future__ import annotations

import time

from fastapi import Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from service import problems
from service.access import Access
from service.call import Call
from service.limits import counting, identify, refused
from service.routes import predict
from service.running import Running
from service.safe_headers import guarded_headers
from service.served import ServedModel
from service.whole_answer import WHOLE
from triggers.errors import FairtriggerError

JSON = (b"content-type", b"application/json")
GUARDS = guarded_headers([JSON])[1:]
CLOSE = (b"connection", b"close")
Head = list[tuple[bytes, bytes]]


class HotPath:
    """Answers POST predict of the served models; passes everything else on."""

    def __init__(self, app: ASGIApp, running: Running) -> None:
        self.app, self._running, self._metrics = app, running, running.metrics
        self._access = Access(app, running.keyring, running)
        self._models = {f"/v1/models/{name}/predict": model for name, model in running.models.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take the short cut if this is the way."""
        if scope["type"] == "http" and scope["method"] == "POST" and (model := self._models.get(scope["path"])):
            scope["path_params"], scope["route"] = {"model": model.name}, predict.ROUTE
            await self._serve(model, Call(scope, receive), send)
        else:
            await self.app(scope, receive, send)

    async def _serve(self, model: ServedModel, call: Call, send: Send) -> None:
        """One request from its first header to its last byte, observed; see limits.Observed."""
        started, status, fault = time.perf_counter(), 500, None
        named = identify(call.scope, call.headers)
        if self._running.draining:
            named.append(CLOSE)
        self._metrics.in_flight += 1
        try:
            try:
                status, head, body = await self._answer(model, call)
            except Exception as error:  # a fault of ours: the client hears of one, the server logs what it was
                fault, (status, head, body) = error, _problem(call, error)
            headers = head + named
            whole = call.scope.get("extensions", {}).get(WHOLE)
            if not (whole and whole["write"](status, headers, body)):
                await send({"type": "http.response.start", "status": status, "headers": headers})
                await send({"type": "http.response.body", "body": body})
        finally:
            self._metrics.in_flight -= 1
            self._metrics.on_request(predict.PATH, model.name, status, time.perf_counter() - started)
        if fault:
            raise fault

    async def _answer(self, model: ServedModel, call: Call) -> tuple[int, Head, bytes]:
        limit, stated = self._running.settings.max_body_bytes, call.headers.get(b"content-length")
        if problem := self._access.refusal(call.scope) or refused(stated, limit):
            return _whole(problems.response(problem, call.scope["path"]))
        if stated is None:
            call.receive = counting(call.receive, limit)
        try:
            body, told = await predict.answer(call, self._running, model)
        except (FairtriggerError, HTTPException, ClientDisconnect) as error:
            return _problem(call, error)
        length = (b"content-length", str(len(body)).encode())
        return 200, [JSON, length, *GUARDS, *[(name.encode(), text.encode()) for name, text in told.items()]], body


def _problem(call: Call, error: Exception) -> tuple[int, Head, bytes]:
    return _whole(problems.answer(Request(call.scope), error))


def _whole(response: Response) -> tuple[int, Head, bytes]:
    return response.status_code, guarded_headers(response.raw_headers), bytes(response.body)
