"""An HTTP process's connections to all inference processes, one per device.

The service goes on while one of them is there. What is said to be applied is what the slowest of them applied. A
connection that is lost, or could not be made, is named to the supervisor, which makes another.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import signal
import threading
from collections.abc import Callable, Collection, Coroutine, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from service.control import Control, Offer
from service.link import Link, NoReply
from service.messages import View
from service.wire import Message, receive_hello

JOIN_SECONDS = 10.0
"""How long letting a process in may take."""
LOOP_SECONDS = 1.0
"""What a thread gives the event loop beyond the time of an operation."""
T = TypeVar("T")
logger = logging.getLogger(__name__)


class _Arrival(NamedTuple):
    offer: Offer
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
        self._lost: dict[int, int] = {}
        control.watch(self._on_link, lambda: os.kill(os.getpid(), signal.SIGTERM), end_seconds, self._lost_links)
        self._first = self._arrivals.get()  # however long a model takes to load; SIGTERM ends this process meanwhile
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
            self._starting = asyncio.ensure_future(self._attach_first())
            threading.Thread(target=self._let_in, name="links", daemon=True).start()

    def close(self) -> None:
        """Hang up on all, so that nobody waits for them any more; on the event loop."""
        for link in self.all:
            link.close()

    def call(self, work: Coroutine[Any, Any, T], seconds: float) -> T:
        """Let the event loop do it, for other threads. Raises NoReply, and cancels it, if that takes too long."""
        assert self._loop is not None
        waiting = asyncio.run_coroutine_threadsafe(self._once_started(work), self._loop)
        try:
            return waiting.result(seconds + LOOP_SECONDS)
        except TimeoutError:
            waiting.cancel()
            raise NoReply(seconds + LOOP_SECONDS) from None

    def tell(self, link: Link, message: Message) -> None:
        """Send a message that has no reply, from any thread."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(link.send, message)

    async def _once_started(self, work: Coroutine[Any, Any, T]) -> T:
        assert self._starting is not None
        await asyncio.shield(self._starting)
        return await work

    def _on_link(self, offer: Offer) -> None:
        threading.Thread(target=self._receive, args=(offer,), daemon=True).start()

    def _receive(self, offer: Offer) -> None:
        """On a thread of its own: wait until the process has loaded its models; others may come before."""
        try:
            self._arrivals.put(_Arrival(offer, *receive_hello(offer.connection)))
        except (EOFError, ConnectionError):  # it died while it started, or could not make its memory
            self._lose(offer)
        except Exception:  # the thread boundary
            logger.exception("an inference process said what cannot be read")
            self._lose(offer)

    def _let_in(self) -> None:
        """On a thread of its own: one after the other."""
        while True:
            arrival = self._arrivals.get()
            try:
                self.call(self._join(arrival), JOIN_SECONDS)
            except Exception:  # the thread boundary: others are still to come, and this one is connected anew
                logger.exception("the process on %s could not be let in", self._link(arrival.offer).device)
                self._lose(arrival.offer)

    async def _join(self, arrival: _Arrival) -> None:
        link = self._link(arrival.offer)
        if any(_weights(each.hello) != _weights(arrival.hello) for each in self.up if each is not link):
            explanation = "a bundle was changed; restart the service"
            logger.error("the models on %s are not those of before: %s", link.device, explanation)
            arrival.offer.connection.close()
            os.close(arrival.memory)
            return
        self._greet(arrival)
        await self._attach(arrival.offer)

    def _greet(self, arrival: _Arrival) -> None:
        try:
            self._link(arrival.offer).greet(arrival.hello, arrival.memory)
        finally:
            os.close(arrival.memory)
        self.hello = arrival.hello

    async def _attach_first(self) -> None:
        try:
            await self._attach(self._first.offer)
        except OSError as error:  # it died meanwhile
            logger.error("the first inference process could not be joined: %s", error)
            self._lose(self._first.offer)

    async def _attach(self, offer: Offer) -> None:
        await self._link(offer).attach(offer.connection, lambda: self._lose(offer))

    def _link(self, offer: Offer) -> Link:
        return self.all[offer.process]

    def _lose(self, offer: Offer) -> None:
        """On any thread: this connection is over, and another is needed."""
        offer.connection.close()
        self._lost[offer.process] = max(offer.serial, self._lost.get(offer.process, 0))

    def _lost_links(self) -> Collection[int]:
        return tuple(self._lost.values())

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
