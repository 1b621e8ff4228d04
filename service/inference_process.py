"""A process that holds the models on one device: no HTTP, no decoding; it computes what HTTP processes hand over."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Sequence

import torch
import uvloop

from service.beacon import replica_name
from service.channel import Channel
from service.command_line import read_settings, set_up_logging
from service.control import Control, Offer, age, leave
from service.execution import use_threads
from service.garbage import settle
from service.metrics import FOLDER_VARIABLE, Metrics
from service.parting import Shutdown
from service.parts import local_parts, open_trigger_store
from service.settings import Settings
from triggers.classifier import load_bundle
from triggers.errors import ConfigError, FairtriggerError

logger = logging.getLogger(__name__)


class InferenceProcess:
    """Every model, and a channel for every HTTP process."""

    def __init__(self, settings: Settings, device: str, control: Control) -> None:
        check(device)
        self._settings, self._device, self._control = settings, device, control
        self._store, self._metrics = open_trigger_store(settings), Metrics()
        classifiers = [load_bundle(folder, device, settings.factories) for folder in settings.models]
        replica = replica_name()
        self._models = {
            each.name: local_parts(each, self._store, settings, self._metrics, replica, self._on_swap)
            for each in classifiers
        }
        self._channels: set[Channel] = set()
        self._loop = uvloop.new_event_loop()
        self._stopping, self._shutdown = asyncio.Event(), Shutdown()
        self._looking: asyncio.Future[None] | None = None

    def run(self) -> int:
        """Load and warm the triggers, say so, and compute until the supervisor closes its line; the exit status."""
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._run())
        if FOLDER_VARIABLE in os.environ:  # the supervisor does this too, unless it was killed
            shutil.rmtree(os.environ[FOLDER_VARIABLE], ignore_errors=True)
        return 1 if self._shutdown.failed else 0

    async def _run(self) -> None:
        for model in self._models.values():
            model.batcher.start()
            await asyncio.to_thread(model.follower.start)
            await asyncio.to_thread(model.warm)
        settle()
        self._watch(age())
        self._control.ready()
        await self._stopping.wait()
        await self._let_channels_end()
        for name, model in self._models.items():
            await self._shutdown.wait(f"the queue of {name}", model.batcher.close())
            await self._shutdown.step(f"the rollout of {name}", model.follower.stop)
        await self._shutdown.step("the store", self._store.close)
        await self._shutdown.step("the metrics", self._metrics.close)

    def _watch(self, startup_seconds: float) -> None:
        def adopt(offer: Offer) -> None:
            asyncio.run_coroutine_threadsafe(self._adopt(offer.connection, startup_seconds), self._loop)

        def end() -> None:
            self._loop.call_soon_threadsafe(self._stopping.set)

        self._control.watch(adopt, end, 2 * self._last_seconds, self._lost_links)

    def _lost_links(self) -> tuple[int, ...]:
        """None: the HTTP processes tell. But at every heartbeat: a process that cannot compute any more ends."""
        if not self._stopping.is_set() and not all(model.batcher.alive for model in self._models.values()):
            logger.error("a thread that computes has ended, so this process ends")
            leave(1)
        return ()

    @property
    def _last_seconds(self) -> float:
        """How long the HTTP processes may take to end."""
        return self._settings.drain_seconds + self._settings.grace_seconds

    async def _adopt(self, link: socket.socket, startup_seconds: float) -> None:
        """An HTTP process came."""
        channel = Channel(self._models, self._settings.places_per_process, self._channels.discard, self._on_failure)
        self._channels.add(channel)
        try:
            await channel.open(link, startup_seconds)
        except Exception as error:  # others are still to come, and the supervisor makes another connection
            if not isinstance(error, ConnectionError):  # that is one that ended at once
                logger.exception("an HTTP process could not be served")
            self._channels.discard(channel)
            link.close()
        else:
            settle()  # its slots are thousands of objects

    async def _let_channels_end(self) -> None:
        """They are gone already, unless the supervisor was killed."""
        end = time.monotonic() + self._last_seconds
        while self._channels and time.monotonic() < end:
            await asyncio.sleep(0.05)

    def _on_failure(self) -> None:
        """A batch failed: look whether the device did."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(asyncio.to_thread(end_if_lost, self._device))

    def _on_swap(self, name: str) -> None:
        """On any thread: tell the HTTP processes."""
        self._loop.call_soon_threadsafe(self._tell, name)

    def _tell(self, name: str) -> None:
        for channel in self._channels:
            channel.tell_view(name)


def end_if_lost(device: str) -> None:
    """End this process if torch cannot use the device any more: no later batch would succeed, and a new process may.

    A process that fails at once has the fewest rows in work, so it would be sent ever more.
    """
    try:
        check(device)
    except ConfigError as error:
        logger.error("%s", error)
        leave(1)


def check(device: str) -> None:
    """Raises ConfigError if torch cannot use it."""
    try:
        torch.ones(1, device=device).sum().item()
    except (RuntimeError, AssertionError) as error:  # the latter from a torch without CUDA
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"The device {device} cannot be used: {reason}") from error


def main(arguments: Sequence[str]) -> int:
    """`python -m service.inference_process LINE DEVICE [options of python -m service]`; started by the supervisor."""
    for sent in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sent, signal.SIG_IGN)  # sent to a whole group: the HTTP processes still need this one
    control, device, settings = Control(int(arguments[0])), arguments[1], read_settings(arguments[2:])
    set_up_logging(settings.log_level)
    use_threads(settings, device)
    try:
        process = InferenceProcess(settings, device, control)
    except FairtriggerError as error:
        logger.error("%s", error)
        return 2
    return process.run()


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
