"""RFC 9457 problem documents for every error; the only mapping from exceptions to HTTP statuses.

    {"type": "urn:fairtrigger:problem:not_found", "title": "Not found", "status": 404, "code": "not_found",
     "detail": "...what is wrong and what to do...", "instance": "/v1/models/x", "error": "...same as detail..."}

`error` repeats the detail for clients that only know that field. A traceback goes to the log, never to a client.
"""

from __future__ import annotations

import http
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from service.errors import BatchFailed, ClientDisconnected, DeadlineExceeded, Overloaded, ProblemError, StatisticsOff
from triggers import errors

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
ENDPOINT_FAILED = "The model's endpoint gave an answer that cannot be used; the log of this service says which."


@dataclass(frozen=True)
class Problem:
    """A problem document without its `instance`, the path of the request."""

    status: int
    code: str
    detail: str
    headers: Mapping[str, str] = field(default_factory=dict)
    errors: Sequence[Mapping[str, Any]] = ()

    def body(self, instance: str | None = None) -> dict[str, Any]:
        """The JSON document."""
        document: dict[str, Any] = {
            "type": f"urn:fairtrigger:problem:{self.code}",
            "title": self.code.replace("_", " ").capitalize(),
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            "error": self.detail,
        }
        if instance:
            document["instance"] = instance
        if self.errors:
            document["errors"] = list(self.errors)
        return document


_STATUS: tuple[tuple[type[Exception], int, str], ...] = (
    (errors.NotFound, 404, "not_found"),
    (errors.RevisionConflict, 412, "revision_conflict"),
    (errors.StoreUnavailable, 503, "store_unavailable"),
    (errors.ArtifactCorrupt, 422, "artifact_corrupt"),
    (errors.ArtifactUnsupported, 422, "artifact_unsupported"),
    (errors.ArtifactMismatch, 422, "artifact_mismatch"),
    (errors.ArtifactUntrusted, 422, "artifact_untrusted"),
    (errors.ArtifactUncertified, 422, "artifact_uncertified"),
    (errors.StoreError, 409, "store_refused"),
    (StatisticsOff, 409, "statistics_off"),
    (errors.ModelError, 500, "model_failed"),
    (BatchFailed, 500, "model_failed"),
    (ClientDisconnected, 499, "client_gone"),
    (ClientDisconnect, 499, "client_gone"),
    (DeadlineExceeded, 504, "deadline_exceeded"),
    (errors.FairtriggerError, 500, "internal_error"),
)
_TOO_LARGE = frozenset({"image_too_large", "image_too_many_pixels", "request_too_many_pixels", "text_too_large"})


def to_problem(error: Exception) -> Problem:
    """The problem for an error; an unexpected error becomes an anonymous 500."""
    if isinstance(error, ProblemError):
        return Problem(error.status, error.code, str(error), error.headers, error.errors)
    if isinstance(error, Overloaded):
        return Problem(503, "overloaded", str(error), {"Retry-After": str(error.retry_after)})
    if isinstance(error, errors.EndpointUnavailable):
        return Problem(503, "endpoint_unavailable", str(error), {"Retry-After": str(error.retry_after)})
    if isinstance(error, errors.EndpointFailed):
        return Problem(502, "endpoint_failed", ENDPOINT_FAILED)
    if isinstance(error, errors.InputError):
        return Problem(413 if error.code in _TOO_LARGE else 422, error.code, str(error))
    for kind, status, code in _STATUS:
        if isinstance(error, kind):
            return Problem(
                status, code, str(error) or "The client went away.", {"Retry-After": "1"} if status == 503 else {}
            )
    return Problem(500, "internal_error", "The service failed on this request; its log has the details.")


def render_problem(problem: Problem, instance: str | None) -> JSONResponse:
    """A problem as a whole HTTP response."""
    return JSONResponse(problem.body(instance), problem.status, dict(problem.headers), media_type=MEDIA_TYPE)


def problem_response(request: Request, error: Exception) -> JSONResponse:
    """The response to a request that raised this error."""
    if isinstance(error, HTTPException):
        problem = _of_http(error, request)
    elif isinstance(error, RequestValidationError):
        problem = validation_problem(error.errors())
    else:
        problem = to_problem(error)
    return render_problem(problem, request.url.path)


def install_error_handlers(app: FastAPI, methods_at: Callable[[str], str]) -> None:
    """Answer every error of the app with a problem document; `methods_at(path)` is the Allow header of a 405."""

    def not_allowed(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        allowed = methods_at(request.url.path)  # the router names those of one route, but several may share a path
        return problem_response(request, HTTPException(405, headers={"Allow": allowed}) if allowed else error)

    app.add_exception_handler(405, not_allowed)
    for kind in (errors.FairtriggerError, HTTPException, RequestValidationError, ClientDisconnect, Exception):
        app.add_exception_handler(kind, problem_response)


def validation_problem(found: Sequence[Mapping[str, Any]]) -> Problem:
    """The problem for pydantic's errors: 400 where the body is not JSON, else 422 with up to 20 places and reasons."""
    if any(error["type"] in ("json_invalid", "value_error.jsondecode") for error in found):
        return Problem(400, "malformed_json", f"The body is not valid JSON: {_reason(found[0])}.")
    places = [{"loc": [str(part) for part in error["loc"]], "message": error["msg"]} for error in found[:20]]
    first = f"{'.'.join(places[0]['loc']) or 'body'}: {places[0]['message']}"
    more = f" (and {len(found) - 1} more, see errors)" if len(found) > 1 else ""
    return Problem(422, "invalid_request", f"The request does not fit its schema: {first}{more}.", errors=places)


def _reason(error: Mapping[str, Any]) -> str:
    return str(error.get("ctx", {}).get("error") or error["msg"])


def _of_http(error: HTTPException, request: Request) -> Problem:
    headers = {name.title(): value for name, value in (error.headers or {}).items()}
    known = {
        404: ("not_found", f"There is nothing at {request.url.path}; /docs lists every address."),
        405: (
            "method_not_allowed",
            f"{request.method} is not possible here; allowed: {headers.get('Allow') or 'see /docs'}.",
        ),
        413: ("body_too_large", str(error.detail)),
        400: ("malformed_request", f"The body cannot be read: {error.detail}."),
    }
    fallback = (http.HTTPStatus(error.status_code).phrase.lower().replace(" ", "_"), str(error.detail))
    code, detail = known.get(error.status_code, fallback)
    return Problem(error.status_code, code, detail, headers)
