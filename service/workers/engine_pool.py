"""An HTTP worker's connections to all engine processes, one per device.

The service goes on while one of them is connected. The applied revision is that of the slowest one. A connection that
is lost, or could not be made, is reported to the supervisor, which makes another.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import threading
from collections.abc import Collection, Coroutine, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from service.engine import FailedModel
from service.errors import NoReply
from service.rollout import TriggerState
from service.workers.control_socket import ControlSocket, Offer, terminate
from service.workers.engine_client import EngineClient
from service.workers.ipc.message_stream import Message, receive_hello

JOIN_SECONDS = 10.0
"""Seconds that connecting an engine process may take."""
LOOP_SECONDS = 1.0
"""Seconds that a thread waits for the event loop beyond the time of an operation."""
_T = TypeVar("_T")
logger = logging.getLogger(__name__)


class _Arrival(NamedTuple):
    offer: Offer
    hello: Message
    memory: int


class EnginePool:
    """Created before the event loop runs; waits for the first engine process that has loaded its models.

    `hello` is the last one's description of its models, which all share. `applied` is the state that all have reached.
    """

    def __init__(self, control: ControlSocket, devices: Sequence[str], end_seconds: float) -> None:
        self.all = tuple(EngineClient(device, self._look_again) for device in devices)
        self.applied: dict[str, TriggerState] = {}
        self._arrivals: queue.SimpleQueue[_Arrival] = queue.SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._starting: asyncio.Future[None] | None = None
        self._lost: dict[int, int] = {}
        control.watch(self._on_link, terminate, end_seconds, self._lost_links)
        self._first = self._arrivals.get()  # however long a model takes to load; SIGTERM ends this process meanwhile
        self._greet(self._first)
        self._look_again()

    @property
    def up(self) -> tuple[EngineClient, ...]:
        """The clients whose process is connected."""
        return tuple([engine for engine in self.all if engine.up])

    def states(self) -> list[tuple[str, bool]]:
        """The device of each client, and whether its process is connected."""
        return [(engine.device, engine.up) for engine in self.all]

    @property
    def failed(self) -> list[FailedModel]:
        """The models that failed their self-check there."""
        return [FailedModel(**each) for each in self.hello["failed"]]

    def start(self) -> None:
        """Start accepting engine processes; idempotent. On the event loop."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._starting = asyncio.ensure_future(self._attach_first())
            threading.Thread(target=self._accept_engines, name="links", daemon=True).start()

    def close(self) -> None:
        """Disconnect from all; waiting requests get EngineRestarting. On the event loop."""
        for engine in self.all:
            engine.close()

    def call(self, work: Coroutine[Any, Any, _T], seconds: float) -> _T:
        """Run `work` on the event loop, and wait. On other threads. If it takes too long, cancels it: NoReply."""
        assert self._loop is not None
        waiting = asyncio.run_coroutine_threadsafe(self._once_started(work), self._loop)
        try:
            return waiting.result(seconds + LOOP_SECONDS)
        except TimeoutError:
            waiting.cancel()
            raise NoReply(seconds + LOOP_SECONDS) from None

    def notify(self, engine: EngineClient, message: Message) -> None:
        """Send a message that has no reply. On any thread."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(engine.notify, message)

    async def _once_started(self, work: Coroutine[Any, Any, _T]) -> _T:
        assert self._starting is not None
        await asyncio.shield(self._starting)
        return await work

    def _on_link(self, offer: Offer) -> None:
        threading.Thread(target=self._receive, args=(offer,), daemon=True).start()

    def _receive(self, offer: Offer) -> None:
        """Wait, on a thread per connection, until the process has loaded its models; others may be ready before."""
        try:
            self._arrivals.put(_Arrival(offer, *receive_hello(offer.connection)))
        except (EOFError, ConnectionError):  # it died while it started, or could not make its memory
            self._lose(offer)
        except Exception:  # the thread boundary
            logger.exception("an engine process said what cannot be read")
            self._lose(offer)

    def _accept_engines(self) -> None:
        """Connect ready engine processes, one after the other. On a thread of its own."""
        while True:
            arrival = self._arrivals.get()
            try:
                self.call(self._join(arrival), JOIN_SECONDS)
            except Exception:  # the thread boundary: others may come, and this one gets a new connection
                logger.exception("the process on %s could not be let in", self._link(arrival.offer).device)
                self._lose(arrival.offer)

    async def _join(self, arrival: _Arrival) -> None:
        engine = self._link(arrival.offer)
        if any(_weights(each.hello) != _weights(arrival.hello) for each in self.up if each is not engine):
            explanation = "a bundle was changed; restart the service"
            logger.error("the models on %s are not those of before: %s", engine.device, explanation)
            arrival.offer.connection.close()
            os.close(arrival.memory)
            return
        self._greet(arrival)
        await self._attach(arrival.offer)

    def _greet(self, arrival: _Arrival) -> None:
        try:
            self._link(arrival.offer).handshake(arrival.hello, arrival.memory)
        finally:
            os.close(arrival.memory)
        self.hello = arrival.hello

    async def _attach_first(self) -> None:
        try:
            await self._attach(self._first.offer)
        except OSError as error:  # it died meanwhile
            logger.error("the first engine process could not be joined: %s", error)
            self._lose(self._first.offer)

    async def _attach(self, offer: Offer) -> None:
        await self._link(offer).connect(offer.connection, lambda: self._lose(offer))

    def _link(self, offer: Offer) -> EngineClient:
        return self.all[offer.process]

    def _lose(self, offer: Offer) -> None:
        """Close a lost connection and report it to the supervisor. On any thread."""
        offer.connection.close()
        self._lost[offer.process] = max(offer.serial, self._lost.get(offer.process, 0))

    def _lost_links(self) -> Collection[int]:
        return tuple(self._lost.values())

    def _look_again(self) -> None:
        """Update `applied`: a process connected, disconnected, or uses other triggers."""
        known = [engine.states for engine in self.up or self.all if engine.states]
        self.applied = {name: _slowest([states[name] for states in known]) for name in known[0]} if known else {}


def _slowest(states: Sequence[TriggerState]) -> TriggerState:
    """The oldest state, which all processes have applied."""
    oldest = min(states, key=lambda state: state.revision)
    return replace(oldest, groups_overlap=any(state.groups_overlap for state in states))


def _weights(hello: Message) -> dict[str, tuple[str, str]]:
    return {name: (model["fingerprint"], model["preprocessing_fingerprint"]) for name, model in hello["models"].items()}
