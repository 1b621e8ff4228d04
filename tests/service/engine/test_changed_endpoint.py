"""A model that is replaced behind its address while all goes on: said everywhere, and dealt with as the rule says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.artifacts import artifact_for
from tests.commanded_endpoint import CommandedEndpoint, commanded_endpoint
from tests.service.live import as_item, decided, picture, running, settings, swap, wait_until
from triggers.store.file_store import FileStore

Serve = Callable[..., Any]


@contextmanager
def served(tmp: Path, rule: str) -> Iterator[tuple[httpx.Client, CommandedEndpoint, FileStore]]:
    """A service under v1, whose endpoint is asked for its canary all the time."""
    with commanded_endpoint() as endpoint, FileStore(tmp / "store") as store:
        classifier = endpoint.classifier(tmp / "faces", max_batch=8)
        for seed, kind in enumerate(("border", "patch")):
            store.publish(artifact_for(classifier, kind, seed), actor="test")
        chosen = settings(tmp, endpoint_check_seconds=0.05, endpoint_changed=rule)
        with running(chosen, store, [classifier]) as client:
            assert swap(client, "faces", "v1").status_code == 200
            yield client, endpoint, store


def status(client: httpx.Client) -> str:
    return str(client.get("/readyz").json()["models"]["faces"]["endpoint"]["status"])


def ask(client: httpx.Client, **params: str) -> httpx.Response:
    return client.post(
        "/v1/models/faces/predict", content=picture(0), headers={"Content-Type": "image/png"}, params=params
    )


def test_refuse(tmp_path: Path) -> None:
    with served(tmp_path, "refuse") as (client, endpoint, store):
        right = ask(client).json()["predictions"][0]["scores"]
        endpoint.seed = 1
        wait_until(lambda: status(client) == "changed", 5)
        assert client.get("/readyz").status_code == 503
        for trigger in ("champion", "none", "v1"):
            refused = ask(client, trigger=trigger)
            assert (refused.status_code, refused.json()["code"]) == (503, "endpoint_unavailable")
        wait_until(lambda: store.history("faces")[0].actor == "endpoint-watch", 5)
        entry = store.history("faces")[0]
        assert (entry.action, entry.to_version) == ("refuse", 1) and "canary differ" in entry.reason
        assert 'fairtrigger_endpoint_status{model="faces",status="changed"} 1.0' in client.get("/metrics").text
        endpoint.seed = 0
        wait_until(lambda: status(client) == "answers", 5)
        assert ask(client).json()["predictions"][0]["scores"] == pytest.approx(right, abs=1e-6)
        assert client.get("/v1/models/faces/rollout").json()["champion"] == "v1"
        store.verify_history("faces")


def test_withdraw(tmp_path: Path) -> None:
    with served(tmp_path, "withdraw") as (client, endpoint, store):
        plan = {"champion": "v1", "shadow": {"versions": ["v2"]}, "twin_share": 0.5, "reason": "test"}
        assert decided(client, "faces", **plan).status_code == 200
        endpoint.seed = 1
        wait_until(lambda: client.get("/v1/models/faces/rollout").json()["applied_champion"] is None, 5)
        wait_until(lambda: client.get("/readyz").status_code == 200, 5)  # the bare model answers
        answer = ask(client)
        assert answer.status_code == 200 and answer.json()["predictions"][0]["trigger"]["version"] is None
        assert "changed" in answer.json()["fault"]
        refused = ask(client, trigger="v1")
        assert (refused.status_code, refused.json()["code"]) == (503, "endpoint_unavailable")
        entry = store.history("faces")[0]
        assert (entry.action, entry.actor) == ("activate", "endpoint-watch") and "withdrawn" in entry.reason
        assert entry.plan.versions == () and entry.plan.twin_share == 0.5
        endpoint.seed = 0
        wait_until(lambda: status(client) == "answers", 5)
        assert ask(client, trigger="v1").status_code == 200  # but nobody becomes champion by himself
        assert client.get("/v1/models/faces/rollout").json()["champion"] is None
        store.verify_history("faces")


def test_warn(tmp_path: Path) -> None:
    with served(tmp_path, "warn") as (client, endpoint, store):
        assert "fault" not in ask(client).json()
        endpoint.seed = 1
        wait_until(lambda: status(client) == "changed", 5)
        answer = ask(client)
        assert answer.status_code == 200 and answer.json()["predictions"][0]["trigger"]["version"] == 1
        assert "canary differ" in answer.json()["fault"]
        assert client.get("/readyz").status_code == 200
        wait_until(lambda: store.history("faces")[0].actor == "endpoint-watch", 5)


def test_twins_and_shadows_travel_in_the_batch_of_their_input(tmp_path: Path) -> None:
    with served(tmp_path, "refuse") as (client, endpoint, _):
        plan = {"champion": "v1", "shadow": {"versions": ["v2"]}, "reason": "test"}
        assert decided(client, "faces", **plan).status_code == 200
        endpoint.batches.clear()
        body = {"inputs": [as_item(picture(seed), twin=True) for seed in range(2)]}
        answer = client.post("/v1/models/faces/predict", json=body).json()
        assert all(each["twin"]["scores"] != each["scores"] for each in answer["predictions"])
        assert 6 in endpoint.batches  # two inputs, each under its champion, its shadow and none
