"""Timeouts of slow clients: a connection that takes too long to send its request or to read its answer is closed.

One sweep over all connections a second costs less than a timer per request. A client that is slow on purpose, or gone
without closing, gets 408 and is disconnected; the service's own time is never counted against a client.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from importlib.metadata import version
from typing import Any

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from service.api.problem_details import MEDIA_TYPE, Problem
from triggers.errors import ConfigError

UVICORN = "uvicorn>=0.45,<0.55"
HOOK = "_start_asgi_task"
"""A private method of uvicorn (0.45 on) that starts every answer."""
MAX_HEAD_BYTES = 64 * 1024
BYTES_PER_SECOND = 64 * 1024
"""Received bytes of a body that extend its time limit by a second: a large body may take longer."""
_AROUND_URL, _AROUND_HEADER, _LAST = len("  HTTP/1.1\r\n"), len(": \r\n"), len("\r\n")


class HeadTooLarge(Exception):
    """A head over MAX_HEAD_BYTES; raised in a parser callback, so that the application does not run."""


class TimeoutProtocol(HttpToolsProtocol):
    """An HTTP/1.1 connection that tracks since when it waits for its client, and limits the head to 64 KiB.

    A head is counted as it arrives and, since it may arrive whole, as it is parsed. Trailers count likewise.
    """

    waiting_since: float | None
    """`time.monotonic()` since when a request is awaited; None while none is."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client connected: its request is awaited from now on."""
        super().connection_made(transport)
        self.waiting_since, self._received, self._unread = time.monotonic(), 0, (0, 0.0)
        self._unparsed = self._head = 0
        self._answering: RequestResponseCycle | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        """The client disconnected: mark the answer in work too, with later requests pipelined behind it."""
        self._give_up()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes arrived: parse them, and refuse a head over MAX_HEAD_BYTES."""
        self._unparsed += len(data)
        super().data_received(data)
        if self._unparsed > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse_head()

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self.waiting_since, self._received, self._head = time.monotonic(), 0, _LAST

    def on_url(self, url: bytes) -> None:
        """A part of the URL."""
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header or trailer is complete."""
        super().on_header(name, value)
        self._count(len(name) + len(value) + _AROUND_HEADER)

    def on_headers_complete(self) -> None:
        """The head is complete."""
        self._count(len(self.parser.get_method()) + _AROUND_URL)
        super().on_headers_complete()
        self._unparsed = 0

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._received += len(body)
        self._unparsed = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is complete; the next bytes begin another head."""
        super().on_message_complete()
        self.waiting_since, self._unparsed = None, 0

    def close_if_slow(self, now: float, seconds: float) -> None:
        """Close the connection if its client is behind by `seconds`; `now` as of time.monotonic()."""
        if self._stopped_reading(now, seconds):
            self._give_up()
            self.transport.abort()
        elif self.waiting_since is not None and not self.flow.read_paused:
            allowed = seconds + self._received / BYTES_PER_SECOND
            if now - self.waiting_since > allowed:
                detail = f"The request did not arrive within {allowed:.0f} seconds; send it faster."
                self._refuse(Problem(408, "request_timeout", detail))

    def send_400_response(self, msg: str) -> None:
        """Answer a request that the parser, or a callback of it, refused."""
        if self._head > MAX_HEAD_BYTES:
            self._refuse_head()
        else:
            super().send_400_response(msg)

    def _count(self, length: int) -> None:
        self._head += length
        if self._head > MAX_HEAD_BYTES:
            raise HeadTooLarge

    def _refuse_head(self) -> None:
        self._refuse(Problem(431, "head_too_large", f"The request's head is over {MAX_HEAD_BYTES} bytes."))

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def _give_up(self) -> None:
        """Mark the answer in work as disconnected: it need not be written."""
        if self._answering and not self._answering.response_complete:
            self._answering.disconnected = True
            self._answering.message_event.set()

    def _stopped_reading(self, now: float, seconds: float) -> bool:
        """Whether the client has read nothing of a pending answer for `seconds`."""
        waiting, since = self._unread
        unsent = self.transport.get_write_buffer_size()
        if unsent == 0 or unsent != waiting:
            self._unread = (unsent, now)
            return False
        return now - since > seconds

    def _refuse(self, problem: Problem) -> None:
        """Send the problem, unless an answer has begun already, and close."""
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            body = orjson.dumps(problem.body())
            head = f"Content-Type: {MEDIA_TYPE}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            self.transport.write(STATUS_LINE[problem.status] + head.encode() + body)
        self.transport.close()


def check_hook() -> None:
    """Raise ConfigError if uvicorn lacks HOOK, without which TimeoutProtocol cannot mark disconnected answers."""
    if not hasattr(HttpToolsProtocol, HOOK):
        found = version("uvicorn")
        raise ConfigError(f"uvicorn {found} has no {HOOK}: pip install '{UVICORN}', as pyproject.toml says.")


def close_slow(connections: Iterable[Any], seconds: float) -> None:
    """Close every connection whose client is behind by `seconds`. On the event loop."""
    now = time.monotonic()
    for connection in list(connections):
        if isinstance(connection, TimeoutProtocol):
            connection.close_if_slow(now, seconds)
