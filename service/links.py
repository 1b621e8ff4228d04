"""An HTTP process's connections to all inference processes, one per device.

The service goes on while one of them is there. What is said to be applied is what the slowest of them applied.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import signal
import socket
import threading
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from service.control import Control
from service.link import Link
from service.messages import View
from service.wire import Message, receive_hello

CALL_SECONDS = 120.0
"""How long a thread waits for a reply: a trigger may have to be fetched from far away."""
T = TypeVar("T")
logger = logging.getLogger(__name__)


class _Arrival(NamedTuple):
    link: Link
    connection: socket.socket
    hello: Message
    memory: int


class Links:
    """Made before the event loop runs; waits for the first process that has its models.

    `hello` is what the last one said of its models: they have the same. `views` are the triggers that all of them use;
    `on_views` is called when they may have changed.
    """

    def __init__(self, control: Control, devices: Sequence[str], end_seconds: float) -> None:
        self.all = tuple(Link(device, self._look_again) for device in devices)
        self.views: dict[str, View] = {}
        self.on_views: Callable[[], None] = lambda: None
        self._arrivals: queue.SimpleQueue[_Arrival] = queue.SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._starting: asyncio.Future[None] | None = None
        control.watch(self._on_link, lambda: os.kill(os.getpid(), signal.SIGTERM), end_seconds)
        self._first = self._arrivals.get()
        self._greet(self._first)
        self._look_again()

    @property
    def up(self) -> tuple[Link, ...]:
        """Those whose process is there."""
        return tuple([link for link in self.all if link.up])

    @property
    def states(self) -> list[tuple[str, bool]]:
        """The device of each, and whether it is there."""
        return [(link.device, link.up) for link in self.all]

    def start(self) -> None:
        """Begin, inside the event loop; calling it again changes nothing."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._starting = asyncio.ensure_future(self._first.link.attach(self._first.connection))
            threading.Thread(target=self._let_in, name="links", daemon=True).start()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Let the event loop do it, for other threads."""
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(self._once_started(work), self._loop).result(CALL_SECONDS)

    def tell(self, link: Link, message: Message) -> None:
        """Send a message that has no reply, from any thread."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(link.send, message)

    async def _once_started(self, work: Coroutine[Any, Any, T]) -> T:
        assert self._starting is not None
        await self._starting
        return await work

    def _on_link(self, number: int, connection: socket.socket) -> None:
        threading.Thread(target=self._receive, args=(self.all[number], connection), daemon=True).start()

    def _receive(self, link: Link, connection: socket.socket) -> None:
        """On a thread of its own: wait until the process has loaded its models; others may come before."""
        try:
            self._arrivals.put(_Arrival(link, connection, *receive_hello(connection)))
        except (EOFError, ConnectionError):
            connection.close()  # it died while it started; the supervisor knows

    def _let_in(self) -> None:
        """On a thread of its own: one after the other."""
        while True:
            try:
                self.call(self._join(self._arrivals.get()))
            except OSError as error:  # the thread boundary: the supervisor sends the next one
                logger.error("an inference process could not be joined: %s", error)

    async def _join(self, arrival: _Arrival) -> None:
        device = arrival.link.device
        if any(_weights(link.hello) != _weights(arrival.hello) for link in self.up):
            logger.error("the models on %s are not those of before: a bundle was changed; restart the service", device)
            arrival.connection.close()
            os.close(arrival.memory)
            return
        self._greet(arrival)
        await arrival.link.attach(arrival.connection)

    def _greet(self, arrival: _Arrival) -> None:
        self.hello = arrival.hello
        arrival.link.greet(arrival.hello, arrival.memory)

    def _look_again(self) -> None:
        """A process came, went, or uses other triggers."""
        known = [link.views for link in self.up or self.all if link.views]
        self.views = {name: _slowest([views[name] for views in known]) for name in known[0]} if known else {}
        self.on_views()


def _slowest(views: Sequence[View]) -> View:
    """What all processes have applied."""
    oldest = min(views, key=lambda view: view.revision)
    return replace(oldest, groups_overlap=any(view.groups_overlap for view in views))


def _weights(hello: Message) -> dict[str, tuple[str, str]]:
    return {name: (model["fingerprint"], model["preprocessing_fingerprint"]) for name, model in hello["models"].items()}
