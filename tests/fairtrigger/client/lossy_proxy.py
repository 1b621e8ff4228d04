"""A proxy before a real service that loses answers, turns requests away or fails, as often as it is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx


@dataclass
class LossyProxy:
    """`faults` are used up one a request: "pass", "lose" (done, but never answered), "gateway" (502 of no service), or
    the status, code and Retry-After of a problem. `seen` is what came, `url` its address.
    """

    upstream: httpx.Client
    url: str = ""
    faults: list[str | tuple[int, str, str]] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)


@contextmanager
def lossy_proxy(upstream: httpx.Client) -> Iterator[LossyProxy]:
    """A running proxy."""
    proxy = LossyProxy(upstream)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            proxy.seen.append(f"{self.command} {self.path.rpartition('/')[2]}")
            fault = proxy.faults.pop(0) if proxy.faults else None
            if isinstance(fault, tuple):
                status, code, wait = fault
                problem = json.dumps({"code": code, "detail": "Turned away.", "status": status}).encode()
                return self._answer(status, {"Content-Type": "application/problem+json", "Retry-After": wait}, problem)
            if fault == "gateway":
                return self._answer(502, {"Content-Type": "text/html"}, b"<h1>Bad gateway</h1>")
            headers = {
                name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")
            }
            done = proxy.upstream.request(self.command, self.path, content=body, headers=headers)
            if fault == "lose":
                self.close_connection = True
                return None
            return self._answer(done.status_code, {"Content-Type": done.headers["content-type"]}, done.content)

        def _answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = _handle

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        proxy.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            server.shutdown()
            thread.join()
