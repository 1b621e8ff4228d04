"""Size limits of request bodies: refused at once by Content-Length, else as soon as too many bytes arrived."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.types import Message, Receive

from service.api.problem_details import Problem
from service.config import Settings


def too_large(limit: int) -> str:
    """The detail of the 413 response to a body over `limit` bytes."""
    return f"The body is larger than {limit} bytes; send fewer or smaller inputs."


class BodyTooLarge(HTTPException):
    """Raised while a body is read, so that it passes through every parser to the problem documents."""

    def __init__(self, limit: int) -> None:
        super().__init__(413, too_large(limit), {"Connection": "close"})


def length_problem(stated: bytes | None, limit: int) -> Problem | None:
    """The problem of a Content-Length over `limit` bytes, or that is no number; else None."""
    if stated is None or (stated.isdigit() and int(stated) <= limit):
        return None
    return Problem(413, "body_too_large", too_large(limit), {"Connection": "close"})


def limit_body(receive: Receive, limit: int) -> Receive:
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
"""Most bytes of a body without inputs: 10,000 labels of feedback fit."""
_INPUTS = ("/predict", "/infer")


def body_limit(path: str, settings: Settings) -> int:
    """Most bytes of a body: `max_body_bytes` for inputs, at most SMALL_BODY for anything else."""
    limit = settings.max_body_bytes
    return limit if path.endswith(_INPUTS) else min(limit, SMALL_BODY)
