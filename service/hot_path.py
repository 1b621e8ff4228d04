"""A short cut for the one route that carries the traffic: no router, no dependencies, no second validation.

What FastAPI does for a request before the route's own code takes several times as long as that code. The short cut
recognises the address itself and calls the function that the route calls, with the same checks and the same problem
documents; anything else goes the usual way. The route stays declared in FastAPI, for the OpenAPI document.
"""

from __future__ import annotations

import re

from fastapi import Request
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from service import problems
from service.lookup import find_model
from service.routes import predict
from service.running import Running
from triggers.errors import FairtriggerError

ADDRESS = re.compile(r"/v1/models/([^/]+)/predict")


class HotPath:
    """Answers POST predict; passes everything else on."""

    def __init__(self, app: ASGIApp, running: Running) -> None:
        self.app, self.running = app, running

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take the short cut if this is the way."""
        found = ADDRESS.fullmatch(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if found is None:
            await self.app(scope, receive, send)
            return
        scope["path_params"], scope["route"] = {"model": found[1]}, predict.ROUTE
        request = Request(scope, receive)
        try:
            model = find_model(self.running, found[1])
            response = await predict.answer(request, self.running, model)
        except (FairtriggerError, HTTPException, ClientDisconnect) as error:
            response = problems.answer(request, error)
        await response(scope, receive, send)
