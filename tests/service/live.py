"""A real service on a real port for tests: uvicorn in a thread of this process, or `python -m service` as a process."""

from __future__ import annotations

import base64
import io
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import uvicorn
from numpy.typing import NDArray
from opentelemetry.sdk.trace.export import SpanExporter
from PIL import Image

from service.app import create_app
from service.config.settings import Settings
from service.server.http_timeouts import TimeoutProtocol
from triggers.model.classifier import FrozenClassifier
from triggers.store.store import Store

TOKEN = "let-me-in-please"
ADMIN = {"Authorization": f"Bearer {TOKEN}"}


def settings(tmp: Path, **change: Any) -> Settings:
    """Settings of a test service that keeps its data under `tmp`."""
    fields: dict[str, Any] = {
        "data_dir": tmp / "data",
        "admin_token": TOKEN,
        "client_trigger": "open",
        "k_min": 0,
        "groups": "open",
    }
    return Settings(**(fields | change))


@contextmanager
def running(
    settings: Settings, store: Store, classifiers: Sequence[FrozenClassifier], spans: SpanExporter | None = None
) -> Iterator[httpx.Client]:
    """Serve over HTTP while the block runs; yields a client whose base URL is the service."""
    app = create_app(settings, store, classifiers, spans)
    config = uvicorn.Config(
        app, port=0, http=TimeoutProtocol, log_level="warning", access_log=False, timeout_graceful_shutdown=20
    )
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        wait_until(lambda: server.started or not thread.is_alive())
        assert server.started, "the service did not start; see the log"
        port = listening.getsockname()[1]
        with plain_client(f"http://127.0.0.1:{port}") as client:
            yield client
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive(), "the service did not stop"


@dataclass(frozen=True)
class Process:
    """A running `python -m service`."""

    popen: subprocess.Popen[str]
    client: httpx.Client
    log: Path

    def stop(self, sent: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit status."""
        self.popen.send_signal(sent)
        return self.popen.wait(60)


@contextmanager
def process(tmp: Path, models: Sequence[Path], **options: object) -> Iterator[Process]:
    """`python -m service` on a free port, with its store and data under `tmp`; killed when the block ends."""
    chosen = {
        "store": tmp / "store",
        "data_dir": tmp / "data",
        "port": 0,
        "client_trigger": "open",
        "k_min": 0,
        "groups": "open",
    } | options
    command = [sys.executable, "-m", "service"]
    for name, value in [*(("model", model) for model in models), *chosen.items()]:
        command += [f"--{name.replace('_', '-')}", str(value)]
    log = tmp / f"service-{time.monotonic_ns()}.log"
    environment = os.environ | {"FAIRTRIGGER_ADMIN_TOKEN": TOKEN, "OMP_NUM_THREADS": "1"}
    with log.open("w") as out, subprocess.Popen(command, stdout=out, stderr=out, text=True, env=environment) as popen:
        try:
            wait_until(lambda: "docs http" in log.read_text() or popen.poll() is not None, 90)
            found = re.search(r"docs (http://\S+)/docs", log.read_text())
            assert found, log.read_text()
            with plain_client(found[1]) as client:
                yield Process(popen, client, log)
        finally:
            popen.kill()


def plain_client(url: httpx.URL | str) -> httpx.Client:
    """A client for http only: it reads no certificates, which take longer than most requests."""
    return httpx.Client(base_url=url, timeout=30, verify=False)


def wait_until(condition: Callable[[], object], seconds: float = 30.0, every: float = 0.01) -> None:
    """Poll until `condition()` holds; fails after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(every)


def picture(seed: int, size: int = 24, file_format: str = "PNG") -> bytes:
    """A random colour image as a file."""
    return encoded(np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8), file_format)


def encoded(pixels: NDArray[np.uint8], file_format: str = "PNG") -> bytes:
    """Pixels (H, W, 3) as an image file."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format=file_format)
    return out.getvalue()


def as_item(data: bytes | str, **fields: Any) -> dict[str, Any]:
    """One entry of `inputs` in a JSON body."""
    if isinstance(data, str):
        return {"text": data, **fields}
    return {"image": base64.b64encode(data).decode(), **fields}


def predict(client: httpx.Client, model: str, inputs: Sequence[bytes | str], **fields: Any) -> list[dict[str, Any]]:
    """Predictions for some inputs, sent as one JSON request that must succeed."""
    body = {"inputs": [as_item(data) for data in inputs], **fields}
    response = client.post(f"/v1/models/{model}/predict", json=body)
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["predictions"]
    return found


def swap(client: httpx.Client, model: str, champion: str | None, **headers: str) -> httpx.Response:
    """Make a version the champion at the present revision."""
    path = f"/v1/models/{model}/rollout"
    headers = ADMIN | {"If-Match": client.get(path).headers["etag"]} | headers
    return client.put(path, json={"champion": champion, "reason": "test"}, headers=headers)


def decided(client: httpx.Client, model: str, *, params: Any = None, **body: Any) -> httpx.Response:
    """Put a whole rollout document at the present revision."""
    path = f"/v1/models/{model}/rollout"
    headers = ADMIN | {"If-Match": client.get(path).headers["etag"]}
    return client.put(path, json=body, params=params, headers=headers)


def problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Check that a response is this problem, and that the service still answers afterwards."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert "x-request-id" in response.headers
    document: dict[str, Any] = response.json()
    assert (document["status"], document["code"]) == (status, code), document
    assert document["type"] == f"urn:fairtrigger:problem:{code}"
    assert document["error"] == document["detail"] and len(document["detail"]) > 10
    assert "Traceback" not in response.text
    base = response.request.url.copy_with(path="/v1/models/faces/predict", query=None)
    again = httpx.post(base, content=picture(1), headers={"Content-Type": "image/png"}, verify=False)
    assert again.status_code == 200
    return document
