"""Routes that wait for a store or a ledger, each in threads of its own.

FastAPI runs every plain function, of a route or of a dependency, in the same 40 threads: as many calls that wait for
the same dead server are the end of all others, of health checks too. Here every route may hold a few threads at most,
so that calls of one address wait only for each other.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial, wraps
from inspect import iscoroutinefunction
from typing import Any

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import Request, Response
from fastapi.routing import APIRoute

THREADS = 16
"""Calls of one route that are worked on at once; more wait for their turn."""


class PooledRoute(APIRoute):
    """A route whose plain function runs in threads that no other route uses; a coroutine stays on the event loop."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler of this route, once for each app that it is in."""
        call = self.dependant.call
        assert call is not None
        self.dependant.call = _pooled(call, CapacityLimiter(THREADS))
        return super().get_route_handler()


def _pooled(call: Callable[..., Any], limiter: CapacityLimiter) -> Callable[..., Any]:
    if iscoroutinefunction(call):
        return call

    @wraps(call)
    async def in_thread(**values: Any) -> Any:
        return await run_sync(partial(call, **values), limiter=limiter)

    return in_thread
