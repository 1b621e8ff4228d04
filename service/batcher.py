"""A bounded queue in front of the inference threads: one, or as many as a device needs to be kept busy.

There is no timer: a batch is whatever queued while the last one ran, and what comes in turn after turn of the event
loop comes together. A model so small that the thread would cost more than it computes runs on the event loop
(`run_at_once`): no hand-over there and back, and nobody to share the interpreter's lock with. A request takes its
place before it is decoded and keeps it until it is answered, or is refused at once. Its items may be spread over
several batches, and one call into the event loop delivers a whole batch. A client that has gone (its future is
cancelled) is skipped when a batch is built. When a batch fails, its requests run again one by one, so that only the
one at fault fails.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Generic

from service.leaving import Abandoned as Abandoned
from service.leaving import Gone, unless_gone
from service.parting import part
from service.places import Overloaded as Overloaded
from service.places import Places
from service.tickets import R, Share, Ticket, Timing, W, deliver, fitting, rows_of
from triggers.errors import FairtriggerError

logger = logging.getLogger(__name__)

CLOSE_SECONDS = 10.0
"""How long a stop waits for a batch, which a broken device may never finish."""
MOMENT = 0.02
SLOW = 3
"""Batches in a row, of more than MOMENT seconds of processor time each, after which it may no longer."""


class BatchFailed(FairtriggerError):
    """The model failed on the items of one request; the log has the details."""


class Batcher(Generic[W, R]):
    """Runs `run(items) -> results` on a thread, at most `max_batch` rows at a time, `capacity` rows in work.

    There are `lanes` such threads: more than one where a batch can be made ready while another is computed.
    """

    def __init__(
        self,
        run: Callable[[Sequence[W]], Sequence[R]],
        *,
        name: str,
        max_batch: int,
        capacity: int,
        lanes: int = 1,
        on_batch: Callable[[Sequence[Timing]], None] = lambda timings: None,
        on_dropped: Callable[[int], None] = lambda items: None,
    ) -> None:
        self._run, self.max_batch, self._places = run, max_batch, Places(capacity)
        self._on_batch, self._on_dropped = on_batch, on_dropped
        self._arrived: list[Ticket[W, R]] = []
        self._queue: deque[Ticket[W, R]] = deque()
        self._queued = self._slow = 0
        self._closing = self._at_once = False
        self._wake = threading.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._threads = [threading.Thread(target=self._work, name=f"infer-{name}", daemon=True) for _ in range(lanes)]

    @property
    def queued(self) -> int:
        """Rows that wait for a batch."""
        return self._queued + sum(rows_of(ticket.items) for ticket in self._arrived)

    @property
    def placed(self) -> int:
        """Rows in work: admitted and not yet answered."""
        return self._places.taken

    @property
    def capacity(self) -> int:
        """Most rows in work."""
        return self._places.capacity

    @property
    def alive(self) -> bool:
        """Whether the inference threads run."""
        return all(thread.is_alive() for thread in self._threads)

    @property
    def ready(self) -> bool:
        """Whether items can be computed now."""
        return self.alive

    @property
    def at_once(self) -> bool:
        """Whether batches run on the event loop."""
        return self._at_once

    def run_at_once(self) -> None:
        """Compute on the event loop, until SLOW batches are none of that; call it before the first request."""
        self._at_once = True

    def start(self) -> None:
        """Start the threads; call it inside the event loop that will submit."""
        self._loop = asyncio.get_running_loop()
        for thread in self._threads:
            thread.start()

    async def close(self) -> None:
        """Refuse new requests, finish the queued ones, stop the threads; one that does not end is left behind."""
        self._queue_arrived()
        self._to_thread()
        with self._wake:
            self._closing = True
            self._wake.notify_all()
        for thread in self._threads:
            if thread.is_alive():
                await part(f"the batches of {thread.name}", thread.join, CLOSE_SECONDS)

    def place(self, rows: int) -> AbstractContextManager[None]:
        """Room for `rows` while the block runs; on the event loop. Raises Overloaded if there is none."""
        return self._places.place(rows)

    async def submit(self, items: Sequence[W], gone: Gone | None = None) -> tuple[list[R], list[Timing]]:
        """Results in the order of the items, and the timing of every batch involved.

        Raises BatchFailed, or Abandoned when `gone()`, which waits for the client's going away, ends first.
        """
        results, timings = self.enqueue(items)
        return await unless_gone(results, gone), timings

    def enqueue(self, items: Sequence[W]) -> tuple[asyncio.Future[list[R]], list[Timing]]:
        """What `submit` waits for, without waiting. Cancelling the future abandons the items. Raises Overloaded."""
        ticket: Ticket[W, R] = Ticket(items, asyncio.get_running_loop().create_future())
        self._admit(ticket)
        return ticket.future, ticket.timings

    def _admit(self, ticket: Ticket[W, R]) -> None:
        """Queue a ticket together with all others that come now, so that they make one batch."""
        if self._closing:
            raise Overloaded("The service is shutting down; ask another replica.", retry_after=1)
        if not self._arrived:
            asyncio.get_running_loop().call_soon(self._gather, 0)
        self._arrived.append(ticket)

    def _gather(self, before: int) -> None:
        """Wait as long as every turn of the event loop brings more for this batch; there is no timer."""
        arrived = len(self._arrived)
        if before < arrived < self.max_batch:
            asyncio.get_running_loop().call_soon(self._gather, arrived)
        else:
            self._queue_arrived()

    def _queue_arrived(self) -> None:
        arrived, self._arrived = self._arrived, []
        if not arrived:
            return
        with self._wake:
            self._queue.extend(arrived)
            self._queued += sum(rows_of(ticket.items) for ticket in arrived)
            if not self._at_once:  # else a thread would wake, find nothing for it to do, and take this one's time
                self._wake.notify()
        self._run_here()

    def _run_here(self) -> None:
        """One batch on the event loop, if that is where they run; other events come before the next."""
        if not self._at_once:
            return
        started = time.thread_time()  # not the clock: on a busy machine that says little about the model
        with self._wake:
            batch = self._take()
        self._serve(batch, deliver)
        self._slow = self._slow + 1 if time.thread_time() - started > MOMENT else 0
        if self._slow == SLOW:
            logger.info("%d batches took over %.0f ms: a thread computes from now on", SLOW, MOMENT * 1e3)
            self._to_thread()
        elif self._queue:
            asyncio.get_running_loop().call_soon(self._run_here)

    def _to_thread(self) -> None:
        with self._wake:
            self._at_once = False
            self._wake.notify()

    def _work(self) -> None:
        while (batch := self._next_batch()) is not None:
            self._serve(batch, self._hand_over)

    def _next_batch(self) -> list[Share[W, R]] | None:
        """Wait for work and take a batch of it; None when closed and empty. May be empty if every client has gone."""
        with self._wake:
            while not self._queue or self._at_once:
                if self._closing:
                    return None
                self._wake.wait()
            batch = self._take()
            if self._queue:
                self._wake.notify()  # another thread may have nothing to do
            return batch

    def _take(self) -> list[Share[W, R]]:
        batch: list[Share[W, R]] = []
        room = self.max_batch
        while self._queue:
            ticket = self._queue[0]
            items = [] if ticket.future.cancelled() else fitting(ticket.waiting, room, first=not batch)
            if ticket.future.cancelled():
                self._drop(ticket)
            elif not items:
                break
            else:
                batch.append(Share(ticket, items, ticket.taken))
                ticket.taken += len(items)
                self._queued -= rows_of(items)
                room -= rows_of(items)
            if not ticket.waiting:
                self._queue.popleft()
        return batch

    def _drop(self, ticket: Ticket[W, R]) -> None:
        """Forget the rest of a ticket."""
        self._queued -= rows_of(ticket.waiting)
        self._on_dropped(len(ticket.waiting))
        ticket.taken = len(ticket.items)

    def _hand_over(self, *outcome: Any) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(deliver, *outcome)

    def _serve(self, batch: list[Share[W, R]], tell: Callable[..., None]) -> None:
        if not batch:
            return
        items = [item for share in batch for item in share.items]
        rows, started = rows_of(items), time.perf_counter()
        outcome: Sequence[R] | FairtriggerError
        try:
            outcome = self._run(items)
        except Exception as error:  # the thread boundary: whoever waits gets it
            if len(batch) > 1:
                for share in batch:
                    self._serve([share], tell)
                return
            logger.exception("a request of %d items failed", len(items))
            outcome = error if isinstance(error, FairtriggerError) else BatchFailed("The model failed on this request.")
            self._abandon(batch)
        timings = [Timing(started - share.ticket.submitted, time.perf_counter() - started, rows) for share in batch]
        self._on_batch(timings)
        tell(batch, outcome, timings)

    def _abandon(self, batch: list[Share[W, R]]) -> None:
        """A request whose first part failed need not be computed further."""
        with self._wake:
            for share in batch:
                if share.ticket.waiting:
                    self._drop(share.ticket)
                    self._queue.remove(share.ticket)
