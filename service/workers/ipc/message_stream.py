"""A message stream between processes: JSON documents, each after its length (4 bytes), over a Unix stream socket.

Messages of consecutive turns of the event loop leave in one write.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
from collections.abc import Callable
from typing import Any, cast

import orjson

logger = logging.getLogger(__name__)
Message = dict[str, Any]
_LENGTH = struct.Struct("=I")
MAX_COALESCED = 8
"""Number of queued messages that are sent without waiting for more."""


class MessageStream(asyncio.Protocol):
    """One end. `on_message` and `on_lost` are called on the event loop; a message that raises ends the connection."""

    def __init__(self, on_message: Callable[[Message], None], on_lost: Callable[[], None]) -> None:
        self._on_message, self._on_lost = on_message, on_lost
        self._transport: asyncio.WriteTransport | None = None
        self._outgoing: list[bytes] = []
        self._incoming = bytearray()

    @property
    def open(self) -> bool:
        """Whether the other end is connected."""
        return self._transport is not None and not self._transport.is_closing()

    async def connect(self, connection: socket.socket, rest: bytes = b"") -> None:
        """Run over a connected socket; sends first the `rest` that `send_hello` left."""
        connection.setblocking(False)
        self._outgoing.append(rest)
        await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=connection)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the messages queued before."""
        self._transport = cast(asyncio.WriteTransport, transport)
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """The other end is gone."""
        self._on_lost()

    def send(self, message: Message) -> None:
        """Send a message together with others sent now; dropped while disconnected. On the event loop."""
        if not self.open:
            return
        if not self._outgoing:
            asyncio.get_running_loop().call_soon(self._coalesce, 0)
        self._outgoing.append(encode_frame(message))

    def _coalesce(self, before: int) -> None:
        """Wait as long as every turn of the event loop brings more to send."""
        waiting = len(self._outgoing)
        if before < waiting < MAX_COALESCED:
            asyncio.get_running_loop().call_soon(self._coalesce, waiting)
        else:
            self._flush()

    def close(self) -> None:
        """Send the queued messages and disconnect."""
        self._flush()
        if self._transport:
            self._transport.close()

    def _flush(self) -> None:
        if self._outgoing and self._transport and not self._transport.is_closing():
            self._transport.write(b"".join(self._outgoing))
        self._outgoing.clear()

    def data_received(self, data: bytes) -> None:
        """Pass every complete message to `on_message`."""
        self._incoming += data
        start, end = 0, len(self._incoming)
        while end - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._incoming, start)
            stop = start + _LENGTH.size + length
            if stop > end:
                break
            try:
                self._on_message(orjson.loads(memoryview(self._incoming)[start + _LENGTH.size : stop]))
            except Exception:  # the process boundary: both ends see the connection end, and a new one is made
                logger.exception("a message of another process could not be handled: the connection to it ends")
                self._abort()
                return
            start = stop
        del self._incoming[:start]

    def _abort(self) -> None:
        self._incoming = bytearray()
        if self._transport:
            self._transport.abort()


def encode_frame(message: Message) -> bytes:
    """A message in bytes: its length, then JSON."""
    body = orjson.dumps(message)
    return _LENGTH.pack(len(body)) + body


def send_hello(connection: socket.socket, message: Message, descriptor: int) -> bytes:
    """Send the first message on a fresh socket, with an open file; returns the bytes that exceed the socket's buffer.

    Does not wait. The rest is for `MessageStream.connect`.
    """
    connection.setblocking(False)
    data = encode_frame(message)
    return data[socket.send_fds(connection, [data], [descriptor]) :]


def receive_hello(connection: socket.socket) -> tuple[Message, int]:
    """Wait for the first message and its open file. Raises EOFError when the other end is gone. On a thread."""
    data, descriptors, _, _ = socket.recv_fds(connection, _LENGTH.size, 1)
    if len(data) < _LENGTH.size or not descriptors:
        raise EOFError("the other process is gone")
    try:
        return orjson.loads(_received(connection, *_LENGTH.unpack(data))), descriptors[0]
    except BaseException:
        os.close(descriptors[0])
        raise


def _received(connection: socket.socket, length: int) -> bytes:
    body = bytearray()
    while len(body) < length:
        part = connection.recv(length - len(body))
        if not part:
            raise EOFError("the other process is gone")
        body += part
    return bytes(body)
