"""A bounded queue in front of the inference threads: one, or as many as keep a device busy.

There is no timer: a batch is all that queued while the last one ran, and requests of consecutive turns of the event
loop are queued together. A request gets a Permit before it is decoded and keeps it until it is answered, or is refused
at once. Its items may be spread over several batches, and one call into the event loop delivers a whole batch. Requests
of disconnected clients (cancelled futures) are skipped when a batch is built. When a batch fails, its requests run
again one by one, so that only the faulty one fails; all fail at once if the model's endpoint is at fault.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic

from service.engine.batching.admission_control import AdmissionControl, Permit
from service.engine.batching.pending_requests import (
    BatchSlice,
    BatchTiming,
    PendingRequest,
    Req,
    Res,
    count_rows,
    resolve_batch,
    take_prefix,
)
from service.engine.client_disconnect import WaitForDisconnect, cancel_on_disconnect
from service.errors import BatchFailed, Overloaded
from service.process_lifecycle import run_bounded
from triggers.errors import EndpointFailed, EndpointUnavailable, FairtriggerError

logger = logging.getLogger(__name__)

CLOSE_SECONDS = 10.0
"""Seconds that a stop waits for a batch, which a broken device may never finish."""


class Batcher(Generic[Req, Res]):
    """Runs `run(items) -> results` on `lanes` threads, at most `max_batch` rows at a time, `capacity` rows in work.

    More than one lane is for devices where a batch can be gathered while another is computed.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Req]], Sequence[Res]],
        *,
        name: str,
        max_batch: int,
        capacity: int,
        lanes: int = 1,
        on_batch: Callable[[Sequence[BatchTiming]], None] = lambda timings: None,
        on_dropped: Callable[[int], None] = lambda items: None,
    ) -> None:
        self._run, self.max_batch, self._admission = run, max_batch, AdmissionControl(capacity)
        self._on_batch, self._on_dropped = on_batch, on_dropped
        self._arrived: list[PendingRequest[Req, Res]] = []
        self._queue: deque[PendingRequest[Req, Res]] = deque()
        self._queued, self._closing = 0, False
        self._wake = threading.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._threads = [threading.Thread(target=self._work, name=f"infer-{name}", daemon=True) for _ in range(lanes)]

    @property
    def queued(self) -> int:
        """Rows that wait for a batch."""
        return self._queued + sum(count_rows(request.items) for request in self._arrived)

    @property
    def in_flight(self) -> int:
        """Rows in work: admitted and not yet answered."""
        return self._admission.in_flight

    @property
    def capacity(self) -> int:
        """Most rows in work."""
        return self._admission.capacity

    @property
    def alive(self) -> bool:
        """Whether the inference threads run."""
        return all(thread.is_alive() for thread in self._threads)

    def start(self) -> None:
        """Start the threads. On the event loop that will submit."""
        self._loop = asyncio.get_running_loop()
        self._start_threads()

    def _start_threads(self) -> None:
        for thread in self._threads:
            thread.start()

    async def close(self) -> None:
        """Refuse new requests, finish the queued ones, end the threads; a thread that does not end is abandoned."""
        self._queue_arrived()
        with self._wake:
            self._closing = True
            self._wake.notify_all()
        for thread in self._threads:
            if thread.is_alive():
                await run_bounded(f"the batches of {thread.name}", thread.join, CLOSE_SECONDS)

    def reserve(self, rows: int) -> Permit:
        """A Permit for `rows`. On the event loop. Raises Overloaded if they do not fit."""
        return self._admission.acquire(rows)

    async def submit(
        self, items: Sequence[Req], disconnect: WaitForDisconnect | None = None
    ) -> tuple[list[Res], list[BatchTiming]]:
        """Results in the order of the items, and the timing of every batch involved.

        Raises Overloaded, BatchFailed, or ClientDisconnected if `disconnect()` ends first.
        """
        results, timings = self.submit_nowait(items)
        return await cancel_on_disconnect(results, disconnect), timings

    def submit_nowait(self, items: Sequence[Req]) -> tuple[asyncio.Future[list[Res]], list[BatchTiming]]:
        """`submit` without waiting: a future, and timings to come. Cancelling abandons items. Raises Overloaded."""
        request: PendingRequest[Req, Res] = PendingRequest(items, asyncio.get_running_loop().create_future())
        self._admit(request)
        return request.future, request.timings

    def _admit(self, request: PendingRequest[Req, Res]) -> None:
        """Queue a request together with all others that arrive now, so that they make one batch."""
        if self._closing:
            raise Overloaded("The service is shutting down; ask another replica.", retry_after=1)
        if not self._arrived:
            asyncio.get_running_loop().call_soon(self._coalesce, 0)
        self._arrived.append(request)

    def _coalesce(self, before: int) -> None:
        """Wait as long as every turn of the event loop brings more for this batch; there is no timer."""
        arrived = len(self._arrived)
        if before < arrived < self.max_batch:
            asyncio.get_running_loop().call_soon(self._coalesce, arrived)
        else:
            self._queue_arrived()

    def _queue_arrived(self) -> None:
        arrived, self._arrived = self._arrived, []
        if not arrived:
            return
        with self._wake:
            self._queue.extend(arrived)
            self._queued += sum(count_rows(request.items) for request in arrived)
            self._wake.notify()

    def _work(self) -> None:
        while (batch := self._next_batch()) is not None:
            self._serve(batch, self._hand_over)

    def _next_batch(self) -> list[BatchSlice[Req, Res]] | None:
        """Wait for work and take a batch; None when closed and empty. Empty if every client has disconnected."""
        with self._wake:
            while not self._queue:
                if self._closing:
                    return None
                self._wake.wait()
            batch = self._take()
            if self._queue:
                self._wake.notify()  # another thread may be idle
            return batch

    def _take(self) -> list[BatchSlice[Req, Res]]:
        batch: list[BatchSlice[Req, Res]] = []
        room = self.max_batch
        while self._queue:
            request = self._queue[0]
            items = [] if request.future.cancelled() else take_prefix(request.waiting, room, first=not batch)
            if request.future.cancelled():
                self._drop(request)
            elif not items:
                break
            else:
                batch.append(BatchSlice(request, items, request.taken))
                request.taken += len(items)
                self._queued -= count_rows(items)
                room -= count_rows(items)
            if not request.waiting:
                self._queue.popleft()
        return batch

    def _drop(self, request: PendingRequest[Req, Res]) -> None:
        """Drop the items of a request that no batch has taken."""
        self._queued -= count_rows(request.waiting)
        self._on_dropped(len(request.waiting))
        request.taken = len(request.items)

    def _hand_over(self, *outcome: Any) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(resolve_batch, *outcome)

    def _serve(self, batch: list[BatchSlice[Req, Res]], deliver_to: Callable[..., None]) -> None:
        if not batch:
            return
        items = [item for share in batch for item in share.items]
        rows, started = count_rows(items), time.perf_counter()
        outcome: Sequence[Res] | FairtriggerError
        try:
            outcome = self._run(items)
        except Exception as error:  # the thread boundary: the waiting request gets the error
            if len(batch) > 1 and not _of_endpoint(error):
                for share in batch:
                    self._serve([share], deliver_to)
                return
            if not isinstance(error, EndpointUnavailable):  # which is said once (endpoint_health.py)
                logger.exception("a request of %d items failed", len(items))
            outcome = error if isinstance(error, FairtriggerError) else BatchFailed("The model failed on this request.")
            self._abandon(batch)
        timings = [
            BatchTiming(started - share.request.submitted, time.perf_counter() - started, rows) for share in batch
        ]
        self._on_batch(timings)
        deliver_to(batch, outcome, timings)

    def _abandon(self, batch: list[BatchSlice[Req, Res]]) -> None:
        """Drop the remaining items of the requests in a failed batch."""
        with self._wake:
            for share in batch:
                if share.request.waiting:
                    self._drop(share.request)
                    self._queue.remove(share.request)


def _of_endpoint(error: Exception) -> bool:
    """Whether a model's endpoint failed whatever the rows: asked for them one by one it would fail as often."""
    return isinstance(error, EndpointUnavailable) or (isinstance(error, EndpointFailed) and not error.of_rows)
