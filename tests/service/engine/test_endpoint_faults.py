"""A model behind an endpoint that fails in every way: no wrong answer, a problem document for each, soon well again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.artifacts import artifact_for
from tests.commanded_endpoint import CommandedEndpoint, commanded_endpoint
from tests.service.live import as_item, picture, plain_client, running, settings, swap, wait_until
from triggers.store.file_store import FileStore

RECOVERY_SECONDS = 2.0
PICTURES = [picture(seed) for seed in range(6)]


@dataclass
class Served:
    """A service whose model is at an endpoint, and what every picture's scores are, bare and under v1."""

    client: httpx.Client
    endpoint: CommandedEndpoint
    store: FileStore
    right: dict[tuple[int, int | None], dict[str, float]] = field(default_factory=dict)

    def ask(self, number: int = 0, timeout_ms: int | None = None, **params: Any) -> httpx.Response:
        headers = {"Content-Type": "image/png"} | ({"X-Timeout-Ms": str(timeout_ms)} if timeout_ms else {})
        return self.client.post("/v1/models/faces/predict", content=PICTURES[number], headers=headers, params=params)

    def learn(self) -> None:
        for number in range(len(PICTURES)):
            for version in (None, 1):
                answer = self.ask(number, trigger=f"v{version}" if version else "none")
                assert answer.status_code == 200, answer.text
                self.right[number, version] = answer.json()["predictions"][0]["scores"]

    def check(self, number: int, answer: httpx.Response) -> str:
        """Its code, or `right`; fails if it is wrong."""
        if answer.status_code != 200:
            assert answer.headers["content-type"] == "application/problem+json", answer.text
            assert "127.0.0.1" not in answer.text and "hotel" not in answer.text
            if answer.status_code == 503:
                assert int(answer.headers["retry-after"]) >= 1
            return str(answer.json()["code"])
        found = answer.json()["predictions"][0]
        version = found["trigger"]["version"]
        wanted = self.right[number, None if version is None else int(str(version).lstrip("v"))]
        assert found["scores"] == pytest.approx(wanted, abs=1e-5)
        return "right"

    def codes(self, seconds: float, until: Callable[[], object] = lambda: False) -> list[str]:
        """What clients get one after the other for so long."""
        end, codes = time.monotonic() + seconds, list[str]()
        while time.monotonic() < end and not until():
            number = len(codes) % len(PICTURES)
            codes.append(self.check(number, self.ask(number)))
        return codes

    def ready(self) -> bool:
        return self.client.get("/readyz").status_code == 200

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.client.get("/readyz").json()["models"]["faces"]["endpoint"]
        return found

    def counted(self) -> int:
        report = self.client.get("/v1/models/faces/fairness", headers={"Authorization": "Bearer let-me-in-please"})
        return sum(each["n"] for version in report.json()["versions"].values() for each in version["groups"].values())


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with commanded_endpoint() as endpoint, FileStore(tmp_path / "store") as store:
        classifier = endpoint.classifier(tmp_path / "faces", timeout=0.6, concurrency=3, max_batch=8)
        store.publish(artifact_for(classifier, "border"), actor="test")
        with running(settings(tmp_path, endpoint_check_seconds=30), store, [classifier]) as client:
            found = Served(client, endpoint, store)
            found.learn()
            assert swap(client, "faces", "v1").status_code == 200
            yield found


def recovered(served: Served) -> float:
    """Seconds until a request is answered."""
    began = time.monotonic()
    wait_until(lambda: served.check(0, served.ask()) == "right", RECOVERY_SECONDS + 3)
    return time.monotonic() - began


@pytest.mark.parametrize(
    ("mode", "code"),
    [
        ("html", "endpoint_failed"),
        ("half", "endpoint_failed"),
        ("nan", "endpoint_failed"),
        ("wider", "endpoint_failed"),
        ("fewer", "endpoint_failed"),
        ("text", "endpoint_failed"),
        ("500", "endpoint_failed"),
        ("401", "endpoint_failed"),
        ("503", "endpoint_unavailable"),
        ("cut", "endpoint_unavailable"),
    ],
)
def test_nonsense_is_never_an_answer(served: Served, mode: str, code: str) -> None:
    served.endpoint.mode = mode
    assert served.check(0, served.ask()) == code
    assert set(served.codes(0.4)) <= {code, "endpoint_unavailable"}  # the latter once it counts as away
    wait_until(lambda: not served.ready(), 5)
    assert served.status()["status"] == "away"
    served.endpoint.mode = "well"
    assert recovered(served) < RECOVERY_SECONDS
    wait_until(served.ready, 2)


def test_an_error_for_one_request_leaves_the_others_alone(served: Served) -> None:
    served.endpoint.mode = "422"
    for _ in range(5):
        assert served.check(0, served.ask()) == "endpoint_failed"
    assert served.ready()
    served.endpoint.mode = "well"
    assert served.check(0, served.ask()) == "right"


