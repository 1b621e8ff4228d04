"""A deadline on a request, past which its inputs are no longer worth computing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from service.errors import DeadlineExceeded

MAX_TIMEOUT_MS = 600_000
_T = TypeVar("_T")


async def with_deadline(timeout_ms: int | None, work: Awaitable[_T]) -> _T:
    """Await `work` for at most `timeout_ms` milliseconds, or without a limit if None. On the event loop.

    Raises DeadlineExceeded. `work` is then cancelled, so that its queued items are skipped.
    """
    if timeout_ms is None:
        return await work
    try:
        async with asyncio.timeout(timeout_ms / 1e3):
            return await work
    except TimeoutError as error:
        message = f"No answer within the request's limit of {timeout_ms} ms; allow more time, or ask again later."
        raise DeadlineExceeded(message) from error
