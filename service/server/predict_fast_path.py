"""The fast path of predict, the route that carries the traffic: no router, no dependencies, no second validation.

FastAPI's work before the route's own code takes several times as long as that code. The fast path calls the same
function as the route, which stays declared in FastAPI for the OpenAPI document.
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
    """Answers POST predict of the served models. On the event loop."""

    def __init__(self, running: ServiceRuntime) -> None:
        self._running = running

    def model(self, scope: Scope) -> ServedModel | None:
        """The model of a predict request, None for any other request; notes the route in `scope`."""
        path: str = scope["path"]
        if scope["method"] != "POST" or not (path.startswith(BEFORE) and path.endswith(AFTER)):
            return None
        model = self._running.models.get(path[len(BEFORE) : -len(AFTER)])
        if model:
            scope["path_params"], scope["route"] = {"model": model.name}, predict.ROUTE
        return model

    async def answer(self, model: ServedModel, raw_request: RawRequest, send: SendWhole) -> None:
        """Send the prediction or the problem; an unexpected error is answered with a problem, then raised."""
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
