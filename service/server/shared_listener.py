"""A listening socket that several processes share.

Each accepts one connection per turn of its event loop, so that no process takes them all. Connections that wait when a
process dies are accepted by the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

from triggers.errors import ConfigError

BACKLOG = 2048
PAUSE_SECONDS = 1.0
logger = logging.getLogger(__name__)


class SharedListener:
    """One process's share in a listening socket. On the event loop."""

    def __init__(self, listening: socket.socket) -> None:
        self.listening = listening
        listening.setblocking(False)

    @property
    def port(self) -> int:
        """The port number."""
        return int(self.listening.getsockname()[1])

    def open(self, admit: Callable[[socket.socket], None]) -> None:
        """Accept connections from now on."""
        loop = asyncio.get_running_loop()
        # Every process wakes for a connection, and all but one find it taken. EPOLLEXCLUSIVE would spare that, but no
        # event loop lets a reader ask for it; SO_REUSEPORT would lose the connections that wait at a process that dies.
        loop.add_reader(self.listening.fileno(), self._take_one, loop, admit)

    def _take_one(self, loop: asyncio.AbstractEventLoop, admit: Callable[[socket.socket], None]) -> None:
        try:
            connection, _ = self.listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # another process was faster, or the client has gone
        except OSError as error:  # too many open files: let some close first
            logger.error("no connection can be taken for %.0f s: %s", PAUSE_SECONDS, error)
            loop.remove_reader(self.listening.fileno())
            loop.call_later(PAUSE_SECONDS, self._open_again, admit)
            return
        connection.setblocking(False)
        admit(connection)

    def _open_again(self, admit: Callable[[socket.socket], None]) -> None:
        if self.listening.fileno() >= 0:
            self.open(admit)

    def close(self) -> list[socket.socket]:
        """Close this process's share; returns the connections not yet accepted."""
        asyncio.get_running_loop().remove_reader(self.listening.fileno())
        with self.listening:
            return list(accept_waiting(self.listening))


def url_of(listening: Any) -> str:
    """The URL of a listening socket."""
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def accept_waiting(listening: socket.socket) -> Iterator[socket.socket]:
    """Accept every connection in the kernel's backlog."""
    with contextlib.suppress(BlockingIOError):
        while True:
            connection, _ = listening.accept()
            connection.setblocking(False)
            yield connection


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises ConfigError if host and port cannot be bound."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with ExitStack() as undo:
            listening = undo.enter_context(socket.socket(family, kind, protocol))
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(BACKLOG)
            undo.pop_all()
    except OSError as error:
        raise ConfigError(f"Nobody can listen on {host}:{port} ({error}): choose another host or port.") from error
    return listening
