"""What a stopping service still does elsewhere, each step for a bounded time: Redis or a name server may be away then.

A look-up of a name cannot be interrupted and takes as long as the system's resolver wants, most of a minute in a
container whose name server is gone; together such steps would outlast what the one that stops the service waits.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress

STEP_SECONDS, COUNTS_SECONDS = 5.0, 10.0
"""How long a stop waits for one step, and for the last counts."""
logger = logging.getLogger(__name__)


class Shutdown:
    """The steps of a stop, in their order: each is tried, whatever became of those before it.

    `failed` names those that raised an error, which is logged, or took too long.
    """

    def __init__(self) -> None:
        self.failed: list[str] = []

    async def step(self, what: str, work: Callable[[], object], seconds: float | None = None) -> None:
        """Do `work` in a thread of its own; at most for `seconds`, by default STEP_SECONDS."""
        await self.wait(what, part(what, work, STEP_SECONDS if seconds is None else seconds))

    async def wait(self, what: str, work: Awaitable[object]) -> None:
        """Wait for `work`, which bounds itself, on the event loop."""
        try:
            if await work is not False:
                return
        except Exception:
            logger.exception("The stop goes on without %s, which failed.", what)
        self.failed.append(what)


async def part(what: str, step: Callable[[], object], seconds: float = STEP_SECONDS) -> bool:
    """Do a step in a thread of its own and return when it ends, at the latest after `seconds`; raises what it raises.

    A step that takes longer is left behind, and False is returned: it ends with the process.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def settle(error: Exception | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    def run() -> None:
        error = None
        try:
            step()
        except Exception as raised:
            error = raised
        with suppress(RuntimeError):  # nobody waits any longer: the loop is closed
            loop.call_soon_threadsafe(settle, error)

    threading.Thread(target=run, name=f"parting with {what}", daemon=True).start()
    try:
        await asyncio.wait_for(asyncio.shield(done), seconds)
    except TimeoutError:
        if done.done():
            raise  # the step's own
        logger.error("The stop does not wait for %s any longer than %g s.", what, seconds)
        done.cancel()
        return False
    return True
