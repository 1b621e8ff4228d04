"""A queue in front of the inference processes, as an HTTP process has it; see `parts.Queue`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress

from service import assignment
from service.assignment import Assignments
from service.leaving import Abandoned, Gone, unless_gone
from service.link import REPLY_SECONDS, Link, NoReply, Restarting
from service.links import Links
from service.messages import NotHeld, unpack_results
from service.predictor import Query, Result
from service.tickets import Timing


class RemoteQueue:
    """Hands decoded inputs to the inference processes, whole requests to one of them; see `parts.Queue`."""

    alive = True  # the supervisor restarts an inference process; restarting this one would not help

    def __init__(self, name: str, links: Links, capacity: int) -> None:
        self._name, self._links, self._assignments = name, links, Assignments(links, capacity)
        self._depths: dict[Link, int] = {}

    @property
    def queued(self) -> int:
        """Asked of the inference processes, whose queues they are; one that is silent counts with what it last said.

        For threads.
        """
        with suppress(NoReply):
            self._links.call(self._ask_depths(), REPLY_SECONDS["depth"])
        return sum(self._depths.get(link, 0) for link in self._links.up)

    async def _ask_depths(self) -> None:
        links, message = self._links.up, {"op": "depth", "model": self._name}
        outcomes = await asyncio.gather(*(link.ask(message) for link in links), return_exceptions=True)
        replies = zip(links, outcomes, strict=True)
        self._depths |= {link: int(each["depth"]) for link, each in replies if isinstance(each, dict)}

    @property
    def placed(self) -> int:
        """Rows of this process in work."""
        return self._assignments.taken

    @property
    def capacity(self) -> int:
        """Most rows of this process in work."""
        return self._assignments.capacity

    @property
    def ready(self) -> bool:
        """Whether an inference process is there."""
        return bool(self._links.up)

    def start(self) -> None:
        """Connect; inside the event loop."""
        self._links.start()

    async def close(self) -> None:
        """Hang up: what was to be answered was answered before, and what still waits is no longer waited for."""
        self._links.close()

    def place(self, rows: int) -> AbstractContextManager[None]:
        """Room for `rows` while the block runs, inside which they are submitted. Raises Overloaded."""
        return self._assignments.place(rows)

    async def submit(self, items: Sequence[Query], gone: Gone | None = None) -> tuple[list[Result], list[Timing]]:
        """Answers in the order of the queries. Raises Overloaded, BatchFailed or Abandoned."""
        assigned = assignment.current()
        assert assigned is not None  # inside `place`
        try:
            return await self._computed(assigned.link, items, gone)
        except NotHeld:
            return await self._computed_holding(assigned.link, items, gone)
        except Restarting:
            return await self._computed_holding(assigned.move(), items, gone)

    async def _computed(
        self, link: Link, items: Sequence[Query], gone: Gone | None
    ) -> tuple[list[Result], list[Timing]]:
        number, reply = link.post_queries(self._name, items)
        try:
            return unpack_results(await unless_gone(reply, gone))
        except (asyncio.CancelledError, Abandoned):
            link.cancel(number)
            raise

    async def _computed_holding(
        self, link: Link, items: Sequence[Query], gone: Gone | None
    ) -> tuple[list[Result], list[Timing]]:
        """Where the versions that the request names may not be in memory: they are loaded first."""
        leases = []
        try:
            for version in sorted({item.choice for item in items if isinstance(item.choice, int)}):
                leases.append(await link.ask({"op": "lease", "model": self._name, "version": version}))
            return await self._computed(link, items, gone)
        finally:
            for lease in leases:
                link.send({"op": "release", "id": lease["id"]})
