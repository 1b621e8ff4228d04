"""Pending requests: which of their items batches have taken, and the results so far."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, Protocol, TypeVar

from triggers.errors import FairtriggerError


class Batchable(Protocol):
    """One item of a request; `cost` is the number of rows it takes in a forward pass."""

    @property
    def cost(self) -> int:
        """Rows."""
        ...


Req = TypeVar("Req", bound=Batchable)
Res = TypeVar("Res")


class BatchTiming(NamedTuple):
    """What one batch took, in seconds: the longest wait of this request's items in it, and the forward pass."""

    queue: float
    infer: float
    batch_size: int


@dataclass(eq=False, slots=True)
class PendingRequest(Generic[Req, Res]):
    """One admitted request. Inference threads move `taken`; only the event loop touches the rest.

    `parts` are the results so far, by the index of their first item.
    """

    items: Sequence[Req]
    future: asyncio.Future[list[Res]]
    submitted: float = field(default_factory=time.perf_counter)
    taken: int = 0
    parts: dict[int, Sequence[Res]] = field(default_factory=dict)
    missing: int = field(init=False)
    timings: list[BatchTiming] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.missing = len(self.items)

    @property
    def waiting(self) -> Sequence[Req]:
        """Items that no batch has taken yet."""
        return self.items[self.taken :]


class BatchSlice(NamedTuple, Generic[Req, Res]):
    """The items of one request in one batch, from index `first` on."""

    request: PendingRequest[Req, Res]
    items: Sequence[Req]
    first: int


def count_rows(items: Sequence[Batchable]) -> int:
    """Rows of these items in a forward pass."""
    return sum([item.cost for item in items])


def take_prefix(items: Sequence[Req], room: int, *, first: bool) -> Sequence[Req]:
    """The leading items that fit into `room` rows; the first of a batch always does."""
    count = 0
    for item in items:
        if item.cost > room and not (first and count == 0):
            break
        room -= item.cost
        count += 1
    return items[:count]


def resolve_batch(
    batch: Sequence[BatchSlice[Req, Res]], outcome: Sequence[Res] | FairtriggerError, timings: Sequence[BatchTiming]
) -> None:
    """Resolve the requests of a finished batch with its results or error. On the event loop."""
    start = 0
    for share, timing in zip(batch, timings, strict=True):
        request = share.request
        if isinstance(outcome, FairtriggerError):
            if not request.future.done():
                request.future.set_exception(outcome)
            continue
        request.parts[share.first] = outcome[start : start + len(share.items)]
        request.timings.append(timing)
        start += len(share.items)
        request.missing -= len(share.items)
        if not request.missing and not request.future.done():  # parts may come in another order than they were taken
            request.future.set_result([each for first in sorted(request.parts) for each in request.parts[first]])
