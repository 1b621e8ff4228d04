"""A queue whose batches are computed on the event loop, for models that take less than handing over to a thread."""

from __future__ import annotations

import asyncio
import logging
import time

from service.engine.batcher import Batcher
from service.engine.pending_requests import Req, Res, resolve_batch

INLINE_MAX_SECONDS = 0.02
"""Processor seconds of a batch that are too many."""
INLINE_STRIKES = 3
"""So many such batches in a row, and threads compute from then on."""
logger = logging.getLogger(__name__)


class InlineBatcher(Batcher[Req, Res]):
    """Starts no thread as long as batches are short: no hand-over, and nobody to share the interpreter's lock with."""

    _inline, _slow = True, 0

    @property
    def alive(self) -> bool:
        """Whether batches are computed."""
        return not self._closing if self._inline else super().alive

    def start(self) -> None:
        """Begin; inside the event loop that will submit."""
        self._loop = asyncio.get_running_loop()

    def use_threads(self) -> None:
        """From now on; after `start`, on any thread."""
        if self._inline:
            self._inline = False
            self._start_threads()

    async def close(self) -> None:
        """Refuse new requests and let threads finish the queued ones."""
        self.use_threads()
        await super().close()

    def _queue_arrived(self) -> None:
        super()._queue_arrived()
        self._run_inline()

    def _run_inline(self) -> None:
        """One batch on the event loop; other events come before the next."""
        if not (self._inline and self._queue):
            return
        started = time.thread_time()  # not the clock: on a busy machine that says little about the model
        self._serve(self._take(), resolve_batch)
        self._slow = self._slow + 1 if time.thread_time() - started > INLINE_MAX_SECONDS else 0
        if self._slow == INLINE_STRIKES:
            logger.info(
                "%d batches took over %.0f ms: a thread computes from now on", INLINE_STRIKES, INLINE_MAX_SECONDS * 1e3
            )
            self.use_threads()
        elif self._queue:
            asyncio.get_running_loop().call_soon(self._run_inline)
