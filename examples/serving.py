"""Starts the real service as its own process for an example, and ends it as an operator would, with SIGTERM."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx


class NotReady(Exception):
    """The service did not come up; the text names its log."""


@dataclass(frozen=True)
class Service:
    """A running service: where it listens and how it is administered."""

    url: str
    token: str
    process: subprocess.Popen[bytes]
    log: Path

    def client(self) -> httpx.Client:
        """An HTTP client of it, with the admin token for those who swap."""
        return httpx.Client(base_url=self.url, timeout=60)


@contextmanager
def running_service(
    bundles: Sequence[Path], *, store: Path, data: Path, token: str, port: int, log: Path, options: Sequence[str] = ()
) -> Iterator[Service]:
    """`python -m service` over model bundles, ready to answer; stopped when the block ends. Raises NotReady."""
    command = [sys.executable, "-m", "service", "--store", str(store), "--data-dir", str(data), "--port", str(port)]
    command += [part for bundle in bundles for part in ("--model", str(bundle))]
    command += ["--drain-seconds", "0", *options]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as sink:
        environment = os.environ | {"FAIRTRIGGER_ADMIN_TOKEN": token}
        process = subprocess.Popen(command, stdout=sink, stderr=sink, env=environment)
    service = Service(f"http://127.0.0.1:{port}", token, process, log)
    try:
        _wait_until_ready(service)
        yield service
    finally:
        process.terminate()
        process.wait(timeout=60)


def _wait_until_ready(service: Service, seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if service.process.poll() is not None:
            break
        try:
            if httpx.get(f"{service.url}/readyz", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    tail = service.log.read_text(errors="replace")[-800:]
    raise NotReady(f"The service did not become ready; its log {service.log} ends with:\n{tail}")
