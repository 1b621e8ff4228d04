"""A route class with a thread limit per route, for routes that wait for a store or a ledger.

FastAPI runs every plain function, of a route or of a dependency, in the same 40 threads: 40 calls that wait for a dead
server would block all others, health checks too. Here every route has ROUTE_THREADS threads at most, so that its calls
wait only for each other.
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

ROUTE_THREADS = 16
"""Concurrent calls of one route; more wait for their turn."""


class PooledRoute(APIRoute):
    """A route whose plain function runs under its own thread limit; a coroutine stays on the event loop."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler of this route, once for each app that it is in."""
        call = self.dependant.call
        assert call is not None
        self.dependant.call = _pooled(call, CapacityLimiter(ROUTE_THREADS))
        return super().get_route_handler()


def _pooled(call: Callable[..., Any], limiter: CapacityLimiter) -> Callable[..., Any]:
    if iscoroutinefunction(call):
        return call

    @wraps(call)
    async def in_thread(**values: Any) -> Any:
        return await run_sync(partial(call, **values), limiter=limiter)

    return in_thread