def test_a_slow_endpoint_costs_no_more_than_the_deadline(served: Served) -> None:
    served.endpoint.delay = 5.0
    began = time.monotonic()
    assert served.check(0, served.ask(timeout_ms=150)) == "deadline_exceeded"
    assert time.monotonic() - began < 1.0
    began = time.monotonic()
    assert served.check(0, served.ask()) == "endpoint_unavailable"
    assert time.monotonic() - began < 2.0
    served.codes(8, until=lambda: not served.ready())
    began = time.monotonic()
    assert served.check(0, served.ask()) == "endpoint_unavailable"
    assert time.monotonic() - began < 0.5  # the circuit is open: nobody waits any more
    served.endpoint.delay = 0.0
    assert recovered(served) < RECOVERY_SECONDS


def test_gone_and_back_under_load(served: Served) -> None:
    codes: list[str] = []
    stop = threading.Event()

    def load(number: int) -> None:
        with plain_client(served.client.base_url) as client:
            while not stop.is_set():
                answer = client.post(
                    "/v1/models/faces/predict",
                    content=PICTURES[number],
                    headers={"Content-Type": "image/png"},
                    params={"group": "f"},
                )
                codes.append(served.check(number, answer))

    before = served.counted()
    threads = [threading.Thread(target=load, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    wait_until(lambda: codes.count("right") > 20)
    served.endpoint.stop()
    wait_until(lambda: not served.ready(), 3)
    asked = served.endpoint.requests
    wait_until(lambda: codes.count("endpoint_unavailable") > 50)
    assert served.endpoint.requests == asked
    served.endpoint.start()
    began, right = time.monotonic(), codes.count("right")
    wait_until(lambda: codes.count("right") > right, 5)
    assert time.monotonic() - began < RECOVERY_SECONDS
    wait_until(served.ready, 2)
    stop.set()
    for thread in threads:
        thread.join(20)
    assert set(codes) == {"right", "endpoint_unavailable"}
    wait_until(lambda: served.counted() - before == codes.count("right"), 5)  # nothing else was counted


def test_another_model_in_its_place_answers_nobody(served: Served) -> None:
    served.endpoint.stop()
    wait_until(lambda: not served.ready() or served.check(0, served.ask()) != "right", 3)
    served.endpoint.seed = 1
    served.endpoint.start()
    wait_until(lambda: served.status()["status"] == "changed", 5)
    assert set(served.codes(0.5)) == {"endpoint_unavailable"}
    assert "canary" in served.status()["reason"]
    served.endpoint.seed = 0
    assert recovered(served) < RECOVERY_SECONDS


def test_it_is_left_alone_for_as_long_as_it_asks(served: Served) -> None:
    served.endpoint.mode, served.endpoint.retry_after = "429", "2"
    answer = served.ask()
    assert served.check(0, answer) == "endpoint_unavailable" and answer.headers["retry-after"] == "2"
    asked, began = served.endpoint.requests, time.monotonic()
    served.endpoint.mode = "well"
    codes = served.codes(5, until=lambda: time.monotonic() - began > 1.2)
    assert set(codes) == {"endpoint_unavailable"} and served.endpoint.requests == asked
    assert served.ready()  # it is not away
    wait_until(lambda: served.check(0, served.ask()) == "right", 5)
    assert 1.8 < time.monotonic() - began < 2.0 + RECOVERY_SECONDS


def test_cut_connections_are_made_anew_without_a_client_noticing(served: Served) -> None:
    for _ in range(3):
        served.endpoint.cut()
        assert served.check(0, served.ask()) == "right"


def test_a_failed_batch_is_not_asked_for_one_by_one(served: Served) -> None:
    served.endpoint.mode = "html"
    items = [as_item(each) for each in PICTURES]
    before = served.endpoint.requests
    body = {"json": {"inputs": items}}
    threads = [
        threading.Thread(target=served.client.post, args=("/v1/models/faces/predict",), kwargs=body) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    canaries = 3
    assert served.endpoint.requests - before <= 3 + canaries


def test_a_service_starts_without_its_endpoint_and_joins_it_when_it_is_there(tmp_path: Path) -> None:
    with commanded_endpoint() as endpoint, FileStore(tmp_path / "store") as store:
        classifier = endpoint.classifier(tmp_path / "faces")
        store.publish(artifact_for(classifier, "border"), actor="test")
        endpoint.stop()
        with running(settings(tmp_path), store, [classifier]) as client:
            served = Served(client, endpoint, store)
            assert not served.ready() and served.client.get("/healthz").status_code == 200
            assert served.status()["status"] == "away" and "refused" in served.status()["reason"]
            assert served.check(0, served.ask()) == "endpoint_unavailable"
            assert swap(client, "faces", "v1").status_code == 200  # triggers are loaded all the same
            card = client.get("/v1/models/faces").json()
            assert card["endpoint"]["status"] == "away" and card["champion"]["version"] == 1
            assert 'fairtrigger_endpoint_status{model="faces",status="away"} 1.0' in client.get("/metrics").text
            endpoint.start()
            wait_until(served.ready, RECOVERY_SECONDS)
            served.learn()
            assert served.check(0, served.ask()) == "right"
