"""The backend of a model that engine processes compute, in an HTTP worker, and the lease of one request there."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress

import torch

from service.engine import BatchItem, EndpointState
from service.engine.batching import BatchTiming
from service.engine.client_disconnect import WaitForDisconnect, cancel_on_disconnect
from service.engine.predictor import BatchResult
from service.errors import ClientDisconnected, EngineRestarting, NoReply, VersionNotLoaded
from service.rollout import TriggerState
from service.workers.engine_client import REPLY_SECONDS, EngineClient
from service.workers.engine_pool import EnginePool
from service.workers.ipc.message_stream import Message
from service.workers.ipc.messages import unpack_results
from service.workers.least_loaded_dispatch import Dispatcher, DispatchLease
from triggers.errors import ModelError, StoreUnavailable
from triggers.model import Preprocessor
from triggers.rollout import RolloutPlan


class RemoteLease:
    """One request at an engine process, which gets its inputs and holds its versions; see `RequestLease`.

    `in_memory` are the versions that the engine processes last reported.
    """

    def __init__(self, model: str, assignment: DispatchLease, in_memory: Collection[int | None]) -> None:
        self._model, self._assignment, self._in_memory = model, assignment, in_memory
        self._held: list[tuple[EngineClient, int]] = []

    @property
    def link(self) -> EngineClient:
        """The client of the process that computes the request."""
        return self._assignment.engine

    def __enter__(self) -> RemoteLease:
        return self

    def __exit__(self, *_: object) -> None:
        for engine, number in self._held:
            engine.notify({"op": "release", "id": number})
        self._assignment.release()

    def hold(self, version: int) -> bool:
        """Whether the version is in memory there: the request itself holds it, or loads it if it was evicted."""
        return version in self._in_memory

    async def load(self, version: int) -> None:
        """Load and hold a version there. Raises what loading raises, or EngineRestarting."""
        try:
            await self._load(version)
        except EngineRestarting:
            self._assignment.fail_over()
            await self._load(version)

    async def submit(
        self, items: Sequence[BatchItem], disconnect: WaitForDisconnect | None = None
    ) -> tuple[list[BatchResult], list[BatchTiming]]:
        """Answers in the order of the items. Raises Overloaded, BatchFailed or ClientDisconnected."""
        try:
            return await self._computed(items, disconnect)
        except VersionNotLoaded:
            pass
        except EngineRestarting:
            self._assignment.fail_over()
        for version in sorted({item.choice for item in items if isinstance(item.choice, int)}):
            await self._load(version)
        return await self._computed(items, disconnect)

    async def _load(self, version: int) -> None:
        engine = self.link
        reply = await engine.request({"op": "lease", "model": self._model, "version": version})
        self._held.append((engine, reply["id"]))

    async def _computed(
        self, items: Sequence[BatchItem], disconnect: WaitForDisconnect | None
    ) -> tuple[list[BatchResult], list[BatchTiming]]:
        engine = self.link
        number, reply = engine.predict_nowait(self._model, items)
        try:
            return unpack_results(await cancel_on_disconnect(reply, disconnect))
        except (asyncio.CancelledError, ClientDisconnected):
            engine.cancel(number)
            raise


class RemoteModel(Preprocessor):
    """The preprocessing of a model of engine processes. Raises ModelError if these read a different bundle."""

    def __init__(self, local: Preprocessor, pool: EnginePool) -> None:
        super().__init__(local.spec, local.tokenizer)
        self._pool = pool
        theirs = pool.hello["models"].get(self.name, {})
        if any(theirs.get(name) != getattr(self, name) for name in ("preprocessing_fingerprint", "description_digest")):
            raise ModelError(f"The bundle of {self.name!r} was changed while it was loaded: restart the service.")

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the weights in the engine processes."""
        return str(self._pool.hello["models"][self.name]["fingerprint"])

    @property
    def device(self) -> torch.device:
        """Where the network runs; one of several devices."""
        return torch.device(self._pool.hello["models"][self.name]["device"])


