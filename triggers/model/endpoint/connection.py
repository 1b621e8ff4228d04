"""Connections to an endpoint: kept open, to the address that was checked, within a deadline; from any thread.

No redirect is followed, no proxy is used, nothing that a client sends is part of the address. A name is resolved for
each new connection, and that connection goes to one of the addresses that were checked then. A request is sent again,
once and on a new connection, if its connection was cut before the answer was whole: the same rows have the same scores.
It is never sent again after an answer, whatever its status, nor after its deadline.
"""

from __future__ import annotations

import logging
import math
import os
import select
import socket
import ssl
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from http.client import HTTPException, HTTPResponse, IncompleteRead
from io import BufferedReader, RawIOBase
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Protocol

from triggers.allow_lists import AllowedHosts, HostEntry
from triggers.endpoint_address import EndpointAddress
from triggers.errors import ConfigError, EndpointFailed, EndpointUnavailable, ModelError
from triggers.model.endpoint.endpoint_loader import Credentials, EndpointLoader

_CONNECT_SECONDS = 2.0
MAX_ANSWER_BYTES = 64 * 1024 * 1024
MAX_WAIT = 600
"""Most seconds of a Retry-After that are believed."""
_BUSY = (429, 502, 503, 504)
_CUT = (ConnectionError, IncompleteRead, ssl.SSLEOFError, ssl.SSLZeroReturnError)
logger = logging.getLogger(__name__)


class Connection(Protocol):
    """Sends one request body to the endpoint and returns the body of its answer.

    `on_cut` is called when a connection was found cut: the endpoint may have been started anew.
    """

    on_cut: Callable[[], None]

    def post(self, body: bytes, headers: Mapping[str, str]) -> tuple[bytes, Mapping[str, str]]:
        """The answer's body and headers. Raises EndpointUnavailable, or EndpointFailed if it is no success."""
        ...

    def close(self) -> None:
        """End all connections."""
        ...


