"""Garbage collection and time-limited shutdown steps of a service process.

Garbage collection runs seldom, and never over objects that live as long as the process. Shutdown steps have time
limits, since Redis or the name server may be down: a name look-up cannot be interrupted and takes up to a minute, and
several would outlast the process manager's grace period.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import warnings
from collections.abc import Awaitable, Callable
from contextlib import suppress

GC_THRESHOLD = 10_000
"""New objects that start a garbage collection; Python's default of 700 is a dozen requests."""


def freeze_gc() -> None:
    """Exempt all present objects from garbage collection: scanning torch alone stops every request for 200 ms."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 20)  # hundreds of requests in flight are not garbage


def ignore_image_warnings() -> None:
    """Ignore what Pillow warns of in clients' images: Python prints each new text, and remembers it for ever."""
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


STEP_SECONDS, COUNTS_SECONDS = 5.0, 10.0
"""Seconds that a stop waits for one step, and for writing the counts."""

logger = logging.getLogger(__name__)


class Shutdown:
    """Runs the steps of a stop in order: each is tried, also after earlier ones failed. On the event loop.

    `failed` names the steps that raised an error, which is logged, or took too long.
    """

    def __init__(self) -> None:
        self.failed: list[str] = []

    async def step(self, what: str, work: Callable[[], object], seconds: float | None = None) -> None:
        """Run `work` on its own thread for at most `seconds`, by default STEP_SECONDS."""
        await self.wait(what, run_bounded(what, work, STEP_SECONDS if seconds is None else seconds))

    async def wait(self, what: str, work: Awaitable[object]) -> None:
        """Await `work`, which has its own time limit."""
        try:
            if await work is not False:
                return
        except Exception:
            logger.exception("The stop goes on without %s, which failed.", what)
        self.failed.append(what)


async def run_bounded(what: str, step: Callable[[], object], seconds: float = STEP_SECONDS) -> bool:
    """Run a step on its own daemon thread for at most `seconds`; raises what it raises. On the event loop.

    A step that takes longer is abandoned until the process ends, and False is returned.
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
        with suppress(RuntimeError):  # the loop is closed
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
