"""Clients, probes and swaps that keep a service busy and write down what came of each request."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from benchmarks.life_models import body
from tests.service.live import ADMIN

GROUPS = ("f", "m")
ANSWER_SECONDS = 5.0
"""How long a request may take, whatever happens."""
BROKEN, REFUSED, UNANSWERED = "broken", "refused", "unanswered"
"""Instead of a status: the connection broke, nobody listened, nothing came in time."""
ROLLOUT = "/v1/models/faces/rollout"

Outcome = int | str


@dataclass(frozen=True)
class Answer:
    """What became of one request: its kind, when it was sent (time.monotonic), seconds, the status or what else."""

    kind: str
    at: float
    seconds: float
    outcome: Outcome
    group: str | None = None


def ask(address: str, method: str, path: str, content: bytes | None = None, /, **headers: str) -> tuple[Outcome, bytes]:
    """One request over a connection of its own."""
    connection = http.client.HTTPConnection(address, timeout=ANSWER_SECONDS)
    try:
        return _exchange(connection, method, path, content, headers)
    finally:
        connection.close()


def _exchange(
    connection: http.client.HTTPConnection, method: str, path: str, content: bytes | None, headers: dict[str, str]
) -> tuple[Outcome, bytes]:
    try:
        connection.request(method, path, content, headers)
        reply = connection.getresponse()
        return reply.status, reply.read()
    except TimeoutError:
        return UNANSWERED, b""
    except ConnectionRefusedError:
        return REFUSED, b""
    except (OSError, http.client.HTTPException):
        return BROKEN, b""


@dataclass
class Traffic:
    """Everything that was asked of the service at `address`, in the order of the answers."""

    address: str
    answers: list[Answer] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    threads: list[threading.Thread] = field(default_factory=list)

    def predict(self, number: int) -> None:
        """A client on one connection, as long as it holds."""
        group = GROUPS[number % len(GROUPS)]
        content, headers = body(group=group), {"Content-Type": "application/json"}
        connection = http.client.HTTPConnection(self.address, timeout=ANSWER_SECONDS)
        while not self.stop.wait(0.02):
            at = time.monotonic()
            outcome, _ = _exchange(connection, "POST", "/v1/models/faces/predict", content, headers)
            self.answers.append(Answer("predict", at, time.monotonic() - at, outcome, group))
            if isinstance(outcome, str):
                connection.close()
        connection.close()

    def probe(self, path: str, every: float) -> None:
        """What Kubernetes does: a fresh connection each time."""
        while not self.stop.wait(every):
            at = time.monotonic()
            outcome, _ = ask(self.address, "GET", path)
            self.answers.append(Answer(path, at, time.monotonic() - at, outcome))

    def swap(self, every: float) -> None:
        """Make v1 and v2 the champion in turn."""
        number = 0
        while not self.stop.wait(every):
            number += 1
            at = time.monotonic()
            outcome, found = ask(self.address, "GET", ROLLOUT)
            self.answers.append(Answer("GET rollout", at, time.monotonic() - at, outcome))
            if outcome != 200:
                continue
            headers = ADMIN | {"If-Match": f'"{json.loads(found)["revision"]}"', "Content-Type": "application/json"}
            change = json.dumps({"champion": f"v{1 + number % 2}", "reason": "chaos"}).encode()
            at = time.monotonic()
            outcome, _ = ask(self.address, "PUT", ROLLOUT, change, **headers)
            self.answers.append(Answer("PUT rollout", at, time.monotonic() - at, outcome))

    def finish(self) -> None:
        """Ask nothing more, and wait for the answers."""
        self.stop.set()
        for thread in self.threads:
            thread.join(3 * ANSWER_SECONDS)

    def between(self, begin: float, end: float) -> list[Answer]:
        """What was sent after `begin` and before `end`."""
        return [answer for answer in list(self.answers) if begin <= answer.at < end]


@contextmanager
def traffic(address: str, clients: int) -> Iterator[Traffic]:
    """So many clients, a probe of /healthz and of /metrics, and swaps, until the block ends."""
    found = Traffic(address)
    jobs: list[tuple[Callable[..., None], Sequence[Any]]] = [(found.predict, (number,)) for number in range(clients)]
    jobs += [(found.probe, ("/healthz", 0.5)), (found.probe, ("/metrics", 1.0)), (found.swap, (0.7,))]
    found.threads += [threading.Thread(target=job, args=given, daemon=True) for job, given in jobs]
    for thread in found.threads:
        thread.start()
    try:
        yield found
    finally:
        found.finish()


def summary(answers: Sequence[Answer]) -> str:
    """Predictions by outcome, and the slowest answer of each kind that took over a second."""
    outcomes = Counter(str(answer.outcome) for answer in answers if answer.kind == "predict")
    slow: dict[str, float] = {}
    for answer in answers:
        slow[answer.kind] = max(slow.get(answer.kind, 0.0), answer.seconds)
    parts = [f"{count} x {outcome}" for outcome, count in sorted(outcomes.items())]
    parts += [f"{kind} took {seconds:.1f} s" for kind, seconds in sorted(slow.items()) if seconds > 1]
    return ", ".join(parts)
