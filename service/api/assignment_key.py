"""Whoever a request is for, as far as it says: the key by which a trial's share is drawn."""

from __future__ import annotations

from service.api.schemas import MAX_KEY
from service.errors import ProblemError


def request_key(header: str | None, request_id: str) -> str:
    """What the X-Request-Key header says, else the request's own id. Raises ProblemError."""
    if header is None:
        return request_id
    if not 1 <= len(header) <= MAX_KEY:
        raise ProblemError(422, "invalid_request", f"X-Request-Key has {len(header)} characters; send 1 to {MAX_KEY}.")
    return header
