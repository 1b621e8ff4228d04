"""How long a connection may take to send its request, or to read its answer, before it is closed.

One sweep over all connections a second costs less than a timer per request. A client that is slow on purpose, or gone
without a word, gets 408 and loses its connection; what the service itself takes is never counted against a client.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from importlib.metadata import version
from typing import Any

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from service.problems import MEDIA_TYPE, Problem
from service.whole_answer import offer
from triggers.errors import ConfigError

UVICORN = "uvicorn>=0.45,<0.55"
HOOK = "_start_asgi_task"
"""uvicorn's own, and private: from its release 0.45 on it begins every answer."""
MAX_HEAD_BYTES = 64 * 1024
BYTES_PER_SECOND = 64 * 1024
"""A body earns its sender a second for so many bytes, so that a large one may take longer than a small one."""
_AROUND_URL, _AROUND_HEADER, _LAST = len("  HTTP/1.1\r\n"), len(": \r\n"), len("\r\n")


class HeadTooLarge(Exception):
    """Raised inside the parser, which goes no further: the application never hears of the request."""


class PatientProtocol(HttpToolsProtocol):
    """HTTP/1.1 over one connection that knows since when it waits for its client, and limits the head to 64 KiB.

    A head is counted as it arrives and, since it may arrive whole, as it is parsed. Trailers count likewise.
    """

    waiting_since: float | None
    """None while the client owes nothing."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client connected: from now on it owes a request."""
        super().connection_made(transport)
        self.waiting_since, self._received, self._unread = time.monotonic(), 0, (0, 0.0)
        self._unparsed = self._head = 0
        self._answering: RequestResponseCycle | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone, for the answer in work too when later requests were pipelined behind it."""
        self._give_up()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        self._unparsed += len(data)
        super().data_received(data)
        if self._unparsed > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse_head()

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self.waiting_since, self._received, self._head = time.monotonic(), 0, _LAST

    def on_url(self, url: bytes) -> None:
        """A part of the address."""
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header is whole, or a trailer."""
        super().on_header(name, value)
        self._count(len(name) + len(value) + _AROUND_HEADER)

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._count(len(self.parser.get_method()) + _AROUND_URL)
        super().on_headers_complete()
        self._unparsed = 0

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._received += len(body)
        self._unparsed = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole; the next bytes begin another head."""
        super().on_message_complete()
        self.waiting_since, self._unparsed = None, 0

    def lose_patience(self, now: float, seconds: float) -> None:
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
        """What the parser did not accept; uvicorn calls this for what a callback raised as well."""
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
        offer(cycle)
        super()._start_asgi_task(cycle, app)

    def _give_up(self) -> None:
        """Whatever is answered now need not be written."""
        if self._answering and not self._answering.response_complete:
            self._answering.disconnected = True
            self._answering.message_event.set()

    def _stopped_reading(self, now: float, seconds: float) -> bool:
        """Whether the same bytes of an answer have waited for the client all the time."""
        waiting, since = self._unread
        unsent = self.transport.get_write_buffer_size()
        if unsent == 0 or unsent != waiting:
            self._unread = (unsent, now)
            return False
        return now - since > seconds

    def _refuse(self, problem: Problem) -> None:
        """Say why, unless an answer has begun already, and close."""
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            body = orjson.dumps(problem.body())
            head = f"Content-Type: {MEDIA_TYPE}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            self.transport.write(STATUS_LINE[problem.status] + head.encode() + body)
        self.transport.close()


def check_hook() -> None:
    """Raise ConfigError if uvicorn never calls what PatientProtocol overrides: answers would lose their short way."""
    if not hasattr(HttpToolsProtocol, HOOK):
        found = version("uvicorn")
        raise ConfigError(f"uvicorn {found} has no {HOOK}: pip install '{UVICORN}', as pyproject.toml says.")


def close_slow(connections: Iterable[Any], seconds: float) -> None:
    """One sweep: every connection whose client is behind by `seconds` is closed."""
    now = time.monotonic()
    for connection in list(connections):
        if isinstance(connection, PatientProtocol):
            connection.lose_patience(now, seconds)
