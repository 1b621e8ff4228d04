"""Cancellation of a request whose client disconnects while its answer is computed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias, TypeVar

from service.errors import ClientDisconnected

WATCH_DELAY_SECONDS = 0.05
"""Seconds before a client is watched: most requests are answered by then, and a task for each would cost too much."""

_T = TypeVar("_T")
WaitForDisconnect: TypeAlias = Callable[[], Coroutine[None, None, None]]
"""Makes a coroutine that ends when the client disconnects."""


async def cancel_on_disconnect(answer: asyncio.Future[_T], disconnect: WaitForDisconnect | None) -> _T:
    """Await the answer. If `disconnect()` ends first, cancel it and raise ClientDisconnected. On the event loop."""
    watch = disconnect and _Watch(disconnect, answer)
    try:
        return await answer
    except asyncio.CancelledError:
        if watch and watch.left:
            raise ClientDisconnected("The client went away.") from None
        raise
    finally:
        if watch:
            watch.end()


class _Watch:
    """Cancels `future` when `disconnect()` ends; starts after WATCH_DELAY_SECONDS."""

    def __init__(self, disconnect: WaitForDisconnect, future: asyncio.Future[Any]) -> None:
        self._gone, self._future = disconnect, future
        self._task: asyncio.Task[None] | None = None
        self._timer = future.get_loop().call_later(WATCH_DELAY_SECONDS, self._begin)

    def _begin(self) -> None:
        self._task = asyncio.ensure_future(self._gone())
        self._task.add_done_callback(lambda _: self._future.cancel())

    @property
    def left(self) -> bool:
        """Whether the client disconnected."""
        return self._task is not None and self._task.done() and not self._task.cancelled()

    def end(self) -> None:
        """Stop watching."""
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
