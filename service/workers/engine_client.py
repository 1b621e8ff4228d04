"""An HTTP worker's connection to one engine process.

Every request gets exactly one reply, and keeps its slots until then. When the engine process dies, waiting requests get
EngineRestarting; the supervisor starts another process and a fresh connection to it. A request whose reply exceeds the
time of its operation gets NoReply. A prediction has no time limit but its client's.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import mmap
import socket
from collections.abc import Callable, Sequence

from service.engine import BatchItem, EndpointState
from service.errors import EngineRestarting, NoReply, Overloaded
from service.rollout import TriggerState
from service.workers.ipc.message_stream import Message, MessageStream
from service.workers.ipc.messages import pack_queries, unpack_error
from service.workers.ipc.shared_memory_inputs import SharedSlots, SlotLayout

REPLY_SECONDS = {"depth": 0.5, "follow": 10.0, "lease": 120.0}
"""Seconds to wait for a reply, by operation: a lease may fetch a trigger from a remote store."""


class EngineClient:
    """The client of one engine process. On the event loop. `hello` describes its models as of its last start.

    `on_change` is called when the process connects, disconnects, or uses other triggers.
    """

    def __init__(self, device: str, on_change: Callable[[], None]) -> None:
        self.device, self._on_change = device, on_change
        self.hello: Message = {}
        self.states: dict[str, TriggerState] = {}
        self.endpoints: dict[str, EndpointState | None] = {}
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Message]] = {}
        self._taken: dict[int, tuple[SharedSlots, list[int]]] = {}
        self._slots: dict[str, SharedSlots] = {}
        self._stream: MessageStream | None = None

    @property
    def up(self) -> bool:
        """Whether the engine process is connected."""
        return self._stream is not None and self._stream.open

    def handshake(self, hello: Message, descriptor: int) -> None:
        """Store a process's hello and map its shared memory; `descriptor` stays open."""
        self._drop()
        self.hello, self.states, self._slots = hello, _states(hello), _mapped(hello, descriptor)
        self.endpoints = {name: _endpoint_state(model) for name, model in hello["models"].items()}

    async def connect(self, connection: socket.socket, on_lost: Callable[[], None]) -> None:
        """Connect to the process of the last handshake; `on_lost` is called when this connection ends."""

        def lost() -> None:
            on_lost()
            self._on_lost(stream)

        stream = MessageStream(self._on_message, lost)
        await stream.connect(connection)
        self._stream = stream
        for model in self.states:  # that process may have missed what was decided here meanwhile
            self.notify({"id": next(self._numbers), "op": "follow", "model": model})  # its reply is ignored
        self._on_change()

    async def request(self, message: Message) -> Message:
        """Send a message and wait for its reply, for the REPLY_SECONDS of its operation.

        Raises EngineRestarting while disconnected, NoReply, or the error in the reply.
        """
        number, waiting = self.request_nowait(message)
        seconds = REPLY_SECONDS[message["op"]]
        try:
            async with asyncio.timeout(seconds):
                reply = await waiting
        except TimeoutError:
            self.cancel(number)
            raise NoReply(seconds) from None
        except asyncio.CancelledError:
            self.cancel(number)
            raise
        if "error" in reply:
            raise unpack_error(reply["error"])
        return reply

    def request_nowait(self, message: Message) -> tuple[int, asyncio.Future[Message]]:
        """Send a message; its number and a future of its reply. Raises EngineRestarting while disconnected."""
        if not self.up:
            raise self.restarting()
        number = next(self._numbers)
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        self.notify({"id": number} | message)
        return number, future

    def predict_nowait(self, model: str, batch_items: Sequence[BatchItem]) -> tuple[int, asyncio.Future[Message]]:
        """Write items into slots and send them. Raises EngineRestarting, or Overloaded if no slots are free."""
        if not self.up:
            raise self.restarting()
        slots = self._slots[model]
        taken = slots.take(len(batch_items))
        if taken is None:
            raise Overloaded("Every place for an input is taken. Retry later, or raise queue_size.", 1)
        try:
            packed = pack_queries(batch_items, slots, taken)
            number, future = self.request_nowait({"op": "predict", "model": model, "queries": packed})
        except BaseException:
            slots.release(taken)  # nothing was sent, so no reply will release them
            raise
        self._taken[number] = slots, taken
        return number, future

    def cancel(self, number: int) -> None:
        """Cancel a request; its reply will come all the same, and release its slots."""
        self.notify({"op": "cancel", "id": number})

    def close(self) -> None:
        """Disconnect; waiting requests get EngineRestarting."""
        self._drop()
        self._on_change()

    def notify(self, message: Message) -> None:
        """Send a message that has no reply."""
        if self._stream:
            self._stream.send(message)

    def restarting(self) -> EngineRestarting:
        """The error of a request for this process while it is disconnected."""
        seconds = math.ceil(self.hello.get("startup_seconds", 1))
        return EngineRestarting("The models are being loaded again after a failure; retry later.", max(1, seconds))

    def _on_message(self, message: Message) -> None:
        if "state" in message:
            self.states[message["model"]] = TriggerState.from_dict(message["state"])
            self.endpoints[message["model"]] = _endpoint_state(message)
            self._on_change()
            return
        number = message["id"]
        if taken := self._taken.pop(number, None):
            taken[0].release(taken[1])
        future = self._waiting.pop(number, None)
        if future and not future.done():
            future.set_result(message)

    def _on_lost(self, stream: MessageStream) -> None:
        if stream is self._stream:
            self._drop()
            self._on_change()

    def _drop(self) -> None:
        """Drop the connection and fail the requests in work there."""
        stream, self._stream = self._stream, None
        if stream:
            stream.close()
        self._taken.clear()  # the next process has other slots
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(self.restarting())


def _states(hello: Message) -> dict[str, TriggerState]:
    return {name: TriggerState.from_dict(model["state"]) for name, model in hello["models"].items()}


def _endpoint_state(message: Message) -> EndpointState | None:
    return EndpointState(**message["endpoint"]) if message["endpoint"] else None


def _mapped(hello: Message, descriptor: int) -> dict[str, SharedSlots]:
    memory = mmap.mmap(descriptor, hello["memory"])
    return {name: SharedSlots(memory, SlotLayout(**model["region"])) for name, model in hello["models"].items()}
