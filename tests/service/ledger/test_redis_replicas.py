"""Three services on one Redis under load: swaps, a recount, a killed replica, a Redis that crashes and comes back.

REPLICA_SECONDS=5 REPLICA_SWAP=1 makes it long and strict; `pytest -s -m soak` shows the figures.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from service.ledger.redis_ledger import RedisLedger
from tests.artifacts import IMAGE_KINDS, artifact_for
from tests.bundles import image_bundle
from tests.redis_servers.server import RedisServer
from tests.service.live import Process, picture, plain_client, predict, process, swap, wait_until
from triggers.model import load_bundle
from triggers.store.store import Store, open_store

pytestmark = [pytest.mark.redis, pytest.mark.soak]
SECONDS = float(os.environ.get("REPLICA_SECONDS", "1"))
SLOWEST = float(os.environ.get("REPLICA_SWAP", "3"))
"""Seconds that a swap may take to reach all: 1 on a quiet machine; the services poll every 10 s only."""
FLUSH = 0.5
KEY = "0123456789abcdef0123456789abcdef0123456789a="
PICTURES = [picture(seed) for seed in range(4)]


class Caller(threading.Thread):
    """Asks one replica, and the next one if that does not answer, as a load balancer does, until told to stop."""

    def __init__(self, replicas: list[Process], first: int) -> None:
        super().__init__()
        self.stop = threading.Event()
        self.answers: list[tuple[float, int, int | None]] = []  # when, by which replica, under which version
        self.lost = 0
        self._urls = [each.client.base_url for each in replicas]
        self._first = first
        self.start()

    def run(self) -> None:
        with ExitStack() as stack:
            clients = [stack.enter_context(plain_client(url)) for url in self._urls]
            for turn in itertools.count():
                if self.stop.is_set():
                    return
                self._ask(clients, PICTURES[turn % len(PICTURES)])

    def _ask(self, clients: list[httpx.Client], image: bytes) -> None:
        for k in range(len(clients)):
            place = (self._first + k) % len(clients)
            try:
                prediction = predict(clients[place], "faces", [image])[0]
            except (httpx.HTTPError, AssertionError):
                continue
            self.answers.append((time.monotonic(), place, prediction["trigger"]["version"]))
            return
        self.lost += 1


@contextmanager
def load(replicas: list[Process]) -> Iterator[list[Caller]]:
    callers = [Caller(replicas, first) for first in range(len(replicas))]
    yield callers
    for caller in callers:
        caller.stop.set()
    for caller in callers:
        caller.join(60)


def recount(answered: list[Caller]) -> Counter[int | None]:
    return Counter(version for caller in answered for _, _, version in caller.answers)


@pytest.fixture
def durable_redis(tmp_path: Path) -> Iterator[RedisServer]:
    folder = tmp_path / "redis"
    folder.mkdir()
    server = RedisServer(folder, durable=True)
    yield server
    server.kill()


@pytest.fixture
def replicas(durable_redis: RedisServer, tmp_path: Path) -> Iterator[list[Process]]:
    bundle = image_bundle(tmp_path / "bundle")
    with open_store(durable_redis.url) as store:
        for seed, kind in enumerate(tuple(IMAGE_KINDS)[:3]):
            store.publish(artifact_for(load_bundle(bundle), kind, seed), actor="test")
    url = durable_redis.url
    facts = {"store": url, "ledger": url, "receipt_keys": KEY, "flush_seconds": FLUSH, "poll_seconds": 10.0}
    facts["heartbeat_seconds"] = 0.5
    renamed = {"receipt_key" if name == "receipt_keys" else name: value for name, value in facts.items()}
    with ExitStack() as stack:
        folders = [tmp_path / f"replica-{n}" for n in range(3)]
        for folder in folders:
            folder.mkdir()
        yield [
            stack.enter_context(process(folder, [bundle], data_dir=folder / "data", **renamed)) for folder in folders
        ]


class Counts:
    """What the ledger holds now, by version."""

    def __init__(self, server: RedisServer, folder: Path) -> None:
        self._store = RedisLedger(server.url, 5.0, folder)

    def __call__(self) -> Counter[int | None]:
        found: Counter[int | None] = Counter()
        for cell, n in self._store.counts("faces", 0, 2**31).items():
            found[cell.version] += n
        return found

    def settle(self, wanted: Counter[int | None], seconds: float = 20) -> Counter[int | None]:
        """Wait until they are what is wanted, or say what they are."""
        end = time.monotonic() + seconds
        while self() != wanted and time.monotonic() < end:
            time.sleep(0.1)
        return self()


def reached(replicas: list[Process], revision: int) -> bool:
    states = [each.client.get("/readyz").json()["models"]["faces"] for each in replicas]
    return {state["applied_revision"] for state in states} == {revision}


def swap_under_load(replicas: list[Process]) -> list[float]:
    """Swap again and again; returns how long each took to reach all replicas, which poll every 10 s only."""
    took = []
    for n in range(max(4, int(SECONDS))):
        started = time.monotonic()
        assert swap(replicas[n % 3].client, "faces", f"v{n % 3 + 1}").status_code == 200
        wait_until(lambda wanted=n + 1: reached(replicas, wanted))  # type: ignore[misc]
        took.append(time.monotonic() - started)
        time.sleep(SECONDS / 4)
    return took


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def check_store(url: str) -> None:
    store: Store
    with open_store(url) as store:
        assert store.verify_history("faces") > 3


def test_three_replicas_and_one_redis(replicas: list[Process], durable_redis: RedisServer, tmp_path: Path) -> None:
    counts = Counts(durable_redis, tmp_path / "watching")
    with load(replicas) as callers:
        took = swap_under_load(replicas)
    expected = recount(callers)
    assert sum(caller.lost for caller in callers) == 0
    assert max(took) < SLOWEST, took
    assert counts.settle(expected) == expected
    say(f"{expected.total()} predictions, slowest of {len(took)} swaps {max(took):.3f} s, counted {counts()}")

    with load(replicas) as callers:  # one replica is killed
        time.sleep(SECONDS)
        replicas[2].popen.kill()
        killed = time.monotonic()
        time.sleep(SECONDS)
    assert sum(caller.lost for caller in callers) == 0
    answered = recount(callers)
    doubtful = sum(1 for caller in callers for when, by, _ in caller.answers if by == 2 and when > killed - 2 * FLUSH)
    counts.settle(expected + answered, 5)
    before = counts()
    missing = (expected + answered).total() - before.total()
    say(f"replica killed: {answered.total()} predictions, {missing} not counted, at most {doubtful} may be")
    assert -3 <= missing <= doubtful + 1  # three were being answered

    living = replicas[:2]
    with load(living) as callers:  # Redis crashes and comes back with its append-only file
        time.sleep(SECONDS)
        durable_redis.kill()
        time.sleep(SECONDS)
        durable_redis.start()
        time.sleep(SECONDS)
    assert sum(caller.lost for caller in callers) == 0
    expected = before + recount(callers)
    assert counts.settle(expected, 60) == expected
    say(f"Redis killed and started: {recount(callers).total()} predictions, all counted")
    check_store(durable_redis.url)
    swapped = swap(living[0].client, "faces", "v1")
    assert swapped.status_code == 200
    wait_until(lambda: reached(living, swapped.json()["revision"]), 10)
    assert {predict(each.client, "faces", PICTURES[:1])[0]["trigger"]["version"] for each in living} == {1}
