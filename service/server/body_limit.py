"""How long a request's body may be: refused at once if it says its length, else as soon as it grows beyond."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.types import Message, Receive

from service.api.problem_details import Problem
from service.config import Settings


def too_large(limit: int) -> str:
    """What a client with too large a body is told."""
    return f"The body is larger than {limit} bytes; send fewer or smaller inputs."


class BodyTooLarge(HTTPException):
    """Raised while a body is read, so that it passes through every parser to the problem documents."""

    def __init__(self, limit: int) -> None:
        super().__init__(413, too_large(limit), {"Connection": "close"})


def length_problem(stated: bytes | None, limit: int) -> Problem | None:
    """The problem of a request that says that its body is too long, or nothing sensible."""
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
"""Bytes of the largest body that holds no inputs: 10,000 pieces of feedback fit."""
_INPUTS = ("/predict", "/infer")


def body_limit(path: str, settings: Settings) -> int:
    """Most bytes of a body: of inputs what the settings say, of anything else SMALL_BODY at most."""
    limit = settings.max_body_bytes
    return limit if path.endswith(_INPUTS) else min(limit, SMALL_BODY)