class RemoteBackend:
    """Computes a model in the engine processes, which follow the store themselves; see `ModelBackend`.

    Each of them takes at most `capacity` rows of this process.
    """

    alive = True  # the supervisor restarts an engine process; restarting this one would not help

    def __init__(self, classifier: RemoteModel, pool: EnginePool, capacity: int) -> None:
        self.classifier, self.name = classifier, classifier.name
        self._pool, self._assignments = pool, Dispatcher(pool, capacity)
        self._depths: dict[EngineClient, int] = {}

    @property
    def state(self) -> TriggerState:
        """The state that every engine process has applied, as last reported."""
        return self._pool.applied[self.name]

    @property
    def queued(self) -> int:
        """Rows queued in the engine processes, a silent one with its last reply. Waits: not on the event loop."""
        with suppress(NoReply):
            self._pool.call(self._ask_depths(), REPLY_SECONDS["depth"])
        return sum(self._depths.get(engine, 0) for engine in self._pool.up)

    async def _ask_depths(self) -> None:
        pool, message = self._pool.up, {"op": "depth", "model": self.name}
        outcomes = await asyncio.gather(*(engine.request(message) for engine in pool), return_exceptions=True)
        replies = zip(pool, outcomes, strict=True)
        self._depths |= {engine: int(each["depth"]) for engine, each in replies if isinstance(each, dict)}

    @property
    def in_flight(self) -> int:
        """Rows of this process in work."""
        return self._assignments.in_flight

    @property
    def capacity(self) -> int:
        """Most rows of this process in work."""
        return self._assignments.capacity

    @property
    def ready(self) -> bool:
        """Whether an engine process is connected, and its endpoint answers."""
        endpoint = self.endpoint
        return bool(self._pool.up) and (endpoint is None or endpoint.serves(triggers=bool(self.state.plan.versions)))

    @property
    def endpoint(self) -> EndpointState | None:
        """The state of the model's endpoint, if it has one; where processes differ, one that is not well."""
        states = [state for engine in self._pool.up if (state := engine.endpoints[self.name])]
        return next((state for state in states if state.fault), states[0] if states else None)

    def admit(self, rows: int) -> RemoteLease:
        """A lease for a request at the least loaded process. Raises Overloaded."""
        return RemoteLease(self.name, self._assignments.acquire(rows), self.state.digests)

    @contextmanager
    def hold(self, version: int) -> Iterator[None]:
        """Hold a version in memory of every engine process. Waits for them: not on the event loop."""
        held = self._pool.call(self._held(version), REPLY_SECONDS["lease"])
        try:
            yield
        finally:
            for engine, reply in held:
                self._pool.notify(engine, {"op": "release", "id": reply["id"]})

    async def _held(self, version: int) -> list[tuple[EngineClient, Message]]:
        """Hold the version in all processes, or in none, and raise the error."""
        held, errors = await self._everywhere({"op": "lease", "model": self.name, "version": version})
        if errors:
            for engine, reply in held:
                engine.notify({"op": "release", "id": reply["id"]})
            raise errors[0]
        return held

    async def _everywhere(self, message: Message) -> tuple[list[tuple[EngineClient, Message]], Sequence[BaseException]]:
        """Send to all: replies and errors. A process that dies meanwhile is no error as long as another replies."""
        engines = self._pool.up or self._pool.all
        outcomes = await asyncio.gather(*(engine.request(message) for engine in engines), return_exceptions=True)
        replies = [(engine, each) for engine, each in zip(engines, outcomes, strict=True) if isinstance(each, dict)]
        errors = [each for each in outcomes if isinstance(each, BaseException)]
        return replies, [each for each in errors if not (replies and isinstance(each, EngineRestarting))]

    def activate_plan(self, plan: RolloutPlan, revision: int) -> None:
        """Make all engine processes read the store. Raises StoreUnavailable if one lags. Not on the event loop."""
        work = self._everywhere({"op": "follow", "model": self.name})
        _, errors = self._pool.call(work, REPLY_SECONDS["follow"])
        if errors:
            raise errors[0]
        if (applied := self.state.revision) < revision:
            behind = f"The engine process applied revision {applied} of {self.name!r}, not {revision}"
            raise StoreUnavailable(f"{behind}; it will try again.")

    def start(self) -> None:
        """Connect. On the event loop."""
        self._pool.start()

    def warm(self) -> None:
        """Nothing to do: engine processes warm up before their hello."""

    async def close(self) -> None:
        """Disconnect, after the answers are sent; remaining requests get EngineRestarting."""
        self._pool.close()
