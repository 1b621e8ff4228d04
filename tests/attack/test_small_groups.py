"""Somebody with the roles predict, feedback and statistics looks for one person's answer and label."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import httpx
import pytest

from service.event import Cell
from service.ledger import Ledger
from service.ledger_store import Batch
from tests.artifacts import artifact_for
from tests.service.live import ADMIN, as_item, picture, running, settings
from triggers.api_keys import add_key, new_key
from triggers.classifier import FrozenClassifier
from triggers.file_store import FileStore
from triggers.plan import Plan

HOURS, OWN = 150, 30
"""Past hours with a victim each, and the attacker's own rows of every label and prediction."""
RULES = {"max_disparity": 0.1, "alpha": 0.05}
COUNTS = json.dumps({"v1": {"selection_rate": {"tiny-alice": [2, 6]}}})
DETAIL = {
    "e_value": "61.2718",
    "threshold": "20.0",
    "alpha": "0.05",
    "counts": COUNTS,
    "evidence": '{"e_value": 61.2718}',
}
REASON = "rolled back to v2: disparity_above_limit, e-value 61.2718, threshold 20"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, image_model: FrozenClassifier) -> Iterator[FileStore]:
    """Two versions, and a guard that took one out of service for what it saw of six people."""
    with FileStore(tmp_path_factory.mktemp("store")) as opened:
        for seed in (1, 2):
            opened.publish(artifact_for(image_model, "border", seed), actor="test")
        opened.set_rollout("faces", Plan(1), if_revision=0, actor="operator", reason="first")
        opened.set_rollout("faces", Plan(2), if_revision=1, actor="guard", reason=REASON, detail=DETAIL)
        yield opened


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("service")


@pytest.fixture(scope="module")
def attacker(folder: Path, store: FileStore, image_model: FrozenClassifier) -> Iterator[httpx.Client]:
    """Everything but admin, at a service as it is by default, that waits for no late labels."""
    key = new_key("attacker", frozenset({"predict", "feedback", "statistics"}))
    add_key(folder / "keys.toml", key)
    chosen = settings(folder, k_min=11, disclosure_wait_hours=0, api_keys=folder / "keys.toml", guard=RULES)
    with running(chosen, store, [image_model]) as client:
        client.headers["Authorization"] = f"Bearer {key.text}"
        yield client


@pytest.fixture(scope="module")
def victims(folder: Path, attacker: httpx.Client) -> dict[int, tuple[int, int]]:
    """Label and prediction of one victim in each hour, counted by another process among the attacker's own rows."""
    draw, latest = random.Random(1), int(time.time() // 3600) - 2
    found = {60 * (latest - hour): (draw.randrange(2), draw.randrange(2)) for hour in range(HOURS)}
    cells = {
        Cell("faces", minute, 2, "club", y, h, None): OWN + ((y, h) == victim)
        for minute, victim in found.items()
        for y in (0, 1)
        for h in (0, 1)
    }
    with Ledger(folder / "data" / "ledger.sqlite") as other:
        batch = Batch(1, time.time(), cells, frozenset({("faces", "club")}), None)
        other._store.apply(other._run, batch)
    return found


@pytest.mark.parametrize(("rate", "about"), [("selection_rate", lambda y, h: h), ("accuracy", lambda y, h: y == h)])
def test_subtracting_ones_own_rows_gives_nobody_away(
    attacker: httpx.Client, victims: dict[int, tuple[int, int]], rate: str, about: Callable[[int, int], object]
) -> None:
    """Exact counts would give every victim's answer and label; with noise the best guess is often wrong."""
    params = {"window": "7d", "step": "1h"}
    points = attacker.get("/v1/models/faces/fairness/series", params=params).json()["points"]
    right = told = 0
    for point in points:
        minute = int(datetime.fromisoformat(point["since"]).timestamp()) // 60
        found = point["versions"]["v2"]["groups"]["club"][rate]
        if found["value"] is not None:
            hits = found["value"] * found["n"]
            guess = hits - 2 * OWN > (found["n"] - hits) - 2 * OWN
            right, told = right + (guess == bool(about(*victims[minute]))), told + 1
    assert told > HOURS * 0.9
    assert 0.35 * told < right < 0.85 * told


def test_the_history_shows_no_small_counts(attacker: httpx.Client) -> None:
    path = "/v1/models/faces/history"
    told, exact = (attacker.get(path, headers=headers).json()["entries"][0] for headers in ({}, ADMIN))
    assert exact["detail"]["counts"] == COUNTS and exact["reason"] == REASON
    assert told["actor"] == "guard" and told["detail"] == {"threshold": "20.0", "alpha": "0.05"}
    assert told["reason"] == "rolled back to v2: disparity_above_limit, threshold 20"
    assert {**told, "detail": None, "reason": None} == {**exact, "detail": None, "reason": None}
    everywhere = [path, "/v1/models/faces/rollout", "/v1/models/faces/fairness", "/metrics", "/readyz"]
    assert not any(word in attacker.get(each).text for each in everywhere for word in ("tiny-alice", "61.2718"))


def test_no_address_names_a_group_of_one(attacker: httpx.Client) -> None:
    """Every address that can be read, after a prediction and its late label, with a guard that watches."""
    body = {"inputs": [as_item(picture(1))], "group": "tiny-alice", "twin": True}
    (answer,) = attacker.post("/v1/models/faces/predict", json=body).json()["predictions"]
    late = [{"prediction_id": answer["prediction_id"], **known} for known in ({"label": 1}, {"label": 99})]
    told = attacker.post("/v1/models/faces/feedback", json=late).text
    exact = attacker.get("/v1/models/faces/fairness", params={"window": "5m"}, headers=ADMIN).text
    assert "tiny-alice" in exact and "tiny-alice" not in told
    addresses = [path for path, verbs in attacker.get("/openapi.json").json()["paths"].items() if "get" in verbs]
    for address in addresses:
        path = address.format(model="faces", version="v1", model_name="faces", model_version="1")
        assert "{" not in path and "tiny-alice" not in attacker.get(path).text, path
    assert len(addresses) > 12


def test_without_keys_strangers_see_no_small_counts(
    tmp_path: Path, store: FileStore, image_model: FrozenClassifier
) -> None:
    with running(settings(tmp_path), store, [image_model]) as stranger:
        assert "tiny-alice" not in stranger.get("/v1/models/faces/history").text
        assert "tiny-alice" in stranger.get("/v1/models/faces/history", headers=ADMIN).text


def test_metrics_that_follow_one_prediction_are_for_admins(attacker: httpx.Client) -> None:
    names = ("fairtrigger_trigger_flips", "fairtrigger_guard_e_value")
    told, exact = (attacker.get("/metrics", headers=headers).text for headers in ({}, ADMIN))
    assert all(name in exact and name not in told for name in names)
    assert "fairtrigger_guard_threshold" in told
