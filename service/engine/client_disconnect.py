"""A client that goes away while its answer is computed: whoever waits for the answer stops waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias, TypeVar

from service.errors import Abandoned

PATIENCE = 0.05
"""Seconds that a request waits before its client is watched for leaving; a task for each would cost more than it saves.
"""

T = TypeVar("T")
Gone: TypeAlias = Callable[[], Coroutine[None, None, None]]
"""Starts to wait for the client's going away."""


async def unless_gone(answer: asyncio.Future[T], gone: Gone | None) -> T:
    """The answer. Raises Abandoned, and cancels it, when `gone()` ends first; None never ends."""
    watch = gone and _Watch(gone, answer)
    try:
        return await answer
    except asyncio.CancelledError:
        if watch and watch.left:
            raise Abandoned("The client went away.") from None
        raise
    finally:
        if watch:
            watch.end()


class _Watch:
    """Cancels `future` when `gone()` ends. Begins only after PATIENCE: most requests are answered before."""

    def __init__(self, gone: Gone, future: asyncio.Future[Any]) -> None:
        self._gone, self._future = gone, future
        self._task: asyncio.Task[None] | None = None
        self._timer = future.get_loop().call_later(PATIENCE, self._begin)

    def _begin(self) -> None:
        self._task = asyncio.ensure_future(self._gone())
        self._task.add_done_callback(lambda _: self._future.cancel())

    @property
    def left(self) -> bool:
        """Whether the client went away."""
        return self._task is not None and self._task.done() and not self._task.cancelled()

    def end(self) -> None:
        """Watch no longer."""
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
