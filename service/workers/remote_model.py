"""A model that other processes compute, as an HTTP process serves it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import torch

from service.errors import NoReply, Restarting
from service.rollout.trigger_host import TriggerState
from service.workers.engine_client import REPLY_SECONDS, Link
from service.workers.engine_pool import Links
from service.workers.ipc.message_stream import Message
from service.workers.least_loaded_dispatch import Assignments
from service.workers.remote_batches import RemoteLease
from triggers.errors import ModelError, StoreUnavailable
from triggers.model.preprocessor import Preprocessor
from triggers.rollout.rollout_plan import Plan


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


class RemoteBackend:
    """The inference processes, which follow the store too; see `parts.ModelBackend`.

    `places` are the rows of this process that each of them may have in work.
    """

    alive = True  # the supervisor restarts an inference process; restarting this one would not help

    def __init__(self, classifier: RemoteModel, links: Links, places: int) -> None:
        self.classifier, self.name = classifier, classifier.name
        self._links, self._assignments = links, Assignments(links, places)
        self._depths: dict[Link, int] = {}

    @property
    def state(self) -> TriggerState:
        """What was applied at every process when it was last heard of."""
        return self._links.applied[self.name]

    @property
    def queued(self) -> int:
        """Asked of the inference processes, whose queues they are; one that is silent counts with what it last said.

        For threads.
        """
        with suppress(NoReply):
            self._links.call(self._ask_depths(), REPLY_SECONDS["depth"])
        return sum(self._depths.get(link, 0) for link in self._links.up)

    async def _ask_depths(self) -> None:
        links, message = self._links.up, {"op": "depth", "model": self.name}
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

    def admit(self, rows: int) -> RemoteLease:
        """Room for a request, where the fewest rows are in work. Raises Overloaded."""
        return RemoteLease(self.name, self._assignments.place(rows), self.state.digests)

    @contextmanager
    def lease(self, version: int) -> Iterator[None]:
        """Have a version held in memory by every process; for threads."""
        held = self._links.call(self._held(version), REPLY_SECONDS["lease"])
        try:
            yield
        finally:
            for link, reply in held:
                self._links.tell(link, {"op": "release", "id": reply["id"]})

    async def _held(self, version: int) -> list[tuple[Link, Message]]:
        """All processes hold the version, or none does and the error is raised."""
        held, errors = await self._everywhere({"op": "lease", "model": self.name, "version": version})
        if errors:
            for link, reply in held:
                link.send({"op": "release", "id": reply["id"]})
            raise errors[0]
        return held

    async def _everywhere(self, message: Message) -> tuple[list[tuple[Link, Message]], Sequence[BaseException]]:
        """Replies and errors; a process that dies meanwhile is no error as long as another replies."""
        asked = self._links.up or self._links.all
        outcomes = await asyncio.gather(*(link.ask(message) for link in asked), return_exceptions=True)
        replies = [(link, each) for link, each in zip(asked, outcomes, strict=True) if isinstance(each, dict)]
        errors = [each for each in outcomes if isinstance(each, BaseException)]
        return replies, [each for each in errors if not (replies and isinstance(each, Restarting))]

    def promote(self, plan: Plan, revision: int) -> None:
        """Let every inference process ask the store now. Raises StoreUnavailable if one does not come so far."""
        work = self._everywhere({"op": "follow", "model": self.name})
        _, errors = self._links.call(work, REPLY_SECONDS["follow"])
        if errors:
            raise errors[0]
        if (applied := self.state.revision) < revision:
            behind = f"The inference process applied revision {applied} of {self.name!r}, not {revision}"
            raise StoreUnavailable(f"{behind}; it will try again.")

    def start(self) -> None:
        """Connect; inside the event loop."""
        self._links.start()

    def warm(self) -> None:
        """Done there before it said hello."""

    async def close(self) -> None:
        """Hang up: what was to be answered was answered before, and what still waits is no longer waited for."""
        self._links.close()
