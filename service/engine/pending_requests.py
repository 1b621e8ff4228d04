"""Requests on their way through batches: which of their items were taken, and what came back for them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, Protocol, TypeVar

from triggers.errors import FairtriggerError


class Work(Protocol):
    """One item of a request; `cost` is the number of rows it takes in a forward pass."""

    @property
    def cost(self) -> int:
        """Rows."""
        ...


W = TypeVar("W", bound=Work)
R = TypeVar("R")


class Timing(NamedTuple):
    """What one batch took, in seconds: the longest wait of this request's items in it, and the forward pass."""

    queue: float
    infer: float
    batch_size: int


@dataclass(eq=False, slots=True)
class Ticket(Generic[W, R]):
    """One admitted request. Inference threads move `taken`; only the event loop touches the rest.

    `parts` are the results that came, by the place of their first item.
    """

    items: Sequence[W]
    future: asyncio.Future[list[R]]
    submitted: float = field(default_factory=time.perf_counter)
    taken: int = 0
    parts: dict[int, Sequence[R]] = field(default_factory=dict)
    missing: int = field(init=False)
    timings: list[Timing] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.missing = len(self.items)

    @property
    def waiting(self) -> Sequence[W]:
        """Items that no batch has taken yet."""
        return self.items[self.taken :]


class Share(NamedTuple, Generic[W, R]):
    """The items of one ticket in one batch, from the place `first` on."""

    ticket: Ticket[W, R]
    items: Sequence[W]
    first: int


def rows_of(items: Sequence[Work]) -> int:
    """Rows of these items in a forward pass."""
    return sum([item.cost for item in items])


def fitting(items: Sequence[W], room: int, *, first: bool) -> Sequence[W]:
    """The leading items that fit into `room` rows; the first of a batch always does."""
    count = 0
    for item in items:
        if item.cost > room and not (first and count == 0):
            break
        room -= item.cost
        count += 1
    return items[:count]


def deliver(batch: Sequence[Share[W, R]], outcome: Sequence[R] | FairtriggerError, timings: Sequence[Timing]) -> None:
    """On the event loop: hand a finished batch to the requests that wait for it."""
    start = 0
    for share, timing in zip(batch, timings, strict=True):
        ticket = share.ticket
        if isinstance(outcome, FairtriggerError):
            if not ticket.future.done():
                ticket.future.set_exception(outcome)
            continue
        ticket.parts[share.first] = outcome[start : start + len(share.items)]
        ticket.timings.append(timing)
        start += len(share.items)
        ticket.missing -= len(share.items)
        if not ticket.missing and not ticket.future.done():  # parts may come in another order than they were taken
            ticket.future.set_result([each for first in sorted(ticket.parts) for each in ticket.parts[first]])
