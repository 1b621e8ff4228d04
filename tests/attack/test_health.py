"""A store that hangs fills up every thread that may wait for it; health checks need none."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.api.pooled_route import ROUTE_THREADS
from tests.artifacts import artifact_for
from tests.redis_servers.server import RedisServer
from tests.service.live import picture, running, settings, wait_until
from triggers.model.classifier import FrozenClassifier
from triggers.store.redis_store import RedisStore

pytestmark = pytest.mark.redis
PROBE_SECONDS = 5.0
"""What the service's Kubernetes files give a probe."""
READERS = 90
"""More than the 40 threads that all plain functions of an application share by default."""


@pytest.fixture
def hung(tmp_path: Path, own_redis: RedisServer, image_model: FrozenClassifier) -> Iterator[httpx.Client]:
    """A service whose store stopped answering, without closing a connection, once it was ready."""
    with RedisStore(own_redis.url) as store:
        store.publish(artifact_for(image_model, "border"), actor="test")
        with running(settings(tmp_path), store, [image_model]) as client:
            own_redis.pause()
            yield client


@pytest.mark.parametrize("path", ["rollout", "history", "triggers"])
def test_health_and_what_needs_no_store_answer_while_many_wait_for_it(
    hung: httpx.Client, own_redis: RedisServer, path: str
) -> None:
    sent, answered, leave = [], [], threading.Event()

    def read() -> None:
        with httpx.Client(base_url=hung.base_url, timeout=60) as own:
            while not leave.is_set():
                sent.append(1)
                own.get(f"/v1/models/faces/{path}")
                answered.append(1)

    readers = [threading.Thread(target=read) for _ in range(READERS)]
    for reader in readers:
        reader.start()
    try:
        wait_until(lambda: len(sent) >= READERS)
        for address in ("/healthz", "/readyz", "/v2/health/live", "/v2/health/ready") * 3:
            began = time.monotonic()
            assert hung.get(address).status_code == 200
            assert time.monotonic() - began < PROBE_SECONDS, address
        assert hung.get("/v1/models/faces/rollout").json()["applied_revision"] == 0
        found = hung.post("/v1/models/faces/predict", content=picture(1), headers={"Content-Type": "image/png"})
        assert found.status_code == 200
        assert path == "rollout" or len(sent) - len(answered) > ROUTE_THREADS, "they did wait for the store"
    finally:
        leave.set()
        own_redis.resume()
        for reader in readers:
            reader.join()
