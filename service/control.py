"""A child's line to its supervisor: sockets to the other processes come in, `ready` and heartbeats go out.

A heartbeat comes from a thread that does nothing else for long, so that neither a batch nor the loading of a model
delays it: only a process that stands still is silent. It names the links that were lost, until they are replaced.
When the line ends the supervisor is gone, however it ended, and its children end too.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, NoReturn

LINK, READY, BEAT = b"link ", b"ready", b"beat "
MAX_TEXT = 60_000
BEAT_SECONDS = 0.5
"""Between two heartbeats of a child."""
logger = logging.getLogger(__name__)


class Offer(NamedTuple):
    """A fresh socket, the number of the inference process it leads to or belongs to, and its own number."""

    process: int
    serial: int
    connection: socket.socket


class Control:
    """The child's end, inherited as an open descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)

    def ready(self, text: str = "") -> None:
        """Tell that this process does its work now; `text` is for people. If nobody listens any more, `watch` knows."""
        with suppress(ConnectionError):
            self._socket.send(READY + text.encode()[:MAX_TEXT])

    def next_link(self) -> Offer | None:
        """Wait for a fresh socket; None when the supervisor is gone.

        Raises TimeoutError if the line has a timeout, and OSError if this process may open no more files.
        """
        try:
            data, descriptors, _, _ = socket.recv_fds(self._socket, 64, 1)
        except ConnectionError:
            return None
        if not data:
            return None
        if not descriptors:
            raise OSError("no more files can be opened: raise the limit (ulimit -n)")
        process, serial = data.removeprefix(LINK).split()
        return Offer(int(process), int(serial), socket.socket(fileno=descriptors[0]))

    def watch(
        self,
        on_link: Callable[[Offer], None],
        on_end: Callable[[], None],
        end_seconds: float,
        lost: Callable[[], Collection[int]] = tuple,
    ) -> None:
        """From now on send heartbeats and hand over every link, on a thread; neither callback may take long.

        `lost` tells the serial numbers of links that have to be replaced. When the supervisor is gone, or this fails:
        `on_end`, and after `end_seconds` the end of the process.
        """

        def follow() -> None:
            try:
                self._follow(on_link, lost)
            except Exception:  # the thread boundary: without its line this process could not be told anything
                logger.exception("the line to the supervisor failed, so this process ends")
            on_end()
            time.sleep(end_seconds)
            os._exit(1)

        threading.Thread(target=follow, name="supervisor", daemon=True).start()

    def _follow(self, on_link: Callable[[Offer], None], lost: Callable[[], Collection[int]]) -> None:
        """Returns when the supervisor is gone."""
        self._socket.settimeout(BEAT_SECONDS)
        while True:
            with suppress(OSError):  # the supervisor is gone, as is seen below, or stopped, which harms nobody
                self._socket.send(BEAT + " ".join(map(str, lost())).encode(), socket.MSG_DONTWAIT)
            with suppress(TimeoutError):
                offer = self.next_link()
                if offer is None:
                    return
                on_link(offer)


def leave(status: int) -> NoReturn:
    """End this process, where everything is closed, now: taking torch apart would take seconds more."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def age() -> float:
    """Seconds since this process was started, imports included."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def send_link(line: socket.socket, offer: Offer) -> None:
    """The supervisor's side: pass on to a child a socket between it and an inference process, or to that one."""
    socket.send_fds(line, [LINK, b"%d %d" % (offer.process, offer.serial)], [offer.connection.fileno()])
