"""The engine process's connection to one HTTP worker: every request gets exactly one reply."""

from __future__ import annotations

import asyncio
import logging
import mmap
import os
import socket
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from service.engine import BatchItem, FailedModel, LocalBackend
from service.engine.batching import BatchTiming
from service.engine.predictor import BatchResult, Predictor
from service.errors import BatchFailed, ClientDisconnected, VersionNotLoaded
from service.workers.ipc.message_stream import Message, MessageStream, send_hello
from service.workers.ipc.messages import pack_error, pack_results, unpack_queries
from service.workers.ipc.shared_memory_inputs import SharedSlots, SlotLayout, shared_memory
from triggers.errors import FairtriggerError

logger = logging.getLogger(__name__)


class EngineConnection:
    """One HTTP worker's slots, held versions and requests in work. On the event loop.

    Whatever fails, a request with a number gets one reply; any other message that cannot be handled ends the
    connection, which is then replaced. `follow` reads a model's rollout from the store, on a thread. `on_failure` is
    called on every failure that the device may have caused.
    """

    def __init__(
        self,
        models: Mapping[str, LocalBackend],
        follow: Callable[[str], None],
        slot_count: int,
        on_end: Callable[[EngineConnection], None],
        on_failure: Callable[[], None] = lambda: None,
        failed: Sequence[FailedModel] = (),
    ) -> None:
        self._models, self._sync, self._slot_count, self._failed = models, follow, slot_count, failed
        self._on_end, self._on_failure = on_end, on_failure
        self._slots: dict[str, SharedSlots] = {}
        self._tasks: dict[int, asyncio.Future[Any]] = {}
        self._leases: dict[int, tuple[str, int]] = {}
        self._stream = MessageStream(self._on_message, self._on_lost)
        self._work = {"lease": self._lease, "follow": self._follow, "depth": self._depth}

    async def open(self, connection: socket.socket, startup_seconds: float) -> None:
        """Send the hello over a fresh socket, then read from it. Raises ConnectionError if the other end is gone."""
        regions, end = {}, 0
        for name, model in self._models.items():
            regions[name] = SlotLayout.of(model.classifier.spec, self._slot_count, end)
            end = regions[name].end
        descriptor = shared_memory(end)
        memory = mmap.mmap(descriptor, end)
        self._slots = {name: SharedSlots(memory, layout) for name, layout in regions.items()}
        models = {name: _described(model) | {"region": asdict(regions[name])} for name, model in self._models.items()}
        try:
            failed = [asdict(each) for each in self._failed]
            hello = {"startup_seconds": startup_seconds, "memory": end, "models": models, "failed": failed}
            rest = send_hello(connection, hello, descriptor)
        finally:
            os.close(descriptor)
        await self._stream.connect(connection, rest)

    def tell_state(self, name: str) -> None:
        """Send a model's TriggerState, and its EndpointState, to the HTTP worker."""
        model = self._models[name]
        self._stream.send({"model": name, "state": model.state.to_dict(), "endpoint": _endpoint(model)})

    def _on_message(self, message: Message) -> None:
        number = message["id"]
        try:
            self._begin(number, message)
        except Exception as error:  # the process boundary: the waiting request gets the error
            self._refuse(number, error)

    def _begin(self, number: int, message: Message) -> None:
        if message["op"] == "predict":
            self._predict(number, message)
        elif message["op"] == "cancel":
            task = self._tasks.get(number)
            if not (task and task.cancel()):
                self._release(number)  # its lease was granted just now, and is not needed
        elif message["op"] == "release":
            self._release(number)
        else:
            work = self._work[message["op"]]
            task = self._tasks[number] = asyncio.ensure_future(self._reply(number, work(message)))
            task.add_done_callback(lambda _: self._tasks.pop(number, None))

    async def _reply(self, number: int, work: Coroutine[Any, Any, Message]) -> None:
        try:
            self._stream.send(await work | {"id": number})
        except (Exception, asyncio.CancelledError) as error:  # the process boundary: the waiting request gets the error
            self._refuse(number, error)

    def _refuse(self, number: int, error: BaseException) -> None:
        """Reply with an error. An unexpected one is logged, and the device may have caused it."""
        if isinstance(error, asyncio.CancelledError):
            error = ClientDisconnected("The client went away.")
        elif not isinstance(error, FairtriggerError):
            logger.error("a request of an HTTP process failed", exc_info=error)
            error = BatchFailed("The process with the models failed on this request; its log has the details.")
        if isinstance(error, BatchFailed):
            self._on_failure()
        self._stream.send({"id": number, "error": pack_error(error)})

    def _predict(self, number: int, message: Message) -> None:
        """Queue the items of a request; without a task, since most messages are predictions."""
        model = self._models[message["model"]]
        held: list[int] = []
        try:
            batch_items = unpack_queries(message["queries"], self._slots[message["model"]])
            hold_versions(model.predictor, batch_items, held)
            results, timings = model.batcher.submit_nowait(batch_items)
        except BaseException:
            release_versions(model.predictor, held)
            raise
        self._tasks[number] = results
        results.add_done_callback(lambda done: self._computed(number, done, timings, model.predictor, held))

    def _computed(
        self,
        number: int,
        results: asyncio.Future[list[BatchResult]],
        timings: Sequence[BatchTiming],
        predictor: Predictor,
        held: Sequence[int],
    ) -> None:
        del self._tasks[number]
        try:
            release_versions(predictor, held)
            self._stream.send(pack_results(results.result(), timings) | {"id": number})
        except (Exception, asyncio.CancelledError) as error:  # the process boundary: the waiting request gets the error
            self._refuse(number, error)

    async def _lease(self, message: Message) -> Message:
        """Load a version on a thread, and hold it until its release."""
        name, version = message["model"], message["version"]
        await self._models[name].load(version)
        self._leases[message["id"]] = name, version
        if not self._stream.open:
            self._release(message["id"])
        self.tell_state(name)
        return {}

    async def _follow(self, message: Message) -> Message:
        await asyncio.to_thread(self._sync, message["model"])
        self.tell_state(message["model"])
        return {}

    async def _depth(self, message: Message) -> Message:
        return {"depth": self._models[message["model"]].queued}

    def _release(self, number: int) -> None:
        if lease := self._leases.pop(number, None):
            name, version = lease
            self._models[name].predictor.release(version)

    def _on_lost(self) -> None:
        """The HTTP worker or the connection to it is gone: cancel its requests and release its versions."""
        self._on_end(self)
        for task in self._tasks.values():
            task.cancel()
        for number in list(self._leases):
            self._release(number)
        self._slots.clear()  # freed now: reference cycles may never be collected here (process_lifecycle.py)


def hold_versions(predictor: Predictor, batch_items: Sequence[BatchItem], held: list[int]) -> None:
    """Hold the versions that items name, adding each to `held`. Raises VersionNotLoaded if one is not in memory."""
    for version in {batch_item.choice for batch_item in batch_items if isinstance(batch_item.choice, int)}:
        if not predictor.try_hold(version):
            raise VersionNotLoaded(f"v{version} is not in memory any more.")
        held.append(version)


def release_versions(predictor: Predictor, held: Sequence[int]) -> None:
    """Release the versions that `hold_versions` held."""
    for version in held:
        predictor.release(version)


def _described(model: LocalBackend) -> Message:
    classifier = model.classifier
    return {
        "fingerprint": classifier.fingerprint,
        "preprocessing_fingerprint": classifier.preprocessing_fingerprint,
        "description_digest": classifier.description_digest,
        "device": str(classifier.device),
        "state": model.state.to_dict(),
        "endpoint": _endpoint(model),
    }


def _endpoint(model: LocalBackend) -> Message | None:
    return model.endpoint.to_dict() if model.endpoint else None
