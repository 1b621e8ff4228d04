"""A real endpoint on loopback that misbehaves on command: a tiny classifier behind V2 over HTTP, in this process.

`python -m tests.commanded_endpoint PORT [SEED]` runs one as a process of its own, well-behaved.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.bundles import SIZE, tiny_network
from triggers.allow_lists import AllowedHosts
from triggers.model import load_bundle
from triggers.model.bundle import BundleSpec, save_bundle
from triggers.model.endpoint.canary import Canary
from triggers.model.endpoint.endpoint_loader import EndpointLoader
from triggers.model.endpoint.endpoint_network import EndpointNetwork
from triggers.model.endpoint.request_rows import canary_inputs, rows_of
from triggers.model.endpoint_classifier import EndpointClassifier


@dataclass
class CommandedEndpoint:
    """`mode` is what it does with the next requests: see `_Handler`. `seed` is which model it is."""

    port: int = 0
    seed: int = 0
    mode: str = "well"
    retry_after: str | None = None
    delay: float = 0.0
    requests: int = 0
    rows: int = 0
    batches: list[int] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    connections: int = 0
    _server: _Server | None = None
    _networks: dict[int, torch.nn.Module] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v2/models/faces/infer"

    def start(self) -> None:
        """Listen, at the port of before if there was one."""
        self._server = _Server(("127.0.0.1", self.port), self)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        """Vanish: nobody listens any more, and every connection is cut."""
        if server := self._server:
            self._server = None
            server.shutdown()
            server.server_close()
            server.cut()

    def cut(self) -> None:
        """Cut every connection; go on listening."""
        assert self._server
        self._server.cut()

    def scores(self, pixels: Tensor) -> Tensor:
        """Outputs (N, 2) of pixels (N, C, H, W) of 0 to 255."""
        if self.seed not in self._networks:
            torch.manual_seed(self.seed)
            self._networks[self.seed] = tiny_network().eval()
        with torch.no_grad():
            return torch.as_tensor(self._networks[self.seed](pixels.float() / 127.5 - 1)) * 4

    def bundle(self, folder: Path, **loader: Any) -> Path:
        """A bundle of the model that it is now."""
        fields = {"kind": "endpoint", "protocol": "v2", "url": self.url, "encoding": "pixels", "input": "x"}
        spec = BundleSpec.model_validate(
            {
                "name": "faces",
                "modality": "image",
                "labels": ["plain", "attractive"],
                "loader": fields | loader,
                "image": {"size": SIZE, "mean": [0.5] * 3, "std": [0.25] * 3},
            }
        )
        assert isinstance(spec.loader, EndpointLoader)
        drawn = torch.Generator().manual_seed(7)
        pixels = torch.randint(0, 256, (8, 3, SIZE, SIZE), generator=drawn, dtype=torch.uint8)
        inputs = canary_inputs(list(pixels))
        network = EndpointNetwork(spec.loader, hosts=AllowedHosts.of_url(self.url))
        save_bundle(folder, spec)
        Canary(inputs, network(rows_of(inputs, spec.image, spec.loader))).save(folder)
        network.connection.close()
        return folder

    def classifier(self, folder: Path, **loader: Any) -> EndpointClassifier:
        """That bundle loaded as the service loads it."""
        hosts = AllowedHosts.of_url(self.url)
        found = load_bundle(self.bundle(folder, **loader), hosts=hosts, ask_endpoint=False)
        assert isinstance(found, EndpointClassifier)
        return found


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], owner: CommandedEndpoint) -> None:
        self.owner, self._open = owner, set[socket.socket]()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.owner.connections += 1
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def cut(self) -> None:
        for each in list(self._open):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that was cut."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def do_POST(self) -> None:
        owner = self.server.owner
        owner.requests += 1
        owner.headers.append(dict(self.headers.items()))
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        given = body["inputs"][0]
        pixels = torch.tensor(given["data"], dtype=torch.uint8).reshape(given["shape"])
        time.sleep(owner.delay)
        mode = owner.mode
        if mode == "cut":
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
        elif mode.isdigit():
            extra = {"retry-after": owner.retry_after} if owner.retry_after else {}
            if mode.startswith("3"):
                extra["location"] = owner.retry_after or ""
            self._send(f"status {mode}".encode(), int(mode), **extra)
        elif mode == "html":
            self._send(b"<html><body>Sign in to the hotel's network</body></html>")
        else:
            self._answer(pixels, mode)

    def _answer(self, pixels: Tensor, mode: str) -> None:
        owner = self.server.owner
        owner.rows += len(pixels)
        owner.batches.append(len(pixels))
        outputs = owner.scores(pixels)
        if mode == "fewer":
            outputs = outputs[:-1]
        elif mode == "wider":
            outputs = outputs.repeat(1, 2)
        elif mode == "nan":
            outputs[0, 0] = torch.nan
        table = {"shape": list(outputs.shape), "datatype": "FP32", "data": outputs.flatten().tolist()}
        if mode == "text":
            table["data"] = ["high"] * outputs.numel()
        body = json.dumps({"model_name": "faces", "outputs": [{"name": "y", **table}]}).encode()
        self._send(body[: len(body) // 2] if mode == "half" else body)

    def _send(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in (headers | {"content-type": "application/json", "content-length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def commanded_endpoint(**fields: Any) -> Iterator[CommandedEndpoint]:
    """One that runs while the block does."""
    endpoint = CommandedEndpoint(**fields)
    endpoint.start()
    try:
        yield endpoint
    finally:
        endpoint.stop()


def main() -> None:
    """Run until killed."""
    torch.set_num_threads(1)
    endpoint = CommandedEndpoint(port=int(sys.argv[1]), seed=int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    endpoint.start()
    threading.Event().wait()


if __name__ == "__main__":
    main()
