"""Raw HTTP for the fuzz test: requests that are fine, ways to break them, and what comes back."""

from __future__ import annotations

import base64
import json
import random
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from http.client import HTTPException, HTTPResponse
from typing import Any

from tests.service.live import ADMIN, picture

BOUNDARY = "edge"
PATIENCE = 300  # seconds; the machine may be busy
INTERESTING = (b"", b"\0", b"\xff\xfe", b"{", b"}", b"[" * 200, b'"', b"null", b"NaN", b"1e999", b"-1", b"9" * 400)
MEDIA = (
    "application/json",
    "image/png",
    "text/plain",
    "application/octet-stream",
    "multipart/form-data",
    f"multipart/form-data; boundary={BOUNDARY}",
    "x/y",
    "",
)
PLACES = (
    "/v1/models/posts/predict",
    "/v1/models/faces/feedback",
    "/v1/models/faces/observations",
    "/v2/models/posts/infer",
    "/v1/models/%00/predict",
)
WORDS = (b"champion", b"none", b"v1", b"inputs", b"image", b"text", b"group", b"data", b"shape", b"--edge")


@dataclass(frozen=True)
class Raw:
    """One request as bytes will say it. `stated` is its Content-Length if that is not the body's own."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    stated: int | None = None

    def encoded(self) -> bytes:
        """Everything that goes over the wire."""
        length = {"Content-Length": str(len(self.body) if self.stated is None else self.stated)}
        lines = [f"{self.method} {self.path} HTTP/1.1", "Host: 127.0.0.1", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in (length | dict(self.headers)).items()]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + self.body


def seeds(prediction_id: str) -> list[Raw]:
    """Requests that the service answers with 2xx: every way in which a body can come."""
    image, predict = picture(0), "/v1/models/faces/predict"
    encoded = base64.b64encode(image).decode()
    items = [{"image": encoded, "group": "a"}, {"image": encoded, "trigger": "v1"}]
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [encoded]}
    texts = {"name": "text", "datatype": "BYTES", "shape": [2, 1], "data": [["a good movie"], ["go away"]]}
    return [
        _json("POST", predict, {"inputs": items, "twin": True}),
        _json("POST", "/v1/models/posts/predict", {"inputs": [{"text": "what a lovely day"}], "group": ["b"]}),
        Raw("POST", predict, {"Content-Type": "image/png"}, image),
        Raw("POST", predict, {"Content-Type": "image/jpeg"}, picture(1, file_format="JPEG")),
        Raw("POST", "/v1/models/posts/predict?twin=true", {"Content-Type": "text/plain"}, b"awful"),
        Raw("POST", predict, {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}, _form(image)),
        _json("POST", "/v1/models/faces/feedback", [{"prediction_id": prediction_id, "label": 1, "group": "c"}]),
        _json(
            "POST",
            "/v1/models/faces/observations",
            [{"observation_id": "x", "version": "v1", "scores": {"plain": 0.2, "attractive": 0.8}, "label": 1}],
        ),
        _json("POST", "/v2/models/faces/infer", {"inputs": [tensor], "parameters": {"group": "a", "twin": True}}),
        _json("POST", "/v2/models/posts/versions/none/infer", {"inputs": [texts], "outputs": [{"name": "label"}]}),
        _binary(image),
        _json("PUT", "/v1/models/faces/rollout", {"champion": "v1", "reason": "fuzz"}, ADMIN | {"If-Match": '"0"'}),
    ]


def _json(method: str, path: str, body: Any, headers: Mapping[str, str] | None = None) -> Raw:
    return Raw(method, path, {"Content-Type": "application/json"} | dict(headers or {}), json.dumps(body).encode())


def _form(image: bytes) -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="x.png"\r\n\r\n'.encode()
    group = f'\r\n--{BOUNDARY}\r\nContent-Disposition: form-data; name="group"\r\n\r\na\r\n--{BOUNDARY}--\r\n'
    return head + image + group.encode()


def _binary(image: bytes) -> Raw:
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(image) + 4}}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    return Raw("POST", "/v2/models/faces/infer", headers, head + struct.pack("<I", len(image)) + image)


def mutated(seed: Raw, draw: random.Random) -> Raw:
    """The request, broken in one to four ways."""
    for _ in range(draw.randint(1, 4)):
        seed = draw.choice(MUTATIONS)(seed, draw)
    return seed


def _cut(raw: Raw, draw: random.Random) -> Raw:
    return replace(raw, body=raw.body[: draw.randint(0, len(raw.body))])


def _cut_short(raw: Raw, draw: random.Random) -> Raw:
    return replace(_cut(raw, draw), stated=len(raw.body))


def _flip(raw: Raw, draw: random.Random) -> Raw:
    body = bytearray(raw.body)
    for _ in range(draw.randint(1, 8)):
        if body:
            body[draw.randrange(len(body))] = draw.randrange(256)
    return replace(raw, body=bytes(body))


def _splice(raw: Raw, draw: random.Random) -> Raw:
    start = draw.randint(0, len(raw.body))
    end = min(len(raw.body), start + draw.choice([0, 1, 4, 30]))
    piece = draw.choice([*INTERESTING, *WORDS, draw.randbytes(draw.randint(1, 40)), raw.body[: draw.randint(0, 200)]])
    return replace(raw, body=raw.body[:start] + piece + raw.body[end:])


def _relabel(raw: Raw, draw: random.Random) -> Raw:
    return replace(raw, headers=dict(raw.headers) | {"Content-Type": draw.choice(MEDIA)})


def _head(raw: Raw, draw: random.Random) -> Raw:
    name = draw.choice(["Inference-Header-Content-Length", "X-Timeout-Ms", "If-Match", "traceparent", "Authorization"])
    value = draw.choice(["0", "1", "-1", "40", "9" * 30, "x", "1e3", '"1"', "Bearer x", "\xff", "00-" + "1" * 32])
    return replace(raw, headers=dict(raw.headers) | {name: value})


def _elsewhere(raw: Raw, draw: random.Random) -> Raw:
    queries = ["", "?trigger=none", "?twin=1&twin=0", "?group=%ff", "?trigger=v999999999", "?group=%00"]
    return replace(raw, path=draw.choice([raw.path.partition("?")[0], *PLACES]) + draw.choice(queries))


MUTATIONS: list[Callable[[Raw, random.Random], Raw]] = [
    *(_cut, _cut_short, _flip, _flip, _splice, _splice, _relabel, _head, _elsewhere)
]


def exchange(address: tuple[str, int], raw: Raw) -> tuple[int, bytes, str]:
    """Status (0: the connection was closed without an answer), body and Retry-After."""
    with socket.create_connection(address, timeout=PATIENCE) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # leaves no TIME_WAIT
        try:
            connection.sendall(raw.encoded())
            if raw.stated is not None:
                connection.shutdown(socket.SHUT_WR)
            response = HTTPResponse(connection)
            response.begin()
            return response.status, response.read(), response.getheader("Retry-After", "")
        except (HTTPException, ConnectionError):
            return 0, b"", ""
