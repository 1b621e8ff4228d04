"""The inference process's side of one HTTP process: requests come in, every one gets one reply."""

from __future__ import annotations

import asyncio
import logging
import mmap
import os
import socket
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

from service.batcher import Abandoned, BatchFailed
from service.messages import NotHeld, View, pack_error, pack_results, unpack_queries
from service.parts import LocalParts
from service.predictor import Predictor, Query, Result
from service.shared_slots import Region, Slots, shared_memory
from service.tickets import Timing
from service.wire import Message, Wire, send_hello
from triggers.errors import FairtriggerError

logger = logging.getLogger(__name__)


class Channel:
    """One HTTP process: its slots, the versions it holds, its requests in work.

    Whatever goes wrong, a request with a number gets one reply; any other message that cannot be handled ends the
    connection, which is then made anew. `on_failure` hears of every failure that the device may be the cause of.
    """

    def __init__(
        self,
        models: Mapping[str, LocalParts],
        places: int,
        on_end: Callable[[Channel], None],
        on_failure: Callable[[], None] = lambda: None,
    ) -> None:
        self._models, self._places, self._on_end, self._on_failure = models, places, on_end, on_failure
        self._slots: dict[str, Slots] = {}
        self._tasks: dict[int, asyncio.Future[Any]] = {}
        self._leases: dict[int, tuple[str, int, ExitStack]] = {}
        self._wire = Wire(self._on_message, self._on_lost)
        self._work = {"lease": self._lease, "follow": self._follow, "depth": self._depth}

    async def open(self, connection: socket.socket, startup_seconds: float) -> None:
        """Say hello over a fresh socket, then listen to it. Raises ConnectionError if the other end is gone already."""
        regions, end = {}, 0
        for name, model in self._models.items():
            regions[name] = Region.of(model.classifier.spec, self._places, end)
            end = regions[name].end
        descriptor = shared_memory(end)
        memory = mmap.mmap(descriptor, end)
        self._slots = {name: Slots(memory, region) for name, region in regions.items()}
        models = {name: _described(model) | {"region": asdict(regions[name])} for name, model in self._models.items()}
        try:
            hello = {"startup_seconds": startup_seconds, "memory": end, "models": models}
            rest = send_hello(connection, hello, descriptor)
        finally:
            os.close(descriptor)
        await self._wire.connect(connection, rest)

    def tell_view(self, name: str) -> None:
        """The triggers of a model changed."""
        self._wire.send({"model": name, "view": View.of(self._models[name].predictor).to_dict()})

    def _on_message(self, message: Message) -> None:
        number = message["id"]
        try:
            self._begin(number, message)
        except Exception as error:  # the process boundary: whoever waits gets it
            self._refuse(number, error)

    def _begin(self, number: int, message: Message) -> None:
        if message["op"] == "predict":
            self._predict(number, message)
        elif message["op"] == "cancel":
            task = self._tasks.get(number)
            if not (task and task.cancel()):
                self._release(number)  # what it asked for was granted just now, and nobody takes it
        elif message["op"] == "release":
            self._release(number)
        else:
            work = self._work[message["op"]]
            task = self._tasks[number] = asyncio.ensure_future(self._reply(number, work(message)))
            task.add_done_callback(lambda _: self._tasks.pop(number, None))

    async def _reply(self, number: int, work: Coroutine[Any, Any, Message]) -> None:
        try:
            self._wire.send(await work | {"id": number})
        except (Exception, asyncio.CancelledError) as error:  # the process boundary: whoever waits gets it
            self._refuse(number, error)

    def _refuse(self, number: int, error: BaseException) -> None:
        """Reply with an error. One that nobody raised on purpose goes to the log, and may be the device's."""
        if isinstance(error, asyncio.CancelledError):
            error = Abandoned("The client went away.")
        elif not isinstance(error, FairtriggerError):
            logger.error("a request of an HTTP process failed", exc_info=error)
            error = BatchFailed("The process with the models failed on this request; its log has the details.")
        if isinstance(error, BatchFailed):
            self._on_failure()
        self._wire.send({"id": number, "error": pack_error(error)})

    def _predict(self, number: int, message: Message) -> None:
        """Queue the items of a request; no task waits for them, since this is what most messages are."""
        model = self._models[message["model"]]
        held: list[int] = []
        try:
            queries = unpack_queries(message["queries"], self._slots[message["model"]])
            hold(model.predictor, queries, held)
            results, timings = model.batcher.enqueue(queries)
        except BaseException:
            release(model.predictor, held)
            raise
        self._tasks[number] = results
        results.add_done_callback(lambda done: self._computed(number, done, timings, model.predictor, held))

    def _computed(
        self,
        number: int,
        results: asyncio.Future[list[Result]],
        timings: Sequence[Timing],
        predictor: Predictor,
        held: Sequence[int],
    ) -> None:
        del self._tasks[number]
        try:
            release(predictor, held)
            self._wire.send(pack_results(results.result(), timings) | {"id": number})
        except (Exception, asyncio.CancelledError) as error:  # the process boundary: whoever waits gets it
            self._refuse(number, error)

    async def _lease(self, message: Message) -> Message:
        """Load a version on a thread of its own, and hold it until its release."""
        name, version, held = message["model"], message["version"], ExitStack()
        loading = asyncio.ensure_future(
            asyncio.to_thread(held.enter_context, self._models[name].predictor.lease(version))
        )
        try:
            resident = await asyncio.shield(loading)
        except asyncio.CancelledError:  # a thread cannot be: what it takes is given back when it has it
            loading.add_done_callback(lambda done: None if done.exception() else held.close())
            raise
        self._leases[message["id"]] = name, version, held
        if not self._wire.open:
            self._release(message["id"])
        self.tell_view(name)
        return {"digest": resident.digest}

    async def _follow(self, message: Message) -> Message:
        await asyncio.to_thread(self._models[message["model"]].follower.sync)
        self.tell_view(message["model"])
        return {}

    async def _depth(self, message: Message) -> Message:
        return {"depth": self._models[message["model"]].batcher.queued}

    def _release(self, number: int) -> None:
        if lease := self._leases.pop(number, None):
            lease[2].close()

    def _on_lost(self) -> None:
        """The HTTP process is gone, or the connection to it: nobody waits for anything."""
        self._on_end(self)
        for task in self._tasks.values():
            task.cancel()
        for number in list(self._leases):
            self._release(number)
        self._slots.clear()  # freed now: garbage that holds itself is never looked for here (garbage.py)


def hold(predictor: Predictor, queries: Sequence[Query], held: list[int]) -> None:
    """Pin the versions that these name, and enter each in `held`. Raises NotHeld if one is not in memory."""
    for version in {query.choice for query in queries if isinstance(query.choice, int)}:
        if not predictor.pin(version):
            raise NotHeld(f"v{version} is not in memory any more.")
        held.append(version)


def release(predictor: Predictor, held: Sequence[int]) -> None:
    """Unpin what `hold` pinned."""
    for version in held:
        predictor.unpin(version)


def _described(model: LocalParts) -> Message:
    classifier = model.classifier
    return {
        "fingerprint": classifier.fingerprint,
        "preprocessing_fingerprint": classifier.preprocessing_fingerprint,
        "device": str(classifier.device),
        "at_once": model.batcher.at_once,
        "view": View.of(model.predictor).to_dict(),
    }
