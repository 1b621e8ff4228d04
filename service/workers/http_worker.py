"""The HTTP worker process behind a shared port: with models of its own, or in front of engine processes."""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Sequence

import torch

from service.app import assemble
from service.config import Settings, read_settings, set_up_logging
from service.engine import LocalBackend, load_models, set_torch_threads
from service.rollout import open_trigger_store
from service.runtime import ModelBackends, ServiceRuntime
from service.server.http_server import serve
from service.server.shared_listener import SharedListener
from service.telemetry import Metrics
from service.workers.control_socket import ControlSocket, exit_now, terminate
from service.workers.engine_pool import EnginePool
from service.workers.remote_model import RemoteBackend, RemoteModel
from triggers.errors import FairtriggerError
from triggers.model.preprocessor import load_preprocessor
from triggers.store import Store

logger = logging.getLogger(__name__)


def main(arguments: Sequence[str]) -> int:
    """`python -m service.workers.http_worker CONTROL_FD LISTENER_FD [ADMIN_FD] guards|serves [options]`.

    Started by the supervisor.
    """
    control, listener = ControlSocket(int(arguments[0])), SharedListener(socket.socket(fileno=int(arguments[1])))
    admin = SharedListener(socket.socket(fileno=int(arguments[2]))) if arguments[2].isdigit() else None
    role, *options = arguments[3 if admin else 2 :]
    settings = read_settings(options)
    set_up_logging(settings.log_level)
    try:
        build = front_end if settings.engine_devices else replica
        app = assemble(build(settings, control, guards=role == "guards"))
        return serve(app, settings, control.ready, listener, admin)
    except FairtriggerError as error:
        logger.error("%s", error)
        return 2


def replica(settings: Settings, control: ControlSocket, *, guards: bool) -> ServiceRuntime:
    """A runtime with models of its own; the process exits if an inference thread ends."""
    set_torch_threads(settings, settings.device)
    metrics = Metrics()

    def backends(store: Store) -> ModelBackends:
        loaded = load_models(settings, settings.device)
        return ModelBackends(
            [LocalBackend(each, store, settings, metrics) for each in loaded.classifiers], loaded.failed
        )

    running = ServiceRuntime(
        settings, lambda: open_trigger_store(settings), metrics, backends, owns_store=True, guards=guards
    )

    def end_if_broken() -> tuple[int, ...]:
        if running.broken:
            logger.error("a thread that computes has ended, so this process ends")
            exit_now(1)
        return ()

    end_seconds = settings.drain_seconds + settings.grace_seconds
    control.watch(lambda offer: offer.connection.close(), terminate, end_seconds, end_if_broken)
    return running


def front_end(settings: Settings, control: ControlSocket, *, guards: bool) -> ServiceRuntime:
    """A runtime whose models are in engine processes."""
    torch.set_num_threads(1)  # other processes use the other cores
    metrics = Metrics()
    pool = EnginePool(control, settings.engine_devices, settings.drain_seconds + settings.grace_seconds)

    def backends(store: Store) -> ModelBackends:
        failed = pool.failed
        folders = [folder for folder in settings.models if str(folder) not in {each.folder for each in failed}]
        found = [RemoteModel(load_preprocessor(folder), pool) for folder in folders]
        return ModelBackends([RemoteBackend(each, pool, settings.rows_per_process) for each in found], failed)

    return ServiceRuntime(
        settings,
        lambda: open_trigger_store(settings),
        metrics,
        backends,
        owns_store=True,
        guards=guards,
        devices=pool.states if settings.devices else None,
    )


if __name__ == "__main__":
    exit_now(main(sys.argv[1:]))
