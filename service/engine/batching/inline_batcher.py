"""A batcher that computes on the event loop, for models faster than the hand-over to a thread."""

from __future__ import annotations

import asyncio
import logging
import time

from service.engine.batching.batcher import Batcher
from service.engine.batching.pending_requests import Req, Res, resolve_batch

INLINE_MAX_SECONDS = 0.02
"""CPU seconds above which a batch is too slow for the event loop."""
INLINE_STRIKES = 3
"""Consecutive batches over INLINE_MAX_SECONDS of CPU time after which a model leaves the event loop for a thread."""
logger = logging.getLogger(__name__)


class InlineBatcher(Batcher[Req, Res]):
    """A Batcher without threads as long as batches are short: no hand-over, and no contention for the GIL."""

    _inline, _slow = True, 0

    @property
    def alive(self) -> bool:
        """Whether batches are computed."""
        return not self._closing if self._inline else super().alive

    def start(self) -> None:
        """Start without threads. On the event loop that will submit."""
        self._loop = asyncio.get_running_loop()

    def use_threads(self) -> None:
        """Compute on threads from now on. After `start`, on any thread."""
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
        """Compute one batch on the event loop; other events run before the next."""
        if not (self._inline and self._queue):
            return
        started = time.thread_time()  # CPU time: on a busy machine the clock says little about the model
        self._serve(self._take(), resolve_batch)
        self._slow = self._slow + 1 if time.thread_time() - started > INLINE_MAX_SECONDS else 0
        if self._slow == INLINE_STRIKES:
            logger.info(
                "%d batches took over %.0f ms: a thread computes from now on", INLINE_STRIKES, INLINE_MAX_SECONDS * 1e3
            )
            self.use_threads()
        elif self._queue:
            asyncio.get_running_loop().call_soon(self._run_inline)
