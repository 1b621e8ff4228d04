"""A model that other processes compute, as the parts that an HTTP process serves it with."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from service import assignment
from service.assignment import Assignment
from service.link import REPLY_SECONDS, Link, Restarting
from service.links import Links
from service.messages import View
from service.parts import Parts
from service.remote_queue import RemoteQueue
from service.rollout import Follower
from service.settings import Settings
from service.wire import Message
from triggers.errors import ModelError, StoreUnavailable
from triggers.plan import Plan
from triggers.preprocessor import Preprocessor
from triggers.store import Store


@dataclass(frozen=True)
class Resident:
    """A trigger in the memory of the inference process."""

    version: int | None
    digest: str | None


class RemoteModel(Preprocessor):
    """Decodes here what is computed there. Raises ModelError if the two processes read different bundles."""

    def __init__(self, local: Preprocessor, links: Links) -> None:
        super().__init__(local.spec, local.tokenizer)
        self._links = links
        theirs = links.hello["models"].get(self.name, {}).get("preprocessing_fingerprint")
        if theirs != self.preprocessing_fingerprint:
            raise ModelError(f"The bundle of {self.name!r} was changed while it was loaded: restart the service.")

    @property
    def fingerprint(self) -> str:
        """Of the weights that are loaded there."""
        return str(self._links.hello["models"][self.name]["fingerprint"])

    @property
    def device(self) -> torch.device:
        """Where the network runs; one of several devices."""
        return torch.device(self._links.hello["models"][self.name]["device"])


class RemoteTriggers:
    """The triggers of the inference processes, which follow the store too; see `residents.Triggers`."""

    def __init__(self, name: str, links: Links) -> None:
        self.name, self._links = name, links

    @property
    def snapshot(self) -> View:
        """What was applied at every process when it was last heard of."""
        return self._links.views[self.name]

    @property
    def champion(self) -> Resident:
        """The trigger that serves whoever does not choose one."""
        view = self.snapshot
        return Resident(view.champion, view.digest(view.champion))

    @property
    def max_versions(self) -> int:
        """How many versions fit into memory there."""
        return self.snapshot.max_versions

    @property
    def groups_overlap(self) -> bool:
        """Whether a trigger in memory there was made on groups that overlap."""
        return self.snapshot.groups_overlap

    @contextmanager
    def lease(self, version: int) -> Iterator[Resident]:
        """Have a version held in memory: for a request where it is computed, else by every process; for threads."""
        assigned = assignment.current()
        work = self._held_for(assigned, version) if assigned else self._held(self._links.up, version)
        held = self._links.call(work, REPLY_SECONDS["lease"])
        try:
            yield Resident(version, held[0][1]["digest"])
        finally:
            for link, reply in held:
                self._links.tell(link, {"op": "release", "id": reply["id"]})

    async def _held_for(self, assigned: Assignment, version: int) -> list[tuple[Link, Message]]:
        try:
            return await self._held([assigned.link], version)
        except Restarting:
            return await self._held([assigned.move()], version)

    async def _held(self, links: Sequence[Link], version: int) -> list[tuple[Link, Message]]:
        """All of them hold the version, or none does and the error is raised."""
        held, errors = await self._everywhere(links, {"op": "lease", "model": self.name, "version": version})
        if errors:
            for link, reply in held:
                link.send({"op": "release", "id": reply["id"]})
            raise errors[0]
        return held

    async def _everywhere(
        self, links: Sequence[Link], message: Message
    ) -> tuple[list[tuple[Link, Message]], list[BaseException]]:
        """Replies and errors; a process that dies meanwhile is no error as long as another replies."""
        asked = links or self._links.all
        outcomes = await asyncio.gather(*(link.ask(message) for link in asked), return_exceptions=True)
        replies = [(link, each) for link, each in zip(asked, outcomes, strict=True) if isinstance(each, dict)]
        errors = [each for each in outcomes if isinstance(each, BaseException)]
        return replies, [each for each in errors if not (replies and isinstance(each, Restarting))]

    def pin(self, version: int) -> bool:
        """Whether the inference processes had it in memory when last heard of; they hold it when a request comes.

        One that has let it go by then says so, and is asked again with a lease: see `remote_queue.RemoteQueue`.
        """
        return version in self.snapshot.digests

    def unpin(self, version: int) -> None:
        """Nothing is held here."""

    def promote(self, decision: Plan | int | None, revision: int) -> None:
        """Let every inference process ask the store now. Raises StoreUnavailable if one does not come so far."""
        if errors := self.follow():
            raise errors[0]
        if self.snapshot.revision < revision:
            behind = f"The inference process applied revision {self.snapshot.revision} of {self.name!r}, not {revision}"
            raise StoreUnavailable(f"{behind}; it will try again.")

    def follow(self) -> list[BaseException]:
        """Let every inference process ask the store now, and tell all processes; what went wrong. For threads."""
        work = self._everywhere(self._links.up, {"op": "follow", "model": self.name})
        return self._links.call(work, REPLY_SECONDS["follow"])[1]

    def warm(self) -> None:
        """Done there before it said hello."""


def remote_parts(model: RemoteModel, links: Links, store: Store, settings: Settings, replica: str) -> Parts:
    """A model that the inference processes compute."""
    triggers = RemoteTriggers(model.name, links)
    queue = RemoteQueue(model.name, links, settings.places_per_process)
    follower = Follower(  # swaps are counted where they happen
        store,
        triggers,
        poll_seconds=settings.poll_seconds,
        replica=replica,
        heartbeat_seconds=settings.heartbeat_seconds,
        trust=settings.history_trust(),
    )
    return Parts(model, triggers, queue, follower)
