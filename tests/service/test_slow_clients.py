"""Clients that are slow on purpose, or gone without a word, against a real process."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bundles import image_bundle
from tests.service.live import Process, picture, predict, process, wait_until

PREDICT = "/v1/models/faces/predict"
PATIENCE = 1.0
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    tmp = tmp_path_factory.mktemp("slow")
    bundle = image_bundle(tmp / "faces")
    with process(tmp, [bundle], receive_seconds=PATIENCE, drain_seconds=0) as running:
        yield running


def connected(service: Process) -> socket.socket:
    url = service.client.base_url
    return socket.create_connection((url.host, url.port or 80), timeout=20)


def head(length: int) -> bytes:
    lines = (f"POST {PREDICT} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: image/png", f"Content-Length: {length}")
    return "\r\n".join((*lines, "", "")).encode()


def everything(connection: socket.socket) -> bytes:
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


def refused(connection: socket.socket, status: int, code: str) -> None:
    """Check that the connection was told why and closed."""
    told, _, body = everything(connection).partition(b"\r\n\r\n")
    assert told.startswith(f"HTTP/1.1 {status} ".encode()), told
    document = json.loads(body)
    assert (document["status"], document["code"]) == (status, code)


@pytest.mark.parametrize("sent", [b"", head(1000)[:30], head(1000), head(1000) + b"x" * 500])
def test_what_does_not_arrive_in_time_is_refused(service: Process, sent: bytes) -> None:
    with connected(service) as connection:
        connection.sendall(sent)
        started = time.monotonic()
        refused(connection, 408, "request_timeout")
        assert PATIENCE - 0.1 < time.monotonic() - started < PATIENCE + 5


def test_a_trickle_does_not_help(service: Process) -> None:
    with connected(service) as connection, pytest.raises(OSError):
        for byte in head(1000) * 100:
            connection.sendall(bytes([byte]))
            time.sleep(0.02)


def test_a_large_body_has_more_time(service: Process) -> None:
    data = b"x" * 1_000_000
    with connected(service) as connection:
        connection.sendall(head(len(data)))
        for start in range(0, len(data), 100_000):
            connection.sendall(data[start : start + 100_000])
            time.sleep(3 * PATIENCE / 10)
        assert connection.recv(100).startswith(b"HTTP/1.1 422 ")


def test_an_endless_head_is_refused(service: Process) -> None:
    with connected(service) as connection:
        connection.sendall(head(10)[:-2] + b"X-Filler: " + b"x" * 70_000)
        refused(connection, 431, "head_too_large")


def test_large_bodies_and_pipelined_requests_are_no_large_head(service: Process) -> None:
    data = picture(0)
    with connected(service) as connection:
        connection.sendall(head(len(data) + 200_000) + data + b"\0" * 200_000 + head(len(data)) + data)
        answers = b""
        while answers.count(b"HTTP/1.1 200 ") < 2:
            answers += connection.recv(65536)


def test_a_client_that_reads_nothing_loses_its_connection(service: Process) -> None:
    """Its answers fill every buffer on the way, and there they would stay for ever."""
    with connected(service) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(1)
        with pytest.raises(OSError):
            while True:
                connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 10)
                time.sleep(0.05)
        wait_until(lambda: established(service) <= 1)


def established(service: Process) -> int:
    """Connections that the service holds (the client of the tests keeps one)."""
    local = f":{service.client.base_url.port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[1].endswith(local) and row[3] == "01" for row in rows)


def test_leaving_in_the_middle_of_a_body_is_no_error_of_ours(service: Process) -> None:
    with connected(service) as connection:
        connection.sendall(head(1000) + b"x" * 500)
        time.sleep(0.2)

    def seen() -> bool:
        lines = service.client.get("/metrics").text.splitlines()
        return any(line.startswith("fairtrigger_requests_total") and 'code="499"' in line for line in lines)

    wait_until(seen)
    assert "Traceback" not in service.log.read_text()


def test_while_many_dawdle_others_are_served(service: Process) -> None:
    idlers = [connected(service) for _ in range(200)]
    try:
        for connection in idlers:
            connection.sendall(head(1000))
        started = time.monotonic()
        assert predict(service.client, "faces", [picture(0)])
        assert time.monotonic() - started < 5
    finally:
        for connection in idlers:
            connection.close()
