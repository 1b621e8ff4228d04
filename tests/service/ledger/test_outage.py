"""The ledger's store goes away under load: predictions go on, and everything says what may be missing.

OUTAGE_SECONDS=30 makes it long: `OUTAGE_SECONDS=30 pytest tests/service/ledger/test_outage.py`.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.ledger.events import PredictionEvent
from service.ledger.prediction_id import PredictionIdCodec, new_sealing_key, parse_sealing_key
from tests.redis_servers.server import RedisServer
from tests.service.live import ADMIN, as_item, picture, plain_client, running, settings, wait_until
from triggers.model.classifier import FrozenClassifier
from triggers.store.file_store import FileStore

logger = logging.getLogger(__name__)
SECONDS = float(os.environ.get("OUTAGE_SECONDS", "2"))
PREDICT, FEEDBACK, FAIRNESS = (f"/v1/models/faces/{name}" for name in ("predict", "feedback", "fairness"))


@dataclass
class Load:
    """What clients that never stop predicting were answered."""

    codes: list[int] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    slowest: float = 0.0
    groups: int = 1


@contextmanager
def load(client: httpx.Client, clients: int = 2) -> Iterator[Load]:
    """Predict from several threads while the block runs."""
    found, stop = Load(), threading.Event()

    def work(number: int) -> None:
        inputs = [as_item(picture(number)) for _ in range(2)]
        with plain_client(client.base_url) as own:
            while not stop.is_set():
                body = {"inputs": inputs, "group": ["a", f"group {len(found.codes) % found.groups}"]}
                began = time.monotonic()
                response = own.post(PREDICT, json=body)
                found.slowest = max(found.slowest, time.monotonic() - began)
                found.codes.append(response.status_code)
                found.ids += [each["prediction_id"] for each in response.json()["predictions"]]
                time.sleep(0.005)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield found
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.fixture
def client(tmp_path: Path, own_redis: RedisServer, image_model: FrozenClassifier) -> Iterator[httpx.Client]:
    chosen = settings(
        tmp_path,
        ledger=own_redis.url,
        ledger_seconds=0.3,
        ledger_cells=16,
        flush_seconds=0.05,
        receipt_keys=(new_sealing_key(),),
    )
    with FileStore(tmp_path / "store") as store, running(chosen, store, [image_model]) as found:
        yield found


def statistics(client: httpx.Client) -> dict[str, Any]:
    response = client.get(FAIRNESS, headers=ADMIN)
    assert response.status_code == 200, response.text
    document: dict[str, Any] = response.json()
    return document


def counted(document: dict[str, Any]) -> int:
    return sum(int(version["n"]) for version in document["versions"].values())


@pytest.mark.redis
@pytest.mark.slow
def test_a_store_that_hangs_stops_no_prediction(client: httpx.Client, own_redis: RedisServer) -> None:
    with load(client) as found:
        wait_until(lambda: len(found.ids) > 20)
        before = statistics(client)
        assert not before["stale"] and before["possible_loss"] is None
        own_redis.pause()
        found.groups = 40  # more than may wait
        try:
            time.sleep(SECONDS)
            answered = len(found.codes)
            refused = client.post(FEEDBACK, json={"prediction_id": found.ids[0], "label": 1})
            stale = statistics(client)
            wait_until(lambda: len(found.codes) > answered + 5)
        finally:
            own_redis.resume()
        wait_until(lambda: not statistics(client)["stale"])
        accepted = client.post(FEEDBACK, json={"prediction_id": found.ids[0], "label": 1})
    assert set(found.codes) == {200} and found.slowest < 5
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert refused.json()["code"] == "store_unavailable"
    assert stale["stale"] and stale["as_of"] <= time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + "Z"
    assert counted(stale) >= counted(before)
    assert stale["possible_loss"]["dropped"] > 0 and "dropped" in stale["possible_loss"]["reasons"]
    assert accepted.json()["results"] == [{"status": "counted"}]
    wait_until(lambda: counted(statistics(client)) + lost(client) == len(found.ids))
    logger.warning(
        "%d requests, slowest %.3f s; %d of %d predictions dropped",
        len(found.codes), found.slowest, lost(client), len(found.ids),
    )  # fmt: skip


def lost(client: httpx.Client) -> int:
    loss = statistics(client)["possible_loss"]
    return int(loss["dropped"]) if loss else 0


@pytest.mark.redis
def test_a_store_that_lost_everything_is_noticed(client: httpx.Client, own_redis: RedisServer) -> None:
    body = {"inputs": [as_item(picture(1))], "group": "a"}
    client.post(PREDICT, json=body)
    wait_until(lambda: counted(statistics(client)) == 1)
    own_redis.kill()
    assert client.post(PREDICT, json=body).status_code == 200
    assert statistics(client)["stale"] or counted(statistics(client)) == 1
    own_redis.start()
    wait_until(lambda: counted(statistics(client)) == 1)
    assert statistics(client)["possible_loss"]["reasons"] == ["store_reset"]


def test_a_label_after_years_is_refused(tmp_path: Path, image_model: FrozenClassifier) -> None:
    key = new_sealing_key()
    old = PredictionEvent("faces", int(time.time() // 60) - 401 * 1440, 1, 1)
    with FileStore(tmp_path / "store") as store:
        with running(settings(tmp_path, receipt_keys=(key,)), store, [image_model]) as client:
            body = {"prediction_id": PredictionIdCodec([parse_sealing_key(key, "here")]).seal(old), "label": 1}
            response = client.post(FEEDBACK, json=body)
            assert (response.status_code, response.json()["code"]) == (422, "label_too_late")


def test_without_statistics_nothing_is_counted(tmp_path: Path, image_model: FrozenClassifier) -> None:
    with FileStore(tmp_path / "store") as store:
        with running(settings(tmp_path, statistics="off"), store, [image_model]) as client:
            answer = client.post(PREDICT, json={"inputs": [as_item(picture(1))]}).json()["predictions"][0]
            assert answer["prediction_id"] is None
            response = client.post(FEEDBACK, json={"prediction_id": "any", "label": 1})
            assert (response.status_code, response.json()["code"]) == (409, "statistics_off")
            assert statistics(client)["versions"] == {}


def test_others_than_operators_see_no_few_people(tmp_path: Path, image_model: FrozenClassifier) -> None:
    """Over HTTP: neither the statistics nor the metrics name a group or count that was not disclosed."""
    with FileStore(tmp_path / "store") as store:
        with running(settings(tmp_path, k_min=11), store, [image_model]) as client:
            body = {"inputs": [as_item(picture(n)) for n in range(4)], "group": "the only one", "twin": True}
            assert client.post(PREDICT, json=body).status_code == 200
            assert counted(statistics(client)) == 4
            everybody = client.get(FAIRNESS, params={"window": "24h"})
            assert everybody.json()["versions"] == {}
            terms = {"k_min": 11, "period_minutes": 60, "wait_hours": 24, "epsilon": 1.0, "delta": 1e-6}
            assert everybody.json()["disclosure"] == terms
            assert "the only one" not in everybody.text + client.get("/metrics").text
            short = client.get(FAIRNESS, params={"window": "5m"})
            assert (short.status_code, short.json()["code"]) == (422, "window_not_public")
            wrong = client.get(FAIRNESS, headers={"Authorization": "Bearer not-the-token"})
            assert wrong.json()["versions"] == {}
