"""A caller who may predict invents groups, or rows, to spoil the statistics that others and the guard look at."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn

from service.ledger.time_buckets import Level
from service.runtime import ServiceRuntime
from tests.artifacts import artifact_for
from tests.bundles import image_bundle
from tests.service.live import ADMIN, as_item, decided, encoded, picture, running, settings
from triggers.api_keys import add_key, new_api_key
from triggers.model import FrozenClassifier, load_bundle
from triggers.store.file_store import FileStore

PREDICT, FAIRNESS = "/v1/models/faces/predict", "/v1/models/faces/fairness"
INVENTED = [f"invented {n}" for n in range(100)]
RULES = {"max_disparity": 0.1, "alpha": 0.05}
BLACK = np.zeros((8, 8, 3), dtype=np.uint8)
BLUE = BLACK + np.array([0, 0, 255], dtype=np.uint8)
"""What the model of the guard's tests selects, and what it does not."""


def groups_of(client: httpx.Client, **headers: str) -> dict[str, int]:
    """Rows by group, of all versions together."""
    answer = client.get(FAIRNESS, params={"window": "all", "by": "total"}, headers=headers)
    groups = answer.json()["versions"]["total"]["groups"]
    return {name: each["n"] for name, each in groups.items()}


def sent(client: httpx.Client, groups: list[str | None], **headers: str) -> list[str]:
    """Prediction ids of a row for each group."""
    body = {"inputs": [as_item(picture(0))] * len(groups), "group": groups}
    answer = client.post(PREDICT, json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return [each["prediction_id"] for each in answer.json()["predictions"]]


@pytest.mark.parametrize("declared_by", ["manifest", "bundle", "settings"])
def test_invented_groups_take_no_places(tmp_path: Path, image_model: FrozenClassifier, declared_by: str) -> None:
    chosen: dict[str, Any] = {"groups": "declared"}
    with FileStore(tmp_path / "store") as store:
        if declared_by == "manifest":
            store.publish(artifact_for(image_model, "border"), actor="test")
        elif declared_by == "bundle":
            image_model = with_groups(image_model, ("f", "m"))
        else:
            chosen["declared_groups"] = '{"faces": ["f", "m"]}'
        with running(settings(tmp_path, **chosen), store, [image_model]) as client:
            receipts = sent(client, [*INVENTED, "f", "m", None])
            relabelled = {"prediction_id": receipts[-1], "group": "invented late"}
            assert client.post("/v1/models/faces/feedback", json=relabelled).status_code == 200
            assert groups_of(client) == {"f": 1, "m": 1, "undeclared": 101}
            found = client.get(FAIRNESS, params={"window": "all", "by": "total"}).json()
            assert {"code": "undeclared_groups", "group": "undeclared", "n": 101} in found["warnings"]
            total = found["versions"]["total"]
            assert total["coverage"]["group"] == 2 / 103
            assert total["gaps"]["demographic_parity_difference"]["excluded"]["undeclared"] == "undeclared_group"


def with_groups(model: FrozenClassifier, groups: tuple[str, ...]) -> FrozenClassifier:
    spec = model.spec.model_copy(update={"groups": groups})
    return FrozenClassifier(spec, model.network, model.tokenizer)


def test_a_version_published_later_brings_its_groups_before_it_serves(
    tmp_path: Path, image_model: FrozenClassifier
) -> None:
    with FileStore(tmp_path / "store") as store:
        store.publish(artifact_for(image_model, "border", groups=("f", "m")), actor="test")
        with running(settings(tmp_path, groups="declared"), store, [image_model]) as client:
            sent(client, ["x"])
            artifact = artifact_for(image_model, "border", 2, groups=("x",), evaluation=())
            assert decided(client, "faces", champion=f"v{store.publish(artifact, actor='test')}").status_code == 200
            sent(client, ["x", "f"])
            assert groups_of(client) == {"undeclared": 1, "x": 1, "f": 1}


def test_where_nothing_is_declared_only_a_service_for_this_machine_counts_any_name(
    tmp_path: Path, image_model: FrozenClassifier, caplog: pytest.LogCaptureFixture
) -> None:
    reachable = {"host": "0.0.0.0"}
    for n, (change, counted) in enumerate([({}, {"a": 1}), (reachable, {"undeclared": 1})]):
        folder = tmp_path / str(n)
        with FileStore(folder / "store") as store:
            with running(settings(folder, groups="declared", **change), store, [image_model]) as client:
                sent(client, ["a"])
                assert groups_of(client) == counted
    assert "nobody has declared its groups" in caplog.text


@dataclass
class Watched:
    """A service with a guard and two keys: the shop's, and one of somebody who may also predict."""

    client: httpx.Client
    service: ServiceRuntime
    shop: dict[str, str]
    stranger: dict[str, str]
    clock: pytest.MonkeyPatch

    def send_minutes(self, minutes: range, headers: dict[str, str]) -> None:
        """In each minute to come one request, of one group all selected and of the other none."""
        now, unlike = time.time(), {"f": encoded(BLACK), "m": encoded(BLUE)}
        for minute in minutes:
            with self.clock.context() as ahead:
                ahead.setattr(time, "time", lambda minute=minute: now + 60 * minute)
                inputs = [as_item(image, group=group) for group, image in unlike.items()] * 60
                answer = self.client.post(PREDICT, json={"inputs": inputs}, headers=headers)
                assert [each["label_index"] for each in answer.json()["predictions"]] == [1, 0] * 60
        self.service.guard._clock = lambda: now + 60 * (minutes.stop + 2)

    @property
    def fired(self) -> bool:
        return any(each.fired for each in self.service.guard.check("faces"))


@contextmanager
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, trusting: bool) -> Iterator[Watched]:
    kept: list[ServiceRuntime] = []
    config = uvicorn.Config

    def remember(app: Any, **options: Any) -> uvicorn.Config:
        kept.append(app.state.running)
        return config(app, **options)

    monkeypatch.setattr(uvicorn, "Config", remember)
    keys = [new_api_key(name, frozenset({"predict", "feedback", "statistics"})) for name in ("shop", "stranger")]
    for key in keys:
        add_key(tmp_path / "keys.toml", key)
    shop, stranger = ({"Authorization": f"Bearer {key.text}"} for key in keys)
    chosen = settings(
        tmp_path,
        guard=RULES,
        guard_seconds=3600,
        api_keys=tmp_path / "keys.toml",
        guard_keys=keys[0].id if trusting else "",
        declared_groups={"faces": ("f", "m")},
        groups="declared",
    )
    model = load_bundle(image_bundle(tmp_path / "faces", seed=2))
    with FileStore(tmp_path / "store") as store, running(chosen, store, [model]) as client:
        begin = client.put("/v1/models/faces/rollout", json={"champion": None}, headers=ADMIN | {"If-Match": '"0"'})
        assert begin.status_code == 200, "evidence begins with the next minute"
        yield Watched(client, kept[0], shop, stranger, monkeypatch)


