"""An HTTP process's connection to one inference process.

Every request gets exactly one reply, and until then its slots are its own. When the inference process dies, whoever
waits is told so (Restarting); the supervisor starts another and a fresh connection to it. A reply that does not come in
the time of its operation is waited for no longer (NoReply). How long a prediction may take is for its client to say.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import mmap
import socket
from collections.abc import Callable, Sequence

from service.batcher import Overloaded
from service.messages import View, pack_queries, unpack_error
from service.predictor import Query
from service.shared_slots import Region, Slots
from service.wire import Message, Wire

REPLY_SECONDS = {"depth": 0.5, "follow": 10.0, "lease": 120.0}
"""How long a reply is waited for, by operation: for a lease a trigger may have to be fetched from far away."""


class Restarting(Overloaded):
    """The inference process died, with what it had in work, or is not there yet; another may be."""


class NoReply(Overloaded):
    """The inference process is there and has not replied in time; it was told that nobody waits any more."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"The process with the models did not reply within {seconds:g} s; retry later.", 1)


class Link:
    """Asks one inference process; on the event loop. `hello` is what it said of its models when it last started.

    `on_change` is called when it comes, goes, or uses other triggers.
    """

    def __init__(self, device: str, on_change: Callable[[], None]) -> None:
        self.device, self._on_change = device, on_change
        self.hello: Message = {}
        self.views: dict[str, View] = {}
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Message]] = {}
        self._taken: dict[int, tuple[Slots, list[int]]] = {}
        self._slots: dict[str, Slots] = {}
        self._wire: Wire | None = None

    @property
    def up(self) -> bool:
        """Whether the inference process is there."""
        return self._wire is not None and self._wire.open

    def greet(self, hello: Message, descriptor: int) -> None:
        """Take what a process said of itself, and its memory; `descriptor` stays open."""
        self._drop()
        self.hello, self.views, self._slots = hello, _views(hello), _mapped(hello, descriptor)

    async def attach(self, connection: socket.socket, on_lost: Callable[[], None]) -> None:
        """Go over to the process that was greeted; `on_lost` is called when this connection ends."""

        def lost() -> None:
            on_lost()
            self._on_lost(wire)

        wire = Wire(self._on_message, lost)
        await wire.connect(connection)
        self._wire = wire
        for model in self.views:  # what was decided here meanwhile is news to that process, and through it to others
            self.send({"id": next(self._numbers), "op": "follow", "model": model})  # nobody waits for the reply
        self._on_change()

    async def ask(self, message: Message) -> Message:
        """Send a message and wait for its reply, as long as its operation may take.

        Raises Restarting while nobody is there, NoReply, or the error that the reply is.
        """
        number, waiting = self.post(message)
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

    def post(self, message: Message) -> tuple[int, asyncio.Future[Message]]:
        """Send a message; its number and its reply. Raises Restarting while nobody is there."""
        if not self.up:
            raise self.restarting()
        number = next(self._numbers)
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        self.send({"id": number} | message)
        return number, future

    def post_queries(self, model: str, queries: Sequence[Query]) -> tuple[int, asyncio.Future[Message]]:
        """Put queries into slots and send them off. Raises Restarting, or Overloaded if no slots are free."""
        if not self.up:
            raise self.restarting()
        slots = self._slots[model]
        taken = slots.take(len(queries))
        if taken is None:
            raise Overloaded("Every place for an input is taken. Retry later, or raise queue_size.", 1)
        try:
            packed = pack_queries(queries, slots, taken)
            number, future = self.post({"op": "predict", "model": model, "queries": packed})
        except BaseException:
            slots.give_back(taken)  # nothing was sent, so no reply will
            raise
        self._taken[number] = slots, taken
        return number, future

    def cancel(self, number: int) -> None:
        """Nobody waits for this reply any more; it will come all the same."""
        self.send({"op": "cancel", "id": number})

    def close(self) -> None:
        """Hang up: whoever still waits is told (Restarting)."""
        self._drop()
        self._on_change()

    def send(self, message: Message) -> None:
        """Send a message that has no reply."""
        if self._wire:
            self._wire.send(message)

    def restarting(self) -> Restarting:
        """The error of whoever needs this process while it is not there."""
        seconds = math.ceil(self.hello.get("startup_seconds", 1))
        return Restarting("The models are being loaded again after a failure; retry later.", max(1, seconds))

    def _on_message(self, message: Message) -> None:
        if "view" in message:
            self.views[message["model"]] = View.from_dict(message["view"])
            self._on_change()
            return
        number = message["id"]
        if taken := self._taken.pop(number, None):
            taken[0].give_back(taken[1])
        future = self._waiting.pop(number, None)
        if future and not future.done():
            future.set_result(message)

    def _on_lost(self, wire: Wire) -> None:
        if wire is self._wire:
            self._drop()
            self._on_change()

    def _drop(self) -> None:
        """Forget the connection and what was in work there."""
        wire, self._wire = self._wire, None
        if wire:
            wire.close()
        self._taken.clear()  # the next process has other slots
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(self.restarting())


def _views(hello: Message) -> dict[str, View]:
    return {name: View.from_dict(model["view"]) for name, model in hello["models"].items()}


def _mapped(hello: Message, descriptor: int) -> dict[str, Slots]:
    memory = mmap.mmap(descriptor, hello["memory"])
    return {name: Slots(memory, Region(**model["region"])) for name, model in hello["models"].items()}
