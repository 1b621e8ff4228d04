"""What a stopping service still does elsewhere, each step for a bounded time: Redis or a name server may be away then.

A look-up of a name cannot be interrupted and takes as long as the system's resolver wants, most of a minute in a
container whose name server is gone; together such steps would outlast what the one that stops the service waits.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import suppress

STEP_SECONDS, COUNTS_SECONDS = 5.0, 10.0
"""How long a stop waits for one step, and for the last counts."""
logger = logging.getLogger(__name__)


async def part(what: str, step: Callable[[], object], seconds: float = STEP_SECONDS) -> None:
    """Do a step in a thread of its own and return when it ends, at the latest after `seconds`; raises what it raises.

    A step that takes longer is left behind: it ends with the process.
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
        await asyncio.wait_for(done, seconds)
    except TimeoutError:
        logger.error("The stop does not wait for %s any longer than %g s.", what, seconds)
