"""A process that speaks HTTP and decodes; the models are in others."""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Sequence

import torch

from service.app import assemble
from service.beacon import replica_name
from service.command_line import read_settings, set_up_logging
from service.control import Control, leave
from service.door import Door
from service.links import Links
from service.metrics import Metrics
from service.near import parts_of
from service.parts import Parts, open_trigger_store
from service.running import Running
from service.serving import serve
from triggers.errors import FairtriggerError
from triggers.store import Store

logger = logging.getLogger(__name__)


def main(arguments: Sequence[str]) -> int:
    """`python -m service.http_process LINE DOOR [ADMIN DOOR] guards|serves [options]`, started by the supervisor."""
    control, door = Control(int(arguments[0])), Door(socket.socket(fileno=int(arguments[1])))
    admin = Door(socket.socket(fileno=int(arguments[2]))) if arguments[2].isdigit() else None
    role, *options = arguments[3 if admin else 2 :]
    settings = read_settings(options)
    set_up_logging(settings.log_level)
    try:
        torch.set_num_threads(1)  # others use the other cores; what it computes itself is small
        metrics, devices = Metrics(), settings.devices or (settings.device,)
        links = Links(control, devices, settings.drain_seconds + settings.grace_seconds)
        processes = links if settings.devices else None

        def models(store: Store) -> list[Parts]:
            return parts_of(links, store, settings, metrics, replica_name())

        def opened() -> Store:
            return open_trigger_store(settings)

        guards = role == "guards"
        app = assemble(Running(settings, opened, metrics, models, owns_store=True, guards=guards, processes=processes))
        return serve(app, settings, control.ready, door, admin)
    except FairtriggerError as error:
        logger.error("%s", error)
        return 2


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
