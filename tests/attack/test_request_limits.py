"""Requests that claim to be somebody else's, that have a head without end, or that cost far more than they weigh."""

from __future__ import annotations

import json
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import suppress

import httpx
import numpy as np
import pytest

from tests.bundles import image_bundle
from tests.service.live import ADMIN, Process, as_item, encoded, picture, process

PREDICT = "/v1/models/faces/predict"
PIXELS = 1_000_000
MAX_HEAD_BYTES = 64 * 1024


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    tmp = tmp_path_factory.mktemp("limits")
    with process(tmp, [image_bundle(tmp / "faces")], drain_seconds=0, max_pixels=PIXELS, groups="open") as running:
        yield running


def answered(service: Process, *parts: bytes) -> tuple[int, bytes]:
    """Status and body of what is answered to some bytes, sent in as many writes."""
    url = service.client.base_url
    with socket.create_connection((url.host, url.port or 80), timeout=20) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in parts:
            connection.sendall(part)
        got = b""
        while more := connection.recv(65536):
            got += more
    head, _, body = got.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def head_of(size: int) -> bytes:
    """A request without a body whose head has so many bytes."""
    start = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nX-Filler: "
    return start + b"x" * (size - len(start) - 4) + b"\r\n\r\n"


def test_nobody_enters_a_foreign_address_into_the_history(service: Process) -> None:
    for forged in ({"X-Forwarded-For": "203.0.113.9"}, {"Forwarded": "for=203.0.113.9"}):
        at = service.client.get("/v1/models/faces/rollout").headers["etag"]
        body = {"champion": None, "reason": "forged"}
        headers = ADMIN | {"If-Match": at} | forged
        assert service.client.put("/v1/models/faces/rollout", json=body, headers=headers).status_code == 200
        entry = service.client.get("/v1/models/faces/history").json()["entries"][0]
        assert entry["actor"] == "admin 127.0.0.1"


@pytest.mark.parametrize("writes", [1, 2])
def test_a_head_of_64_kib_passes_and_one_byte_more_does_not(service: Process, writes: int) -> None:
    for size, status in ((MAX_HEAD_BYTES, 200), (MAX_HEAD_BYTES + 1, 431), (MAX_HEAD_BYTES + 5000, 431)):
        sent = head_of(size)
        assert len(sent) == size
        cut = len(sent) // writes
        got, body = answered(service, sent[:cut], *([sent[cut:]] if writes > 1 else []))
        assert got == status, size
        assert status == 200 or json.loads(body)["code"] == "head_too_large"


def test_a_large_head_behind_another_request_is_refused(service: Process) -> None:
    first = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    url = service.client.base_url
    with socket.create_connection((url.host, url.port or 80), timeout=20) as connection:
        connection.sendall(first)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        connection.sendall(first + head_of(MAX_HEAD_BYTES + 20_000))
        got = b""
        while more := connection.recv(65536):
            got += more
    assert b"head_too_large" in got


@pytest.mark.parametrize("trailers", [b"x" * 50_000, b"X-T: y\r\n" * 5_000])
def test_endless_trailers_are_refused(service: Process, trailers: bytes) -> None:
    lines = (f"POST {PREDICT} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: image/png", "Transfer-Encoding: chunked")
    data, url = picture(0), service.client.base_url
    with socket.create_connection((url.host, url.port or 80), timeout=20) as connection:
        connection.sendall("\r\n".join((*lines, "", "")).encode() + b"%x\r\n%s\r\n0\r\nX-First: " % (len(data), data))
        with suppress(OSError):  # closed in the middle of it
            for _ in range(40):
                connection.sendall(trailers)
        assert b"head_too_large" in connection.recv(65536)


def test_small_chunks_are_no_large_head(service: Process) -> None:
    data = encoded(np.zeros((60, 60, 3), dtype=np.uint8), "BMP")
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/bmp\r\nConnection: close\r\n"
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in data) + b"0\r\n\r\n"
    status, _ = answered(service, head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
    assert status == 200


def blank_png(side: int) -> bytes:
    """A whole PNG of one grey, side x side pixels in a thousandth of their bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress(b"\0" * (side * (side + 1)), 9)
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def sent(service: Process, files: list[bytes], encoding: str) -> httpx.Response:
    if encoding == "form":
        return service.client.post(PREDICT, files=[("image", (str(n), each)) for n, each in enumerate(files)])
    items = [as_item(each) for each in files]
    if encoding == "json":
        return service.client.post(PREDICT, json={"inputs": items})
    tensor = {"name": "image", "datatype": "BYTES", "shape": [len(items)], "data": [each["image"] for each in items]}
    return service.client.post("/v2/models/faces/infer", json={"inputs": [tensor]})


@pytest.mark.parametrize("encoding", ["json", "form", "v2"])
def test_a_small_request_cannot_cost_many_pixels(service: Process, encoding: str) -> None:
    """128 files of a thousand pixels a side: 150 KB that claim 128 million pixels, at most four are accepted."""
    bomb = [blank_png(1000)] * 128
    started = time.monotonic()
    response = sent(service, bomb, encoding)
    assert response.status_code == 413, response.text
    document = response.json()
    assert document["code"] == "request_too_many_pixels" and f"at most {4 * PIXELS}" in document["detail"]
    assert time.monotonic() - started < 5
    metrics = service.client.get("/metrics").text
    assert 'fairtrigger_item_errors_total{code="request_too_many_pixels",model="faces"}' in metrics


def test_the_pixel_budget_is_exact_and_does_not_count_what_is_refused_anyway(service: Process) -> None:
    whole, one = blank_png(1000), blank_png(1)
    assert sent(service, [whole] * 4, "json").status_code == 200
    assert sent(service, [whole] * 4 + [one], "json").json()["code"] == "request_too_many_pixels"
    mixed = sent(service, [blank_png(1001)] * 5 + [whole] * 4 + [b"no image"], "json")
    assert mixed.status_code == 200, "each of the others has an error of its own"
    assert [each.get("error", {}).get("code") for each in mixed.json()["predictions"]] == [
        *["image_too_many_pixels"] * 5, *[None] * 4, "not_an_image",
    ]  # fmt: skip
    assert service.client.get("/v1/models/faces").json()["limits"]["request_pixels"] == 4 * PIXELS
