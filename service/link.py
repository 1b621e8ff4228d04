"""An HTTP process's connection to the inference process.

Every request gets exactly one reply, and until then its slots are its own. When the inference process dies, whoever
waits is told to come back; the supervisor starts another and a fresh connection to it.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import mmap
import os
import signal
import socket
from collections.abc import Sequence
from typing import Any

from service.batcher import Overloaded
from service.control import Control
from service.messages import View, pack_queries, unpack_error
from service.predictor import Query
from service.shared_slots import Region, Slots
from service.wire import Message, Wire, connect, receive_hello

CALL_SECONDS = 120.0
"""How long a thread waits for a reply: a trigger may have to be fetched from far away."""


class Link:
    """Asks the inference process. `hello` is what it said of its models when it was last started."""

    def __init__(self, control: Control, end_seconds: float) -> None:
        self._control, self._end_seconds = control, end_seconds
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Message]] = {}
        self._taken: dict[int, tuple[Slots, list[int]]] = {}
        self._wire: Wire | None = None
        self._starting: asyncio.Future[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._first = self._wait_for_first()
        self.hello = self._first[1]
        self.views = _views(self.hello)
        self._slots = _mapped(*self._first[1:])

    def _wait_for_first(self) -> tuple[socket.socket, Message, int]:
        while connection := self._control.next_link():
            try:
                return connection, *receive_hello(connection)
            except (EOFError, ConnectionError):
                connection.close()  # it died while it started; the supervisor knows
        raise SystemExit(0)

    @property
    def up(self) -> bool:
        """Whether the inference process is there."""
        return self._wire is not None and self._wire.open

    def start(self) -> None:
        """Begin, inside the event loop; calling it again changes nothing."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._starting = asyncio.ensure_future(self._attach(*self._first))
            self._control.watch(self._on_link, lambda: os.kill(os.getpid(), signal.SIGTERM), self._end_seconds)

    async def ask(self, message: Message) -> Message:
        """Send a message and wait for its reply. Raises Overloaded while nobody is there."""
        if self._starting:
            await self._starting
        reply = await self.post(message)[1]
        if "error" in reply:
            raise unpack_error(reply["error"])
        return reply

    def call(self, message: Message) -> Message:
        """`ask` for other threads."""
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(self.ask(message), self._loop).result(CALL_SECONDS)

    def tell(self, message: Message) -> None:
        """Send a message that has no reply, from any thread."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._send, message)

    def post(self, message: Message) -> tuple[int, asyncio.Future[Message]]:
        """Send a message on the event loop; its number and its reply. Raises Overloaded while nobody is there."""
        if not self.up:
            raise self._restarting()
        number = next(self._numbers)
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._send({"id": number} | message)
        return number, future

    def post_queries(self, model: str, queries: Sequence[Query]) -> tuple[int, asyncio.Future[Message]]:
        """Put queries into slots and send them off."""
        if not self.up:
            raise self._restarting()
        slots = self._slots[model]
        taken = slots.take(len(queries))
        if taken is None:
            raise Overloaded("Every place for an input is taken. Retry later, or raise queue_size.", 1)
        packed = pack_queries(queries, slots, taken)
        number, future = self.post({"op": "predict", "model": model, "queries": packed})
        self._taken[number] = slots, taken
        return number, future

    def cancel(self, number: int) -> None:
        """Nobody waits for this reply any more; it will come all the same."""
        self._send({"op": "cancel", "id": number})

    def _send(self, message: Message) -> None:
        if self._wire:
            self._wire.send(message)

    def _on_message(self, message: Message) -> None:
        if "view" in message:
            self.views[message["model"]] = View.from_dict(message["view"])
            return
        number = message["id"]
        if taken := self._taken.pop(number, None):
            taken[0].give_back(taken[1])
        future = self._waiting.pop(number, None)
        if future and not future.done():
            future.set_result(message)

    def _on_lost(self, wire: Wire) -> None:
        if wire is not self._wire:
            return
        self._wire = None
        self._taken.clear()  # the next process has other slots
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(self._restarting())

    def _restarting(self) -> Overloaded:
        seconds = math.ceil(self.hello["startup_seconds"])
        return Overloaded("The models are being loaded again after a failure; retry later.", max(1, seconds))

    def _on_link(self, connection: socket.socket) -> None:
        """On the control thread: wait for the new process, then go over to it."""
        assert self._loop is not None
        try:
            hello, descriptor = receive_hello(connection)
        except (EOFError, ConnectionError):
            connection.close()
            return
        asyncio.run_coroutine_threadsafe(self._go_over(connection, hello, descriptor), self._loop).result()

    async def _go_over(self, connection: socket.socket, hello: Message, descriptor: int) -> None:
        self.hello, self.views, self._slots = hello, _views(hello), _mapped(hello, descriptor)
        await self._attach(connection)

    async def _attach(self, connection: socket.socket, *_: Any) -> None:
        wire = Wire(self._on_message, lambda: self._on_lost(wire))
        await connect(wire, connection)
        self._wire = wire


def _views(hello: Message) -> dict[str, View]:
    return {name: View.from_dict(model["view"]) for name, model in hello["models"].items()}


def _mapped(hello: Message, descriptor: int) -> dict[str, Slots]:
    memory = mmap.mmap(descriptor, hello["memory"])
    os.close(descriptor)
    return {name: Slots(memory, Region(**model["region"])) for name, model in hello["models"].items()}
