"""A short cut for the one route that carries the traffic: no router, no dependencies, no second validation.

What FastAPI does for a request before the route's own code takes several times as long as that code. The short cut
calls the function that the route calls. The route stays declared in FastAPI, for the OpenAPI document.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from fastapi import Request
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Scope

from service.api import problem_details
from service.api.raw_request import RawRequest
from service.api.routes import predict
from service.engine import ServedModel
from service.runtime import ServiceRuntime
from triggers.errors import FairtriggerError

SendWhole = Callable[[int, Iterable[tuple[bytes, bytes]], bytes], Awaitable[None]]
JSON = (b"content-type", b"application/json")
BEFORE, AFTER = predict.PATH.split("{model}")


class PredictFastPath:
    """Answers POST predict of the served models; on the event loop."""

    def __init__(self, running: ServiceRuntime) -> None:
        self._running = running

    def model(self, scope: Scope) -> ServedModel | None:
        """The model that a request asks to predict, None if that is not what it asks; notes the route."""
        path: str = scope["path"]
        if scope["method"] != "POST" or not (path.startswith(BEFORE) and path.endswith(AFTER)):
            return None
        model = self._running.models.get(path[len(BEFORE) : -len(AFTER)])
        if model:
            scope["path_params"], scope["route"] = {"model": model.name}, predict.ROUTE
        return model

    async def answer(self, model: ServedModel, raw_request: RawRequest, send: SendWhole) -> None:
        """Send the prediction, or the problem. A fault of the service is answered as one, and raised."""
        try:
            body, told = await predict.answer_predict(raw_request, self._running, model)
        except Exception as error:
            problem = problem_details.problem_response(Request(raw_request.scope), error)
            await send(problem.status_code, problem.raw_headers, bytes(problem.body))
            if not isinstance(error, FairtriggerError | HTTPException | ClientDisconnect):
                raise
        else:
            length = (b"content-length", str(len(body)).encode())
            await send(200, [JSON, length, *[(name.encode(), text.encode()) for name, text in told.items()]], body)
