"""A child's line to its supervisor: sockets to the other processes come in, `ready` goes out.

When the line ends the supervisor is gone, however it ended, and its children end too.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

LINK = b"link "
MAX_TEXT = 60_000


class Control:
    """The child's end, inherited as an open descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)

    def ready(self, text: str = "") -> None:
        """Tell that this process does its work now; `text` is for people. If nobody listens any more, `watch` knows."""
        with suppress(ConnectionError):
            self._socket.send(b"ready" + text.encode()[:MAX_TEXT])

    def next_link(self) -> tuple[int, socket.socket] | None:
        """Wait for a fresh socket and the number of the inference process it leads to or belongs to.

        None when the supervisor is gone.
        """
        try:
            data, descriptors, _, _ = socket.recv_fds(self._socket, 64, 1)
        except ConnectionError:
            return None
        if not data.startswith(LINK) or not descriptors:
            return None
        return int(data.removeprefix(LINK)), socket.socket(fileno=descriptors[0])

    def watch(
        self, on_link: Callable[[int, socket.socket], None], on_end: Callable[[], None], end_seconds: float
    ) -> None:
        """From now on hand over every link, on a thread. When the supervisor is gone: `on_end`, and at last the end."""

        def follow() -> None:
            while link := self.next_link():
                on_link(*link)
            on_end()
            time.sleep(end_seconds)
            os._exit(1)

        threading.Thread(target=follow, name="supervisor", daemon=True).start()


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


def send_link(line: socket.socket, number: int, link: socket.socket) -> None:
    """The supervisor's side: pass on to a child a socket between it and inference process `number`, or to that one."""
    socket.send_fds(line, [LINK, b"%d" % number], [link.fileno()])
