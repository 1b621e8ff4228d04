"""The connection to an endpoint, against real sockets that answer what a script says."""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from triggers.allow_lists import AllowedHosts
from triggers.errors import ConfigError, EndpointFailed, EndpointUnavailable, ModelError
from triggers.model.endpoint import connection as module
from triggers.model.endpoint.connection import MAX_WAIT, HttpConnection, retry_after_seconds
from triggers.model.endpoint.endpoint_loader import EndpointLoader

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Kind: a\r\n\r\n{}"
Step = bytes | Callable[[socket.socket], None]


class ScriptedServer:
    """Answers the requests of each connection by its script, bytes to send or a function of the socket; then closes."""

    def __init__(self, *scripts: list[Step], tls: ssl.SSLContext | None = None) -> None:
        self.scripts, self.requests, self.connections = list(scripts), list[bytes](), 0
        self._tls = tls
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        threading.Thread(target=self._run, daemon=True).start()

    def close(self) -> None:
        self._listening.close()

    def _run(self) -> None:
        while True:
            try:
                accepted, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            script = self.scripts.pop(0) if self.scripts else []
            threading.Thread(target=self._serve, args=(accepted, script), daemon=True).start()

    def _serve(self, accepted: socket.socket, script: list[Step]) -> None:
        try:
            with self._tls.wrap_socket(accepted, server_side=True) if self._tls else accepted as opened:
                for step in script:
                    if not (request := _whole_request(opened)):
                        return
                    self.requests.append(request)
                    step(opened) if callable(step) else opened.sendall(step)
        except OSError:
            pass


def _whole_request(opened: socket.socket) -> bytes:
    got = b""
    while b"\r\n\r\n" not in got:
        if not (part := opened.recv(65536)):
            return b""
        got += part
    head, _, body = got.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
    while len(body) < length:
        body += opened.recv(65536)
    return head + b"\r\n\r\n" + body


@contextmanager
def asked(
    *scripts: list[Step],
    hosts: AllowedHosts | None = None,
    tls: ssl.SSLContext | None = None,
    host: str = "127.0.0.1",
    **loader: Any,
) -> Iterator[tuple[ScriptedServer, HttpConnection]]:
    server = ScriptedServer(*scripts, tls=tls)
    url = f"{'https' if tls else 'http'}://{host}:{server.port}/infer?a=b"
    fields = {"kind": "endpoint", "url": url, "protocol": "json", "encoding": "text", "timeout": 1.0} | loader
    connection = HttpConnection(EndpointLoader.model_validate(fields), hosts or AllowedHosts.of_url(url))
    try:
        yield server, connection
    finally:
        connection.close()
        server.close()


def post(connection: HttpConnection) -> bytes:
    return connection.post(b'{"x": 1}', {"content-type": "application/json"})[0]


def late(data: bytes, every: float) -> Callable[[socket.socket], None]:
    def send(opened: socket.socket) -> None:
        for byte in data:
            opened.sendall(bytes([byte]))
            time.sleep(every)

    return send


def reset(opened: socket.socket) -> None:
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    opened.close()


def test_a_connection_is_kept() -> None:
    with asked([GOOD] * 3) as (server, connection):
        body, headers = connection.post(b"{}", {"content-type": "application/json"})
        assert (body, headers["x-kind"]) == (b"{}", "a")
        assert [post(connection), post(connection)] == [b"{}", b"{}"]
        assert server.connections == 1
        head = server.requests[0].decode()
        assert head.startswith("POST /infer?a=b HTTP/1.1\r\n") and f"Host: 127.0.0.1:{server.port}\r\n" in head


def test_a_chunked_answer_is_whole() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"
    with asked([chunked, GOOD]) as (server, connection):
        assert [post(connection), post(connection)] == [b"{}", b"{}"] and server.connections == 1


@pytest.mark.parametrize(
    "cut",
    [
        reset,
        lambda opened: opened.shutdown(socket.SHUT_RDWR),
        GOOD[:10],
        GOOD[:-1],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
    ],
)
def test_a_request_whose_connection_was_cut_is_sent_again_once(cut: Step) -> None:
    cuts: list[int] = []
    with asked([GOOD, cut], [GOOD]) as (server, connection):
        connection.on_cut = lambda: cuts.append(1)
        assert [post(connection), post(connection)] == [b"{}", b"{}"]
        assert len(server.requests) == 3 and cuts == [1]
    with asked([cut], [cut], [GOOD]) as (server, connection):
        with pytest.raises(EndpointUnavailable, match="cuts") as refused:
            post(connection)
        assert refused.value.gone and len(server.requests) == 2