class HttpConnection:
    """A pool of kept HTTP/1.1 connections, `concurrency` at most, to a host that is allowed."""

    def __init__(self, loader: EndpointLoader, hosts: AllowedHosts) -> None:
        self._loader, self._hosts, self._entry = loader, hosts, hosts.check(loader.url)
        self._address = EndpointAddress.of_url(loader.url)
        self._secret = Secret(loader.credentials) if loader.credentials else None
        self._room = threading.BoundedSemaphore(loader.concurrency)
        self._idle: list[KeptSocket] = []  # append and pop are atomic
        weakref.finalize(self, _close_all, self._idle)
        self.on_cut: Callable[[], None] = lambda: None

    def post(self, body: bytes, headers: Mapping[str, str]) -> tuple[bytes, Mapping[str, str]]:
        """One request, within the loader's `timeout`. Raises EndpointUnavailable, EndpointFailed or ConfigError."""
        return self._sent("POST", body, headers)

    def get(self) -> bytes:
        """What lies at the address. Raises EndpointUnavailable, EndpointFailed or ConfigError."""
        return self._sent("GET", b"", {"accept": "application/json"})[0]

    def close(self) -> None:
        """End all connections."""
        _close_all(self._idle)

    def _sent(self, method: str, body: bytes, headers: Mapping[str, str]) -> tuple[bytes, Mapping[str, str]]:
        deadline = time.monotonic() + self._loader.timeout
        request = self._request(method, body, headers)
        if not self._room.acquire(timeout=self._loader.timeout):
            raise EndpointUnavailable(f"All {self._loader.concurrency} connections to the model's endpoint are busy.")
        try:
            return self._answered(request, deadline)
        finally:
            self._room.release()

    def _request(self, method: str, body: bytes, headers: Mapping[str, str]) -> bytes:
        fields = {"Host": self._address.netloc, **headers, "Content-Length": str(len(body))}
        if self._secret:
            fields |= self._secret.header()
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        return f"{method} {self._address.target} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body

    def _answered(self, request: bytes, deadline: float) -> tuple[bytes, Mapping[str, str]]:
        try:
            return self._exchanged(self._kept() or self._opened(deadline), request, deadline)
        except _CUT as error:
            logger.info("the connection to a model's endpoint was cut: %s", error)
            self.on_cut()
        self.close()  # the other kept ones were probably cut with it
        try:
            return self._exchanged(self._opened(deadline), request, deadline)
        except _CUT as error:
            raise EndpointUnavailable("The model's endpoint cuts the connection.", gone=True) from error

    def _exchanged(self, kept: KeptSocket, request: bytes, deadline: float) -> tuple[bytes, Mapping[str, str]]:
        """Send and receive. Raises one of _CUT if the connection ended before the answer was whole."""
        whole = False
        try:
            kept.deadline = deadline
            kept.sendall(request)
            answer = HTTPResponse(kept, method="POST")  # type: ignore[arg-type]
            answer.begin()
            if kept.ended:  # in the middle of the head, which http.client takes for its end
                raise ConnectionResetError("cut in the head of an answer")
            body = _read(answer)
            whole = not answer.will_close
        except TimeoutError as error:
            raise EndpointUnavailable(f"The model's endpoint did not answer in {self._loader.timeout:g} s.") from error
        except _CUT:
            raise
        except (OSError, HTTPException) as error:
            if kept.ended:
                raise ConnectionResetError("cut in the middle of an answer") from error
            raise EndpointFailed(f"The endpoint does not answer in HTTP: {error!r:.200}") from error
        finally:
            if whole:
                self._idle.append(kept)
            else:
                kept.close()
        _check_status(answer, body)
        return body, {name.lower(): value for name, value in answer.getheaders()}

    def _kept(self) -> KeptSocket | None:
        """A kept connection that the endpoint has not closed meanwhile."""
        while self._idle:
            kept = self._idle.pop()
            if not kept.closed_by_peer:
                return kept
            kept.close()
            self.on_cut()
        return None

    def _opened(self, deadline: float) -> KeptSocket:
        """A new connection. Raises EndpointUnavailable, and says in the log why."""
        reason: Exception | None = None
        try:
            for family, place in checked_places(self._address, self._entry):
                try:
                    return KeptSocket(self._connected(family, place, deadline), deadline)
                except OSError as error:
                    reason = error
        except OSError as error:  # of the resolver
            reason = error
        logger.info("no connection to %s: %s", self._address.netloc, reason)
        said = "its certificate is not accepted" if isinstance(reason, ssl.SSLCertVerificationError) else _short(reason)
        raise EndpointUnavailable(f"The model's endpoint cannot be reached: {said}.", gone=True) from reason

    def _connected(self, family: int, place: Any, deadline: float) -> socket.socket:
        plain = socket.socket(family, socket.SOCK_STREAM)
        try:
            plain.settimeout(max(0.01, min(_CONNECT_SECONDS, deadline - time.monotonic())))
            plain.connect(place)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._address.scheme == "http":
                return plain
            return self._tls.wrap_socket(plain, server_hostname=self._address.host)
        except BaseException:
            plain.close()
            raise

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self._hosts.authorities)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"The authorities in {self._hosts.authorities} cannot be read: {error}.") from error


