"""A running service as its clients see it: start it, send inputs and late labels, swap the trigger, read figures."""

from __future__ import annotations

import os
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
from typing import Any, Self

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
class Answer:
    """One answered row: its receipt, the version that computed it (None: no trigger), and how long it took."""

    row: Row
    prediction_id: str
    version: str | None
    seconds: float


@dataclass(frozen=True)
class Traffic:
    """What a replay looked like from outside: requests, seconds in all, and milliseconds of the middle and 99th one."""

    requests: int
    seconds: float
    median_ms: float
    p99_ms: float


class ReplayClient:
    """Speaks to one model of a service. `token` opens the admin routes. A context manager: it closes connections."""

    def __init__(self, url: str, model: str, token: str) -> None:
        self.model = model
        self._http = httpx.Client(
            base_url=f"{url.rstrip('/')}/v1/models/{model}",
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=60.0,
            limits=httpx.Limits(max_connections=64),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def swap(self, version: str | None, reason: str) -> None:
        """Make a version the champion, None the bare model, while the service runs."""
        self.decide(version, reason=reason)

    def decide(self, champion: str | None, **plan: Any) -> None:
        """Put a whole rollout: the champion, and what else the plan says."""
        revision = self._ok(self._http.get("/rollout")).headers["ETag"]
        self._ok(self._http.put("/rollout", json={"champion": champion} | plan, headers={"If-Match": revision}))

    def rollout(self) -> dict[str, Any]:
        """What is decided now."""
        found: dict[str, Any] = self._ok(self._http.get("/rollout")).json()
        return found

    def history(self) -> list[dict[str, Any]]:
        """What was decided, newest first."""
        found: list[dict[str, Any]] = self._ok(self._http.get("/history")).json()["entries"]
        return found

    def replay(self, rows: Sequence[Row], expect: str | None, clients: int = 8) -> Traffic:
        """Send each row in a request of its own, then labels and groups in bulk. `expect` is the version to answer."""
        began = time.monotonic()
        with ThreadPoolExecutor(clients) as pool:
            answers = list(pool.map(self.predict, rows))
        seconds = time.monotonic() - began
        wrong = {answer.version for answer in answers} - {expect}
        if wrong:
            raise DataError(f"{expect or 'The bare model'} was to answer, but {sorted(map(str, wrong))} did as well.")
        self.feed_back(answers)
        times = sorted(answer.seconds * 1e3 for answer in answers)
        return Traffic(len(rows), seconds, times[len(times) // 2], times[len(times) * 99 // 100])

    def fairness(self) -> dict[str, Any]:
        """The service's own statistics of everything it has counted, by version."""
        found: dict[str, Any] = self._ok(self._http.get("/fairness", params={"window": "all", "by": "version"})).json()
        return found

    def predict(self, row: Row, *, with_group: bool = False) -> Answer:
        """Send one row as the file or text that it is; the group goes along only if it is known by then."""
        began = time.monotonic()
        reply = self._ok(
            self._http.post(
                "/predict",
                content=row.content.encode() if isinstance(row.content, str) else row.content,
                headers={"Content-Type": _content_type(row.content)},
                params={"group": row.group} if with_group else None,
            )
        )
        taken = time.monotonic() - began
        prediction = reply.json()["predictions"][0]
        version = prediction["trigger"].get("version")
        return Answer(row, prediction["prediction_id"], None if version is None else f"v{version}", taken)

    def feed_back(self, answers: Sequence[Answer]) -> None:
        """Tell the true labels and groups, later and in bulk."""
        items = [
            {"prediction_id": answer.prediction_id, "label": answer.row.label, "group": answer.row.group}
            for answer in answers
        ]
        for start in range(0, len(items), FEEDBACK_ROWS):
            reply = self._ok(self._http.post("/feedback", json=items[start : start + FEEDBACK_ROWS]))
            refused = [one["error"]["detail"] for one in reply.json()["results"] if one["status"] == "refused"]
            if refused:
                raise DataError(f"{len(refused)} pieces of feedback were refused; the first: {refused[0]}")

    def _ok(self, answer: httpx.Response) -> httpx.Response:
        if answer.is_error:
            raise DataError(f"{answer.request.method} {answer.request.url} gave {answer.status_code}: {answer.text}")
        return answer


def _content_type(content: bytes | str) -> str:
    if isinstance(content, str):
        return "text/plain; charset=utf-8"
    return "image/png" if content.startswith(b"\x89PNG") else "image/jpeg"


@contextmanager
def running_service(
    bundles: Sequence[Path],
    store: str,
    data_dir: Path,
    device: str = "cpu",
    *,
    port: int = 0,
    log: Path | None = None,
    endpoint_hosts: str = "",
) -> Iterator[tuple[str, str]]:
    """Start `python -m service`; yields its URL and admin token once it is ready, then ends it.

    Port 0 picks a free one. Without `log` the service writes to this program's own output. Bundles may ask
    `endpoint_hosts`.
    """
    url, token = f"http://127.0.0.1:{port or _free_port()}", secrets.token_urlsafe()
    options = {"store": store, "data-dir": data_dir, "device": device, "port": url.rpartition(":")[2]}
    options |= {"allow-factories": "examples,fairtrigger.demo", "endpoint-hosts": endpoint_hosts}
    options |= {"k-min": 0}  # whoever runs an example may see its statistics without the token
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
