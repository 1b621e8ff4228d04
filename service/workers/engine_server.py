"""The engine process: holds the models on one device and computes the requests of HTTP workers; no HTTP."""

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
from functools import partial

import torch
import uvloop

from service.config import Settings, read_settings, set_up_logging
from service.engine import LocalBackend, load_models, set_torch_threads
from service.process_lifecycle import Shutdown, freeze_gc, ignore_image_warnings
from service.rollout import follower_of, open_trigger_store, replica_name
from service.telemetry import MULTIPROC_DIR_VARIABLE, Metrics
from service.workers.control_socket import ControlSocket, Offer, exit_now, process_age
from service.workers.engine_connection import EngineConnection
from triggers.errors import ConfigError, FairtriggerError

logger = logging.getLogger(__name__)


class EngineServer:
    """Every model on one device, and an EngineConnection for every HTTP worker."""

    def __init__(self, settings: Settings, device: str, control: ControlSocket) -> None:
        check_device(device)
        self._settings, self._device, self._control = settings, device, control
        self._store, self._metrics = open_trigger_store(settings), Metrics()
        loaded = load_models(settings, device)
        self._failed = loaded.failed
        replica = replica_name()
        self._models = {
            each.name: LocalBackend(each, self._store, settings, self._metrics) for each in loaded.classifiers
        }
        self._followers = {
            name: follower_of(model, self._store, settings, replica, partial(self._on_swap, name))
            for name, model in self._models.items()
        }
        self._channels: set[EngineConnection] = set()
        self._loop = uvloop.new_event_loop()
        for name, model in self._models.items():
            if model.watch:
                model.watch.health.on_change = partial(self._on_swap, name)
        self._stopping, self._shutdown = asyncio.Event(), Shutdown()
        self._looking: asyncio.Future[None] | None = None

    def run(self) -> int:
        """Load, warm up, report ready, compute until the supervisor closes the control socket; the exit status."""
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._run())
        if MULTIPROC_DIR_VARIABLE in os.environ:  # the supervisor does this too, unless it was killed
            shutil.rmtree(os.environ[MULTIPROC_DIR_VARIABLE], ignore_errors=True)
        return 1 if self._shutdown.failed else 0

    async def _run(self) -> None:
        for name, model in self._models.items():
            model.start()
            await asyncio.to_thread(self._followers[name].start)
            await asyncio.to_thread(model.warm)
        freeze_gc()
        ignore_image_warnings()
        self._watch(process_age())
        self._control.ready()
        await self._stopping.wait()
        await self._let_channels_end()
        for name, model in self._models.items():
            await self._shutdown.wait(f"the queue of {name}", model.close())
            await self._shutdown.step(f"the rollout of {name}", self._followers[name].stop)
        await self._shutdown.step("the store", self._store.close)
        await self._shutdown.step("the metrics", self._metrics.close)

    def _watch(self, startup_seconds: float) -> None:
        def adopt(offer: Offer) -> None:
            asyncio.run_coroutine_threadsafe(self._adopt(offer.connection, startup_seconds), self._loop)

        def end() -> None:
            self._loop.call_soon_threadsafe(self._stopping.set)

        self._control.watch(adopt, end, 2 * self._last_seconds, self._lost_links)

    def _lost_links(self) -> tuple[int, ...]:
        """Empty, as HTTP workers report lost connections. At every heartbeat: exit if an inference thread has ended."""
        if not self._stopping.is_set() and not all(model.alive for model in self._models.values()):
            logger.error("a thread that computes has ended, so this process ends")
            exit_now(1)
        return ()

    @property
    def _last_seconds(self) -> float:
        """Seconds that the HTTP workers may take to end."""
        return self._settings.drain_seconds + self._settings.grace_seconds

    async def _adopt(self, link: socket.socket, startup_seconds: float) -> None:
        """Serve an HTTP worker over a fresh connection."""
        slot_count, follow = self._settings.rows_per_process, lambda name: self._followers[name].reconcile_once()
        connection = EngineConnection(
            self._models, follow, slot_count, self._channels.discard, self._on_failure, failed=self._failed
        )
        self._channels.add(connection)
        try:
            await connection.open(link, startup_seconds)
        except Exception as error:  # others may come, and the supervisor makes another connection
            if not isinstance(error, ConnectionError):  # else the worker ended at once
                logger.exception("an HTTP process could not be served")
            self._channels.discard(connection)
            link.close()
        else:
            freeze_gc()  # its slots are thousands of objects

    async def _let_channels_end(self) -> None:
        """Wait for the HTTP workers to disconnect; they already have, unless the supervisor was killed."""
        end = time.monotonic() + self._last_seconds
        while self._channels and time.monotonic() < end:
            await asyncio.sleep(0.05)

    def _on_failure(self) -> None:
        """A batch failed: check on a thread whether the device did."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(asyncio.to_thread(exit_if_device_lost, self._device))

    def _on_swap(self, name: str, result: object) -> None:
        """A rollout was applied or refused, or an endpoint changed: tell the HTTP workers. On any thread."""
        self._loop.call_soon_threadsafe(self._tell, name)

    def _tell(self, name: str) -> None:
        for connection in self._channels:
            connection.tell_state(name)


def exit_if_device_lost(device: str) -> None:
    """End this process if torch cannot use the device any more: no later batch would succeed, and a new process may.

    A process that fails at once has the fewest rows in work, so it would be sent ever more.
    """
    try:
        check_device(device)
    except ConfigError as error:
        logger.error("%s", error)
        exit_now(1)


def check_device(device: str) -> None:
    """Raise ConfigError if torch cannot use the device."""
    try:
        torch.ones(1, device=device).sum().item()
    except (RuntimeError, AssertionError) as error:  # the latter from a torch without CUDA
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"The device {device} cannot be used: {reason}") from error


def main(arguments: Sequence[str]) -> int:
    """`python -m service.workers.engine_server CONTROL_FD DEVICE [options]`, started by the supervisor."""
    for sent in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sent, signal.SIG_IGN)  # sent to a whole group: the HTTP workers still need this process
    control, device, settings = ControlSocket(int(arguments[0])), arguments[1], read_settings(arguments[2:])
    set_up_logging(settings.log_level)
    set_torch_threads(settings, device)
    try:
        process = EngineServer(settings, device, control)
    except FairtriggerError as error:
        logger.error("%s", error)
        return 2
    return process.run()


if __name__ == "__main__":
    exit_now(main(sys.argv[1:]))
