"""An HTTP process beside inference processes, all in one event loop: real channels, links, stores and models."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import torch

from service.channel import Channel
from service.control import Control, Offer, send_link
from service.links import Links
from service.messages import View
from service.metrics import Metrics
from service.parts import LocalParts, local_parts
from service.predictor import Query
from service.remote import RemoteModel, remote_parts
from tests.bundles import SIZE
from tests.service.live import settings
from triggers.classifier import FrozenClassifier
from triggers.file_store import FileStore

PLACES = 256
QUERY = Query(torch.zeros(3, SIZE, SIZE, dtype=torch.uint8))


class Family:
    """Inference processes with the stores and models that they are given, and an HTTP process's parts beside them.

    The `idle` one never computes anything.
    """

    def __init__(
        self,
        tmp: Path,
        stores: list[FileStore],
        models: list[FrozenClassifier],
        idle: int | None = None,
        poll_seconds: float = 0.1,
    ) -> None:
        self.settings = settings(tmp, max_versions=2, queue_size=PLACES, poll_seconds=poll_seconds)
        assert self.settings.places_per_process == PLACES
        metrics = Metrics()
        self.local: list[LocalParts] = [
            local_parts(model, store, self.settings, metrics, "there", self._on_swap)
            for model, store in zip(models, stores, strict=True)
        ]
        self.failures = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self.channels = [Channel({each.name: each}, PLACES, lambda _: None, self._on_failure) for each in self.local]
        self.cables: list[socket.socket] = []
        self.line: socket.socket
        self._store, self._model, self._idle = stores[0], models[0], idle

    def _on_swap(self, name: str) -> None:
        if loop := self._loop:
            for channel in self.channels:
                loop.call_soon_threadsafe(channel.tell_view, name)

    def _on_failure(self) -> None:
        self.failures += 1

    async def __aenter__(self) -> Family:
        self._loop = asyncio.get_running_loop()
        for number, model in enumerate(self.local):
            if number != self._idle:
                model.batcher.start()
        self.line, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
        control = Control(theirs.detach())
        for number, channel in enumerate(self.channels):
            here, there = socket.socketpair()
            with here:
                send_link(self.line, Offer(number, number + 1, here))
            self.cables.append(there.dup())
            await channel.open(there, startup_seconds=7.5)
        self.line.dup().detach()  # stays open: whose line ends ends itself
        self.links = await asyncio.to_thread(Links, control, ["cpu"] * len(self.local), 1.0)
        self.parts = remote_parts(RemoteModel(self._model, self.links), self.links, self._store, self.settings, "here")
        self.parts.batcher.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        for cable in self.cables:
            cable.close()
        for model in self.local:
            await model.batcher.close()
        for channel in self.channels:
            channel._wire.close()
        self.line.close()
        await asyncio.sleep(0.05)

    async def up(self, count: int) -> None:
        """Wait until so many links are up."""
        await holds(lambda: len(self.links.up) == count)

    def cut(self, number: int) -> None:
        """As if this process died."""
        self.cables[number].shutdown(socket.SHUT_RDWR)

    def versions(self, number: int) -> set[int | None]:
        """In the memory of a process."""
        return set(View.of(self.local[number].predictor).digests) - {None}


async def holds(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


def run(family: Family, scenario: Callable[[Family], Awaitable[Any]], up: int = 2) -> None:
    async def entered() -> None:
        async with family:
            await family.up(up)
            await scenario(family)

    asyncio.run(entered())