class KeptSocket:
    """A connected socket, as HTTPResponse reads from it; every step ends by `deadline`. `ended`: by the other side."""

    def __init__(self, connected: socket.socket, deadline: float) -> None:
        self._socket, self.deadline, self.ended = connected, deadline, False
        self._poll = select.poll()
        self._poll.register(connected, select.POLLIN)

    def _arm(self) -> socket.socket:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)
        return self._socket

    def sendall(self, data: bytes) -> None:
        """Send all of it. Raises TimeoutError."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._arm().send(rest) :]

    def recv_into(self, buffer: Any) -> int:
        """Receive what is there; nothing is the end, which is noted. Raises TimeoutError."""
        count = self._arm().recv_into(buffer)
        self.ended = not count
        return count

    def makefile(self, mode: str) -> BufferedReader:
        """A reader of one answer."""
        return BufferedReader(_Received(self), 65536)

    @property
    def closed_by_peer(self) -> bool:
        """Whether there is something to read between two answers: the end."""
        return bool(self._poll.poll(0))

    def close(self) -> None:
        """Close it."""
        self._socket.close()


class _Received(RawIOBase):
    def __init__(self, kept: KeptSocket) -> None:
        self._kept = kept

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._kept.recv_into(buffer)


class Secret:
    """The value of the credentials' header; a file is read again when it changes, and kept while it cannot be."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials, self._read_at, self._value = credentials, 0, ""
        variable = credentials.environment or ""
        if variable.startswith("FAIRTRIGGER_") and not variable.startswith("FAIRTRIGGER_ENDPOINT_"):
            raise ModelError(f"The bundle's credentials name {variable}, which is this product's own and never sent.")

    def header(self) -> dict[str, str]:
        """The header as it is now. Raises ConfigError where there never was a value."""
        credentials = self._credentials
        if credentials.environment:
            value = os.environ.get(credentials.environment, "").strip()
            place = f"the environment has no {credentials.environment}"
        else:
            value, place = self._of_file(Path(str(credentials.file))), f"there is none in {credentials.file}"
        if not value:
            raise ConfigError(f"The endpoint's credentials are missing: {place}.")
        said = credentials.prefix + value
        if not said.isascii() or not said.isprintable():
            raise ConfigError("The endpoint's credentials are more than one line of ASCII.")
        return {credentials.header: said}

    def _of_file(self, path: Path) -> str:
        try:
            changed = path.stat().st_mtime_ns
            if changed != self._read_at:
                self._value, self._read_at = path.read_text(encoding="utf-8").strip() or self._value, changed
        except (OSError, ValueError) as error:
            logger.warning("the endpoint's credentials cannot be read again: %s", error)
        return self._value


def checked_places(address: EndpointAddress, entry: HostEntry) -> list[tuple[int, Any]]:
    """Where the host is now, as families and socket addresses, all of which may be connected to.

    Raises OSError or EndpointUnavailable.
    """
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    for *_, place in found:
        if not entry.leads_to(ip_address(str(place[0]).partition("%")[0])):
            logger.error(
                "%s leads to %s, where no endpoint may be asked: if you trust it, list private:%s, or the address "
                "itself, in --endpoint-hosts", address.netloc, place[0], address.netloc,
            )  # fmt: skip
            message = "The name of the model's endpoint leads to an address that is not allowed; the log says which."
            raise EndpointUnavailable(message, 5, gone=True)
    return [(family, place) for family, *_, place in found]


def retry_after_seconds(value: str | None) -> int | None:
    """Seconds to wait by a header Retry-After, of seconds or a date, MAX_WAIT at most; None if it says nothing."""
    if value is None:
        return None
    if value.strip().isascii() and value.strip().isdigit():
        return max(1, min(MAX_WAIT, int(value.strip()[:9])))
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    left = (date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return max(1, min(MAX_WAIT, math.ceil(left)))


def _close_all(idle: list[KeptSocket]) -> None:
    while idle:
        idle.pop().close()


def _read(answer: HTTPResponse) -> bytes:
    """The whole body. Raises EndpointFailed if it is too long, IncompleteRead if its end is missing."""
    if (answer.length or 0) > MAX_ANSWER_BYTES:
        raise EndpointFailed(f"The endpoint's answer is {answer.length} bytes long, more than {MAX_ANSWER_BYTES}.")
    body = answer.read() if answer.length is not None else answer.read(MAX_ANSWER_BYTES + 1)
    if len(body) > MAX_ANSWER_BYTES:
        raise EndpointFailed(f"The endpoint's answer is longer than {MAX_ANSWER_BYTES} bytes.")
    return body


def _check_status(answer: HTTPResponse, body: bytes) -> None:
    """Raise EndpointUnavailable or EndpointFailed unless the status is 200."""
    if answer.status == 200:
        return
    if answer.status in _BUSY:
        wait = retry_after_seconds(answer.headers.get("retry-after"))
        message = f"The model's endpoint answers {answer.status}."
        raise EndpointUnavailable(message, wait or 1, stated=wait is not None)
    said = " ".join(body[:300].decode("utf-8", "replace").split())
    if 300 <= answer.status < 400:
        said = "redirects are not followed: name the address itself"
    raise EndpointFailed(f"The endpoint answers {answer.status}: {said}", answer.status)


def _short(error: Exception | None) -> str:
    """The reason of a failed connection in plain words, without an address."""
    if isinstance(error, TimeoutError):
        return "no connection in time"
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