def test_a_guard_that_trusts_everybody_is_moved_by_anybody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with watched(tmp_path, monkeypatch, trusting=False) as found:
        found.send_minutes(range(1, 7), found.stranger)
        assert found.fired


def test_a_guard_that_trusts_one_key_is_not_moved_by_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with watched(tmp_path, monkeypatch, trusting=True) as found:
        found.send_minutes(range(1, 7), found.stranger)
        assert not found.fired
        found.send_minutes(range(10, 16), found.shop)
        assert found.fired, "the rows of the key that it trusts"


def test_labels_count_for_the_guard_if_row_and_label_are_of_trusted_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with watched(tmp_path, monkeypatch, trusting=True) as found:
        for row, of_row in (("shop", found.shop), ("stranger", found.stranger)):
            receipts = sent(found.client, ["f", "f"], **of_row)
            for receipt, of_label in zip(receipts, (found.shop, found.stranger), strict=True):
                said = {"prediction_id": receipt, "label": 1, "group": "m"}
                answer = found.client.post("/v1/models/faces/feedback", json=said, headers=of_label)
                assert answer.json()["results"][0]["status"] == "corrected", row
        minute = int(time.time() // 60)
        told = found.service.ledger.series("faces/guard", Level.MINUTE, minute - 5, minute + 5)
        assert {(cell.group, cell.label): n for cell, n in told.items()} == {("m", 1): 1, ("f", None): 1}
        arrived = found.service.ledger.series("faces/guard", Level.ARRIVAL, minute - 5, minute + 5)
        assert {(cell.group, cell.label): n for cell, n in arrived.items()} == {("m", 1): 1}
        assert groups_of(found.client, **found.shop) == {"m": 4}, "everybody's rows are in the statistics"