def test_a_connection_that_was_closed_meanwhile_is_not_used() -> None:
    with asked([GOOD], [GOOD]) as (server, connection):
        post(connection)
        time.sleep(0.05)
        assert post(connection) == b"{}"
        assert len(server.requests) == 2


@pytest.mark.parametrize("status", [b"500 Oh", b"429 Many", b"503 Busy", b"400 Bad"])
def test_an_answer_is_never_asked_for_again(status: bytes) -> None:
    with asked([b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n", GOOD]) as (server, connection):
        with pytest.raises((EndpointUnavailable, EndpointFailed)):
            post(connection)
        assert len(server.requests) == 1
        assert post(connection) == b"{}" and server.connections == 1


@pytest.mark.parametrize(
    "slow",
    [late(GOOD, 0.2), lambda _: None, late(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", 0.001)],
    ids=["dawdles", "silent", "half"],
)
def test_an_answer_must_be_whole_by_the_deadline(slow: Step) -> None:
    def slowly(opened: socket.socket) -> None:
        assert callable(slow)
        slow(opened)
        time.sleep(2)

    with asked([slowly], [GOOD], timeout=0.3) as (server, connection):
        began = time.monotonic()
        with pytest.raises(EndpointUnavailable, match=r"in 0.3 s"):
            post(connection)
        assert time.monotonic() - began < 0.8 and len(server.requests) == 1
        assert post(connection) == b"{}"  # on another connection


def test_a_body_that_nobody_reads_is_not_waited_for_longer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        fields = {"kind": "endpoint", "url": url, "protocol": "json", "encoding": "text", "timeout": 0.3}
        connection = HttpConnection(EndpointLoader.model_validate(fields), AllowedHosts.of_url(url))
        began = time.monotonic()
        with pytest.raises(EndpointUnavailable):
            connection.post(b"x" * 50_000_000, {})
        assert time.monotonic() - began < 1.5


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9\r\n",
        b"\x15\x03\x01\x00\x02\x02\x28" * 9 + b"\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200,
    ],
)
def test_what_is_no_http_is_said_so(answer: bytes) -> None:
    with asked([answer]) as (_, connection), pytest.raises(EndpointFailed, match="not answer in HTTP"):
        post(connection)


@pytest.mark.parametrize("length", [True, False])
def test_an_endless_answer_is_not_read_to_its_end(length: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ANSWER_BYTES", 10_000)
    head = b"HTTP/1.1 200 OK\r\n" + (b"Content-Length: 1000000\r\n\r\n" if length else b"\r\n")

    def flood(opened: socket.socket) -> None:
        opened.sendall(head)
        for _ in range(10_000):
            opened.sendall(b" " * 100)

    with asked([flood]) as (_, connection), pytest.raises(EndpointFailed, match="10000"):
        post(connection)


def test_no_more_connections_than_allowed_at_once() -> None:
    busy, most, lock = 0, 0, threading.Lock()

    def counted(opened: socket.socket) -> None:
        nonlocal busy, most
        with lock:
            busy, most = busy + 1, max(most, busy + 1)
        time.sleep(0.02)
        with lock:
            busy -= 1
        opened.sendall(GOOD)

    scripts: list[list[Step]] = [[counted] * 50 for _ in range(20)]
    with asked(*scripts, concurrency=3, timeout=20) as (server, connection):
        threads = [threading.Thread(target=post, args=(connection,)) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert most == 3 and server.connections == 3


def test_a_place_is_not_waited_for_beyond_the_deadline() -> None:
    with asked([late(b"", 0), GOOD], [GOOD], concurrency=1, timeout=0.3) as (_, connection):
        connection._room.acquire()
        with pytest.raises(EndpointUnavailable, match="busy"):
            post(connection)
        connection._room.release()


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_endpoint_says_when_to_come_again(status: int) -> None:
    told = f"HTTP/1.1 {status} x\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n".encode()
    with asked([told, told.replace(b"Retry-After: 7\r\n", b"")]) as (_, connection):
        with pytest.raises(EndpointUnavailable) as refused:
            post(connection)
        assert (refused.value.retry_after, refused.value.stated) == (7, True)
        with pytest.raises(EndpointUnavailable) as refused:
            post(connection)
        assert (refused.value.retry_after, refused.value.stated) == (1, False)


def test_retry_after_in_every_form() -> None:
    assert retry_after_seconds(None) is None and retry_after_seconds("soon") is None
    assert retry_after_seconds(" 12 ") == 12 and retry_after_seconds("0") == 1
    assert retry_after_seconds("9" * 5000) == MAX_WAIT
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert 28 <= (retry_after_seconds(soon) or 0) <= 30
    assert retry_after_seconds("Wed, 21 Oct 2015 07:28:00 GMT") == 1
    assert retry_after_seconds("Wed, 21 Oct 9015 07:28:00 GMT") == MAX_WAIT


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(status: int) -> None:
    with asked([GOOD]) as (inner, _):
        told = f"HTTP/1.1 {status} x\r\nLocation: http://127.0.0.1:{inner.port}/\r\nContent-Length: 0\r\n\r\n"
        with (
            asked([told.encode()]) as (_, connection),
            pytest.raises(EndpointFailed, match="redirects are not followed"),
        ):
            post(connection)
        assert inner.connections == 0


def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with asked([GOOD]) as (proxy, _), asked([GOOD]) as (_, connection):
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "https_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert post(connection) == b"{}" and proxy.connections == 0


def test_nobody_listens() -> None:
    with asked() as (server, connection):
        server.close()
        with pytest.raises(EndpointUnavailable, match="Connection refused") as refused:
            post(connection)
        assert refused.value.gone and "127.0.0.1" not in str(refused.value)


def test_credentials_are_read_again_when_their_file_changes(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("one\n")
    credentials = {"file": str(file), "header": "X-Key", "prefix": ""}
    with asked([GOOD] * 5, credentials=credentials) as (server, connection):
        post(connection)
        file.write_text("two")
        os.utime(file, ns=(1, 1))
        post(connection)
        file.write_text("")  # somebody is writing it
        post(connection)
        file.unlink()
        post(connection)
        sent = [request.decode().partition("X-Key: ")[2].partition("\r\n")[0] for request in server.requests]
        assert sent == ["one", "two", "two", "two"]


@pytest.mark.parametrize("secret", ["", "a\r\nX-Other: b", "ü"])
def test_credentials_that_are_no_header_are_refused(
    secret: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODEL_KEY", secret)
    with asked([GOOD], credentials={"environment": "MODEL_KEY"}) as (server, connection):
        with pytest.raises(ConfigError, match="credentials"):
            post(connection)
        assert server.connections == 0


def test_a_bundle_cannot_ask_for_the_services_own_secrets() -> None:
    with (
        pytest.raises(ModelError, match="FAIRTRIGGER_ADMIN_TOKEN"),
        asked(credentials={"environment": "FAIRTRIGGER_ADMIN_TOKEN"}),
    ):
        pass


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A self-signed certificate of a host, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    paths = folder / f"{name}.pem", folder / f"{name}.key"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    return paths


def test_tls_is_verified(tmp_path: Path) -> None:
    mine, other = certificate(tmp_path, "localhost"), certificate(tmp_path, "other.example")
    contexts = []
    for chain, key in (mine, other):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain, key)
        contexts.append(context)

    def hosts(port: int, authorities: Path | None) -> AllowedHosts:
        return AllowedHosts((f"localhost:{port}",), authorities)

    for context, authorities, accepted in (
        (contexts[0], mine[0], True),
        (contexts[0], None, False),
        (contexts[1], other[0], False),
    ):
        server = ScriptedServer([GOOD] * 2, [GOOD], tls=context)
        fields = {
            "kind": "endpoint",
            "url": f"https://localhost:{server.port}/",
            "protocol": "json",
            "encoding": "text",
        }
        connection = HttpConnection(EndpointLoader.model_validate(fields), hosts(server.port, authorities))
        if accepted:
            assert [post(connection), post(connection)] == [b"{}", b"{}"] and server.connections == 1
        else:
            with pytest.raises(EndpointUnavailable, match="certificate is not accepted"):
                post(connection)
            assert server.requests == []
        connection.close()
        server.close()
