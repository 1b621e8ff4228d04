"""One request that an inference process computes."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

from service.engine.client_disconnect import Gone, unless_gone
from service.engine.pending_requests import Timing
from service.engine.predictor import Query, Result
from service.errors import Abandoned, NotHeld, Restarting
from service.workers.engine_client import Link
from service.workers.ipc.messages import unpack_results
from service.workers.least_loaded_dispatch import Assignment


class RemoteLease:
    """Sends decoded inputs, and has versions held, where its request is computed; see `parts.RequestLease`.

    `in_memory` are the versions that the inference processes had when last heard of.
    """

    def __init__(self, model: str, assignment: Assignment, in_memory: Collection[int | None]) -> None:
        self._model, self._assignment, self._in_memory = model, assignment, in_memory
        self._held: list[tuple[Link, int]] = []

    @property
    def link(self) -> Link:
        """To the process that computes the request."""
        return self._assignment.link

    def __enter__(self) -> RemoteLease:
        return self

    def __exit__(self, *_: object) -> None:
        for link, number in self._held:
            link.send({"op": "release", "id": number})
        self._assignment.give_back()

    def hold(self, version: int) -> bool:
        """Whether the version is in memory there: the request itself has it held, or loaded if it has left by then."""
        return version in self._in_memory

    async def load(self, version: int) -> None:
        """Have a version loaded and held there. Raises what loading raises, or Restarting."""
        try:
            await self._load(version)
        except Restarting:
            self._assignment.move()
            await self._load(version)

    async def submit(self, items: Sequence[Query], gone: Gone | None = None) -> tuple[list[Result], list[Timing]]:
        """Answers in the order of the queries. Raises Overloaded, BatchFailed or Abandoned."""
        try:
            return await self._computed(items, gone)
        except NotHeld:
            pass
        except Restarting:
            self._assignment.move()
        for version in sorted({item.choice for item in items if isinstance(item.choice, int)}):
            await self._load(version)
        return await self._computed(items, gone)

    async def _load(self, version: int) -> None:
        link = self.link
        reply = await link.ask({"op": "lease", "model": self._model, "version": version})
        self._held.append((link, reply["id"]))

    async def _computed(self, items: Sequence[Query], gone: Gone | None) -> tuple[list[Result], list[Timing]]:
        link = self.link
        number, reply = link.post_queries(self._model, items)
        try:
            return unpack_results(await unless_gone(reply, gone))
        except (asyncio.CancelledError, Abandoned):
            link.cancel(number)
            raise
