"""A model that another process computes, as the parts that an HTTP process serves it with."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import torch

from service.batcher import Overloaded
from service.leaving import Abandoned, Gone, unless_gone
from service.link import Link
from service.messages import View, unpack_results
from service.parts import Parts
from service.places import Places
from service.predictor import Answer, Query
from service.rollout import Follower
from service.settings import Settings
from service.tickets import Timing
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

    def __init__(self, local: Preprocessor, link: Link) -> None:
        super().__init__(local.spec, local.tokenizer)
        self._link = link
        theirs = link.hello["models"].get(self.name, {}).get("preprocessing_fingerprint")
        if theirs != self.preprocessing_fingerprint:
            raise ModelError(f"The bundle of {self.name!r} was changed while it was loaded: restart the service.")

    @property
    def fingerprint(self) -> str:
        """Of the weights that are loaded there."""
        return str(self._link.hello["models"][self.name]["fingerprint"])

    @property
    def device(self) -> torch.device:
        """Where the network runs."""
        return torch.device(self._link.hello["models"][self.name]["device"])


class RemoteTriggers:
    """The triggers of the inference process, which follows the store too; see `residents.Triggers`."""

    def __init__(self, name: str, link: Link) -> None:
        self.name, self._link = name, link

    @property
    def snapshot(self) -> View:
        """What was applied there when it was last heard of."""
        return self._link.views[self.name]

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
        """Have a version held in memory there; for threads."""
        reply = self._link.call({"op": "lease", "model": self.name, "version": version})
        try:
            yield Resident(version, reply["digest"])
        finally:
            self._link.tell({"op": "release", "id": reply["id"]})

    def pin(self, version: int) -> bool:
        """Never without asking: see `lease`."""
        return False

    def unpin(self, version: int) -> None:
        """Nothing was pinned."""

    def promote(self, decision: Plan | int | None, revision: int) -> None:
        """Let the inference process ask the store now. Raises StoreUnavailable if it does not come so far."""
        self._link.call({"op": "follow", "model": self.name})
        if self.snapshot.revision < revision:
            behind = f"The inference process applied revision {self.snapshot.revision} of {self.name!r}, not {revision}"
            raise StoreUnavailable(f"{behind}; it will try again.")

    def warm(self) -> None:
        """Done there before it said hello."""


class RemoteQueue:
    """Hands decoded inputs to the inference process; see `parts.Queue`."""

    alive = True  # the supervisor restarts the inference process; restarting this one would not help

    def __init__(self, name: str, link: Link, capacity: int) -> None:
        self._name, self._link, self._places = name, link, Places(capacity)

    @property
    def queued(self) -> int:
        """Asked of the inference process, whose queue it is; for threads."""
        try:
            return int(self._link.call({"op": "depth", "model": self._name})["depth"])
        except Overloaded:
            return 0

    @property
    def placed(self) -> int:
        """Rows of this process in work."""
        return self._places.taken

    @property
    def capacity(self) -> int:
        """Most rows of this process in work."""
        return self._places.capacity

    @property
    def ready(self) -> bool:
        """Whether the inference process is there."""
        return self._link.up

    def start(self) -> None:
        """Connect; inside the event loop."""
        self._link.start()

    async def close(self) -> None:
        """Nothing is left: every request was answered before."""

    def place(self, rows: int) -> AbstractContextManager[None]:
        """Room for `rows` while the block runs. Raises Overloaded."""
        return self._places.place(rows)

    async def submit(self, items: Sequence[Query], gone: Gone | None = None) -> tuple[list[Answer], list[Timing]]:
        """Answers in the order of the queries. Raises Overloaded, BatchFailed or Abandoned."""
        number, reply = self._link.post_queries(self._name, items)
        try:
            return unpack_results(await unless_gone(reply, gone))
        except (asyncio.CancelledError, Abandoned):
            self._link.cancel(number)
            raise


def remote_parts(local: Preprocessor, link: Link, store: Store, settings: Settings, replica: str) -> Parts:
    """A model that the inference process computes."""
    triggers = RemoteTriggers(local.name, link)
    queue = RemoteQueue(local.name, link, settings.places_per_process)
    follower = Follower(  # swaps are counted where they happen
        store,
        triggers,
        poll_seconds=settings.poll_seconds,
        replica=replica,
        heartbeat_seconds=settings.heartbeat_seconds,
    )
    return Parts(RemoteModel(local, link), triggers, queue, follower)
