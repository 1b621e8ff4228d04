"""A bounded queue in front of one inference thread.

There is no timer: a batch is whatever queued while the last one ran, and what one turn of the event loop brings comes
together. A request takes its place before it is decoded and keeps it until it is answered, or is refused at once. Its
items may be spread over several batches, and one call into the event loop delivers a whole batch. A client that has
gone (its future is cancelled) is skipped when a batch is built. When a batch fails, its requests run again one by one,
so that only the one at fault fails.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, Protocol, TypeVar

from service.leaving import Abandoned as Abandoned
from service.leaving import Gone, unless_gone
from service.places import Overloaded as Overloaded
from service.places import Places
from triggers.errors import FairtriggerError

logger = logging.getLogger(__name__)


class BatchFailed(FairtriggerError):
    """The model failed on the items of one request; the log has the details."""


class Work(Protocol):
    """One item of a request; `cost` is the number of rows it takes in a forward pass."""

    @property
    def cost(self) -> int: ...


W = TypeVar("W", bound=Work)
R = TypeVar("R")


class Timing(NamedTuple):
    """What one batch took, in seconds: the longest wait of this request's items in it, and the forward pass."""

    queue: float
    infer: float
    batch_size: int


@dataclass(eq=False, slots=True)
class _Ticket(Generic[W, R]):
    """One admitted request. The inference thread moves `taken`; only the event loop touches the rest."""

    items: Sequence[W]
    future: asyncio.Future[list[R]]
    submitted: float = field(default_factory=time.perf_counter)
    taken: int = 0
    results: list[R] = field(default_factory=list)
    timings: list[Timing] = field(default_factory=list)

    @property
    def waiting(self) -> Sequence[W]:
        return self.items[self.taken :]


class _Share(NamedTuple, Generic[W, R]):
    """The items of one ticket in one batch."""

    ticket: _Ticket[W, R]
    items: Sequence[W]


class Batcher(Generic[W, R]):
    """Runs `run(items) -> results` on its own thread, at most `max_batch` rows at a time, `capacity` rows in work."""

    def __init__(
        self,
        run: Callable[[Sequence[W]], Sequence[R]],
        *,
        name: str,
        max_batch: int,
        capacity: int,
        on_batch: Callable[[Sequence[Timing]], None] = lambda timings: None,
        on_dropped: Callable[[int], None] = lambda items: None,
    ) -> None:
        self._run, self._max_batch, self._places = run, max_batch, Places(capacity)
        self._on_batch, self._on_dropped = on_batch, on_dropped
        self._arrived: list[_Ticket[W, R]] = []
        self._queue: deque[_Ticket[W, R]] = deque()
        self._queued = 0
        self._closing = False
        self._wake = threading.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._work, name=f"infer-{name}", daemon=True)

    @property
    def queued(self) -> int:
        """Rows that wait for a batch."""
        return self._queued + sum(_rows(ticket.items) for ticket in self._arrived)

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
        """Whether the inference thread runs."""
        return self._thread.is_alive()

    @property
    def ready(self) -> bool:
        """Whether items can be computed now."""
        return self.alive

    def start(self) -> None:
        """Start the thread; call it inside the event loop that will submit."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def close(self) -> None:
        """Refuse new requests, finish the queued ones, stop the thread."""
        self._queue_arrived()
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join)

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
        ticket: _Ticket[W, R] = _Ticket(items, asyncio.get_running_loop().create_future())
        self._admit(ticket)
        return ticket.future, ticket.timings

    def _admit(self, ticket: _Ticket[W, R]) -> None:
        """Queue a ticket together with all others of this turn of the event loop, so that they make one batch."""
        if self._closing:
            raise Overloaded("The service is shutting down; ask another replica.", retry_after=1)
        if not self._arrived:
            asyncio.get_running_loop().call_soon(self._queue_arrived)
        self._arrived.append(ticket)

    def _queue_arrived(self) -> None:
        arrived, self._arrived = self._arrived, []
        if arrived:
            with self._wake:
                self._queue.extend(arrived)
                self._queued += sum(_rows(ticket.items) for ticket in arrived)
                self._wake.notify()

    def _work(self) -> None:
        while (batch := self._next_batch()) is not None:
            if batch:
                self._serve(batch)

    def _next_batch(self) -> list[_Share[W, R]] | None:
        """Wait for work and take a batch of it; None when closed and empty. May be empty if every client has gone."""
        with self._wake:
            while not self._queue:
                if self._closing:
                    return None
                self._wake.wait()
            return self._take()

    def _take(self) -> list[_Share[W, R]]:
        batch: list[_Share[W, R]] = []
        room = self._max_batch
        while self._queue:
            ticket = self._queue[0]
            items = [] if ticket.future.cancelled() else _fitting(ticket.waiting, room, first=not batch)
            if ticket.future.cancelled():
                self._drop(ticket)
            elif not items:
                break
            else:
                batch.append(_Share(ticket, items))
                ticket.taken += len(items)
                self._queued -= _rows(items)
                room -= _rows(items)
            if not ticket.waiting:
                self._queue.popleft()
        return batch

    def _drop(self, ticket: _Ticket[W, R]) -> None:
        """Forget the rest of a ticket."""
        self._queued -= _rows(ticket.waiting)
        self._on_dropped(len(ticket.waiting))
        ticket.taken = len(ticket.items)

    def _serve(self, batch: list[_Share[W, R]]) -> None:
        items = [item for share in batch for item in share.items]
        rows, started = _rows(items), time.perf_counter()
        outcome: Sequence[R] | FairtriggerError
        try:
            outcome = self._run(items)
        except Exception as error:  # the thread boundary: whoever waits gets it
            if len(batch) > 1:
                for share in batch:
                    self._serve([share])
                return
            logger.exception("a request of %d items failed", len(items))
            outcome = error if isinstance(error, FairtriggerError) else BatchFailed("The model failed on this request.")
            self._abandon(batch)
        timings = [Timing(started - share.ticket.submitted, time.perf_counter() - started, rows) for share in batch]
        self._on_batch(timings)
        assert self._loop is not None
        self._loop.call_soon_threadsafe(_deliver, batch, outcome, timings)

    def _abandon(self, batch: list[_Share[W, R]]) -> None:
        """A request whose first part failed need not be computed further."""
        with self._wake:
            for share in batch:
                if share.ticket.waiting:
                    self._drop(share.ticket)
                    self._queue.remove(share.ticket)


def _rows(items: Sequence[Work]) -> int:
    return sum([item.cost for item in items])


def _fitting(items: Sequence[W], room: int, *, first: bool) -> Sequence[W]:
    """The leading items that fit into `room` rows; the first of a batch always does."""
    count = 0
    for item in items:
        if item.cost > room and not (first and count == 0):
            break
        room -= item.cost
        count += 1
    return items[:count]


def _deliver(batch: Sequence[_Share[W, R]], outcome: Sequence[R] | FairtriggerError, timings: Sequence[Timing]) -> None:
    """On the event loop: hand a finished batch to the requests that wait for it."""
    start = 0
    for share, timing in zip(batch, timings, strict=True):
        ticket = share.ticket
        if isinstance(outcome, FairtriggerError):
            if not ticket.future.done():
                ticket.future.set_exception(outcome)
            continue
        ticket.results.extend(outcome[start : start + len(share.items)])
        ticket.timings.append(timing)
        start += len(share.items)
        if len(ticket.results) == len(ticket.items) and not ticket.future.done():
            ticket.future.set_result(ticket.results)
