"""A running service as its clients see it: start it, send inputs and late labels, swap the trigger, read figures."""

from __future__ import annotations

import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from triggers.errors import DataError, StoreUnavailable

START_SECONDS = 120.0
FEEDBACK_ROWS = 500


@dataclass(frozen=True)
class Row:
    """One held-out input as a client would send it, with what becomes known about it later."""

    content: bytes | str
    label: str
    group: str


@dataclass(frozen=True)
class Traffic:
    """What a replay looked like from outside: requests, seconds in all, and milliseconds of the middle and 99th one."""

    requests: int
    seconds: float
    median_ms: float
    p99_ms: float


class Client:
    """Speaks to one model of a service. `token` opens the admin routes."""

    def __init__(self, url: str, model: str, token: str) -> None:
        self.model = model
        self._http = httpx.Client(
            base_url=f"{url.rstrip('/')}/v1/models/{model}",
            headers={"Authorization": f"Bearer {token}"},
            timeout=60.0,
            limits=httpx.Limits(max_connections=64),
        )

    def swap(self, version: str | None, reason: str) -> None:
        """Make a version the champion, None the bare model, while the service runs."""
        revision = self._ok(self._http.get("/rollout")).headers["ETag"]
        change = {"champion": version, "reason": reason}
        self._ok(self._http.put("/rollout", json=change, headers={"If-Match": revision}))

    def replay(self, rows: Sequence[Row], expect: str | None, clients: int = 8) -> Traffic:
        """Send each row in a request of its own, then labels and groups in bulk. `expect` is the version to answer."""
        began = time.monotonic()
        with ThreadPoolExecutor(clients) as pool:
            answers = list(pool.map(self._predict, rows))
        seconds = time.monotonic() - began
        wrong = {version for _, version, _ in answers} - {expect}
        if wrong:
            raise DataError(f"{expect or 'The bare model'} was to answer, but {sorted(map(str, wrong))} did as well.")
        self._feed_back(rows, [name for name, _, _ in answers])
        times = sorted(taken * 1e3 for _, _, taken in answers)
        return Traffic(len(rows), seconds, times[len(times) // 2], times[len(times) * 99 // 100])

    def fairness(self) -> dict[str, Any]:
        """The service's own statistics of everything it has counted, by version."""
        found: dict[str, Any] = self._ok(self._http.get("/fairness", params={"window": "all", "by": "version"})).json()
        return found

    def _predict(self, row: Row) -> tuple[str, str | None, float]:
        kind = "text/plain; charset=utf-8" if isinstance(row.content, str) else "image/jpeg"
        body = row.content.encode() if isinstance(row.content, str) else row.content
        began = time.monotonic()
        answer = self._ok(self._http.post("/predict", content=body, headers={"Content-Type": kind})).json()
        taken = time.monotonic() - began
        prediction = answer["predictions"][0]
        version = prediction["trigger"].get("version")
        return prediction["prediction_id"], None if version is None else f"v{version}", taken

    def _feed_back(self, rows: Sequence[Row], names: Sequence[str]) -> None:
        items = [
            {"prediction_id": name, "label": row.label, "group": row.group}
            for name, row in zip(names, rows, strict=True)
        ]
        for start in range(0, len(items), FEEDBACK_ROWS):
            self._ok(self._http.post("/feedback", json=items[start : start + FEEDBACK_ROWS]))

    def _ok(self, answer: httpx.Response) -> httpx.Response:
        if answer.is_error:
            raise DataError(f"{answer.request.method} {answer.request.url} gave {answer.status_code}: {answer.text}")
        return answer


@contextmanager
def running_service(
    bundles: Sequence[Path], store: str, data_dir: Path, device: str = "cpu", *, port: int = 0, log: Path | None = None
) -> Iterator[tuple[str, str]]:
    """Start `python -m service`; yields its URL and admin token once it is ready, then ends it.

    Port 0 picks a free one. Without `log` the service writes to this program's own output.
    """
    url, token = f"http://127.0.0.1:{port or _free_port()}", secrets.token_urlsafe()
    options = {"store": store, "data-dir": data_dir, "device": device, "port": url.rpartition(":")[2]}
    command = [sys.executable, "-m", "service", *(f"--{name}={value}" for name, value in options.items())]
    command += [f"--model={bundle}" for bundle in bundles]
    with log.open("wb") if log else nullcontext() as sink:
        process = subprocess.Popen(command, env=_environment(token), stdout=sink, stderr=sink)
    try:
        _wait(process, url, log)
        yield url, token
    finally:
        process.terminate()
        process.wait(timeout=60)


def _environment(token: str) -> dict[str, str]:
    import os

    return {**os.environ, "FAIRTRIGGER_ADMIN_TOKEN": token, "FAIRTRIGGER_LOG_LEVEL": "warning"}


def _wait(process: subprocess.Popen[bytes], url: str, log: Path | None) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/readyz").is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise StoreUnavailable(f"The service at {url} did not become ready; its log, {log or 'above'}, says why.")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
