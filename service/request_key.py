"""Whoever a request is for, as far as it says: the key by which a trial's share is drawn."""

from __future__ import annotations

from fastapi import Request

from service.problems import ProblemError
from service.schemas import MAX_KEY


def request_key(request: Request) -> str:
    """The X-Request-Key header, else the request's own id. Raises ProblemError."""
    key = request.headers.get("x-request-key")
    if key is None:
        return str(request.state.request_id)
    if not 1 <= len(key) <= MAX_KEY:
        raise ProblemError(422, "invalid_request", f"X-Request-Key has {len(key)} characters; send 1 to {MAX_KEY}.")
    return key
