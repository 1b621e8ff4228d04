"""The control socket between a child and its supervisor: connections to other processes in, ready and heartbeats out.

Heartbeats come from a thread of their own, so that neither a batch nor the loading of a model delays them: only a
suspended process is silent. They name the connections that were lost, until these are replaced. When the socket is
closed the supervisor is gone, however it ended, and its children end too.
"""

from __future__ import annotations

import logging
import os
import signal
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
"""Seconds between two heartbeats of a child."""
logger = logging.getLogger(__name__)


class Offer(NamedTuple):
    """One end of a fresh connection, the number of its engine process, and its serial number."""

    process: int
    serial: int
    connection: socket.socket


class ControlSocket:
    """The child's end, inherited as an open descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)

    def ready(self, text: str = "") -> None:
        """Report that this process is ready; `text` is for people. If the supervisor is gone, `watch` notices."""
        with suppress(ConnectionError):
            self._socket.send(READY + text.encode()[:MAX_TEXT])

    def next_link(self) -> Offer | None:
        """Wait for a fresh connection; None when the supervisor is gone.

        Raises TimeoutError if the socket has a timeout, and OSError if this process may open no more files.
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
        """Start a thread that sends heartbeats and hands over every connection; the callbacks must be brief.

        `lost` returns the serial numbers of connections to replace. When the supervisor is gone, or the thread fails,
        it calls `on_end`, and after `end_seconds` ends the process.
        """

        def follow() -> None:
            try:
                self._follow(on_link, lost)
            except Exception:  # the thread boundary: without its control socket this process is cut off
                logger.exception("the line to the supervisor failed, so this process ends")
            on_end()
            time.sleep(end_seconds)
            os._exit(1)

        threading.Thread(target=follow, name="supervisor", daemon=True).start()

    def _follow(self, on_link: Callable[[Offer], None], lost: Callable[[], Collection[int]]) -> None:
        """Returns when the supervisor is gone."""
        self._socket.settimeout(BEAT_SECONDS)
        while True:
            with suppress(OSError):  # the supervisor is gone, as is seen below, or suspended, which does no harm
                self._socket.send(BEAT + " ".join(map(str, lost())).encode(), socket.MSG_DONTWAIT)
            with suppress(TimeoutError):
                offer = self.next_link()
                if offer is None:
                    return
                on_link(offer)


def exit_now(status: int) -> NoReturn:
    """End this process at once, after everything is closed: tearing down torch would take seconds more."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def terminate() -> None:
    """Send SIGTERM to this process. On any thread."""
    os.kill(os.getpid(), signal.SIGTERM)


def process_age() -> float:
    """Seconds since this process was started, imports included."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def send_link(line: socket.socket, offer: Offer) -> None:
    """Send a child its end of a connection between an HTTP worker and an engine process. In the supervisor."""
    socket.send_fds(line, [LINK, b"%d %d" % (offer.process, offer.serial)], [offer.connection.fileno()])
