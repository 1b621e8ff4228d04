"""Challenger, shadows and sampled twins over real HTTP: who answers, what is counted, what nobody gets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.service.live import ADMIN, as_item, decided, picture, predict, running, settings, wait_until
from triggers.classifier import FrozenClassifier
from triggers.file_store import FileStore
from triggers.plan import Challenger, Plan, Shadow

PREDICT, ROLLOUT = "/v1/models/faces/predict", "/v1/models/faces/rollout"
PNG = {"Content-Type": "image/png"}
TRIAL = {"champion": "v1", "challenger": {"version": "v2", "share": 0.5}}


def ask(service: httpx.Client, key: str | None = None, **query: str) -> dict[str, Any]:
    headers = PNG | ({"X-Request-Key": key} if key else {})
    answer = service.post(PREDICT, content=picture(0), headers=headers, params=query)
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["predictions"][0])


def fairness(service: httpx.Client, part: str = "versions") -> dict[str, Any]:
    return dict(service.get("/v1/models/faces/fairness", params={"window": "all"}).json()[part])


def test_one_key_always_gets_the_same_version(service: httpx.Client) -> None:
    assert decided(service, "faces", **TRIAL).status_code == 200
    first = {f"user-{n}": ask(service, f"user-{n}") for n in range(24)}
    assert {(each["trigger"]["version"], each["policy"]) for each in first.values()} == {
        (1, "champion"),
        (2, "challenger"),
    }
    for key, answer in first.items():
        again = ask(service, key)
        assert (again["trigger"], again["scores"], again["policy"]) == (
            answer["trigger"], answer["scores"], answer["policy"],
        )  # fmt: skip
    for key in first:
        in_body = predict(service, "faces", [picture(0)], key=key)[0]
        assert in_body["trigger"] == first[key]["trigger"]
    body = {"inputs": [as_item(picture(0), key=key) for key in first], "key": "the item's own key wins"}
    per_item = service.post(PREDICT, json=body).json()["predictions"]
    assert [each["trigger"] for each in per_item] == [each["trigger"] for each in first.values()]


def test_without_a_key_the_request_id_decides_and_else_chance(service: httpx.Client) -> None:
    decided(service, "faces", **TRIAL)
    for n in range(4):
        ids = PNG | {"X-Request-Id": f"user-{n}"}
        by_id = service.post(PREDICT, content=picture(0), headers=ids).json()["predictions"][0]
        assert by_id["trigger"] == ask(service, f"user-{n}")["trigger"]
    assert {ask(service)["policy"] for _ in range(40)} == {"champion", "challenger"}


def test_every_replica_decides_alike(tmp_path: Path, filled_store: FileStore, image_model: FrozenClassifier) -> None:
    filled_store.set_rollout("faces", Plan(1, Challenger(2, 0.5)), if_revision=0, actor="test", reason="")
    found = []
    for name in ("a", "b"):
        with running(settings(tmp_path / name), filled_store, [image_model]) as client:
            found.append([ask(client, f"user-{n}")["trigger"]["version"] for n in range(12)])
    assert found[0] == found[1] and set(found[0]) == {1, 2}


def test_aliases_versions_and_none_are_pinned(service: httpx.Client) -> None:
    refused = service.post(f"{PREDICT}?trigger=challenger", content=picture(0), headers=PNG)
    assert (refused.status_code, refused.json()["code"]) == (422, "no_challenger")
    decided(service, "faces", **TRIAL)
    wanted = {"champion": 1, "challenger": 2, "none": None, "v3": 3}
    for trigger, version in wanted.items():
        for key in ("user-1", "user-2", "user-3"):
            answer = ask(service, key, trigger=trigger)
            assert (answer["trigger"]["version"], answer["policy"]) == (version, "pinned")


def test_only_those_allowed_may_ask_for_the_challenger(
    tmp_path: Path, filled_store: FileStore, image_model: FrozenClassifier
) -> None:
    with running(settings(tmp_path, client_trigger="admin"), filled_store, [image_model]) as client:
        decided(client, "faces", **TRIAL)
        path = f"{PREDICT}?trigger=challenger"
        assert client.post(path, content=picture(0), headers=PNG).status_code == 401
        assert client.post(path, content=picture(0), headers=PNG | ADMIN).status_code == 200
        assert ask(client, "user-1", trigger="champion")["trigger"]["version"] == 1


def test_shadows_are_counted_as_such_and_never_returned(service: httpx.Client) -> None:
    """Every count and label of a shadow stays out of the served versions, its own among them."""
    shadow = {"versions": ["v2", "v3"]}
    decided(service, "faces", champion="v1", shadow=shadow)
    inputs = [picture(seed) for seed in range(6)]
    expected = {v: predict(service, "faces", inputs, trigger=f"v{v}", group="asked") for v in (2, 3)}
    served = predict(service, "faces", inputs, group="a")
    assert {each["trigger"]["version"] for each in served} == {1}
    assert all(set(each) == {"label", "label_index", "scores", "trigger", "policy", "prediction_id"} for each in served)
    versions, shadows = fairness(service), fairness(service, "shadows")
    assert (versions["v1"]["n"], versions["v2"]["n"], versions["v3"]["n"]) == (6, 6, 6)
    assert set(shadows) == {"v2", "v3"}
    for v in (2, 3):
        told = sorted((row["prediction"], row["n"]) for row in shadows[f"v{v}"]["counts"])
        labels = [each["label_index"] for each in expected[v]]
        assert told == sorted((label, labels.count(label)) for label in set(labels))
        assert {row["group"] for row in shadows[f"v{v}"]["counts"]} == {"a"}
    feedback = [{"prediction_id": each["prediction_id"], "label": 1} for each in served]
    for wanted in ("counted", "unchanged"):
        results = service.post("/v1/models/faces/feedback", json=feedback).json()["results"]
        assert [each["status"] for each in results] == [wanted] * 6
    for v in (2, 3):
        right = sum(each["label_index"] == 1 for each in expected[v])
        accuracy = fairness(service, "shadows")[f"v{v}"]["overall"]["accuracy"]
        assert (accuracy["n"], accuracy["value"]) == (6, pytest.approx(right / 6))
    assert fairness(service)["v2"]["overall"]["accuracy"]["n"] == 0
    metrics = service.get("/metrics").text
    assert 'fairtrigger_shadow_predictions_total{model="faces",version="v2"} 6.0' in metrics
    assert 'alias="shadow"' in metrics and 'fairtrigger_predictions_total{model="faces",version="v1"} 6.0' in metrics


def test_a_shadow_that_answers_itself_is_not_computed_twice(service: httpx.Client) -> None:
    challenger = {"version": "v2", "share": 1.0}
    decided(service, "faces", champion="v1", challenger=challenger, shadow={"versions": ["v1", "v2"]})
    answer = service.post(PREDICT, content=picture(0), headers=PNG).json()
    assert answer["predictions"][0]["policy"] == "challenger" and answer["timing"]["batch_size"] <= 3
    assert set(fairness(service, "shadows")) == {"v1"}


def test_sampled_twins_are_counted_and_returned_only_when_asked_for(service: httpx.Client) -> None:
    decided(service, "faces", champion="v1", twin_share=1.0)
    assert all("twin" not in each for each in predict(service, "faces", [picture(n) for n in range(5)]))
    assert fairness(service)["v1"]["twins"]["n"] == 5
    assert all("twin" in each for each in predict(service, "faces", [picture(0)], twin=True))
    predict(service, "faces", [picture(0)], trigger="v1")  # pinned: nothing is sampled beside it
    assert fairness(service)["v1"]["twins"]["n"] == 6


def test_what_is_sampled_gives_way_under_load(
    tmp_path: Path, filled_store: FileStore, image_model: FrozenClassifier
) -> None:
    chosen = settings(tmp_path, queue_size=64, max_items_per_request=32)
    with running(chosen, filled_store, [image_model]) as client:
        decided(client, "faces", champion="v1", shadow={"versions": ["v2", "v3"]}, twin_share=1.0)
        assert len(predict(client, "faces", [picture(0)] * 32)) == 32
        assert fairness(client, "shadows") == {}
        assert 'fairtrigger_shadow_rows_shed_total{model="faces"} 96.0' in client.get("/metrics").text
        predict(client, "faces", [picture(0)] * 4)
        assert fairness(client, "shadows")["v3"]["n"] == 4


def test_put_replaces_the_whole_document_and_rollback_restores_it(service: httpx.Client) -> None:
    full = TRIAL | {
        "shadow": {"versions": ["v3"], "share": 0.25},
        "twin_share": 0.5,
        "guard": {"alpha": 0.05, "max_disparity": 0.1},
    }
    shown = decided(service, "faces", **full).json()
    assert {key: shown[key] for key in full} == full
    bare = decided(service, "faces", champion="v2").json()
    assert (bare["challenger"], bare["shadow"], bare["twin_share"], bare["guard"]) == (None, None, 0, None)
    headers = ADMIN | {"If-Match": '"2"'}
    back = service.post(f"{ROLLOUT}/rollback", headers=headers)
    assert back.status_code == 200 and {key: back.json()[key] for key in full} == full
    assert ask(service, trigger="challenger")["trigger"]["version"] == 2


BAD: dict[str, tuple[dict[str, Any], int, str]] = {
    "same": ({"champion": "v1", "challenger": {"version": "v1", "share": 0.1}}, 422, "bad_rollout"),
    "share": ({"champion": "v1", "challenger": {"version": "v2", "share": 1.1}}, 422, "invalid_request"),
    "no such challenger": ({"champion": "v1", "challenger": {"version": "v9", "share": 0.1}}, 404, "not_found"),
    "no such shadow": ({"champion": "v1", "shadow": {"versions": ["v9"]}}, 404, "not_found"),
    "twice": ({"champion": "v1", "shadow": {"versions": ["v2", "2"]}}, 422, "bad_rollout"),
    "too many": ({"champion": "v1", "shadow": {"versions": ["v1", "v2", "v3", "v4", "v5"]}}, 422, "invalid_request"),
    "unknown": ({"champion": "v1", "canary": "v2"}, 422, "invalid_request"),
    "strange guard": ({"champion": "v1", "guard": {"note": "x" * 5000}}, 422, "invalid_request"),
}


def test_a_bad_document_is_refused_and_changes_nothing(service: httpx.Client) -> None:
    decided(service, "faces", champion="v3")
    before = service.get(ROLLOUT).json()
    for case, (body, status, code) in BAD.items():
        refused = decided(service, "faces", **body)
        assert (refused.status_code, refused.json()["code"]) == (status, code), (case, refused.text)
    after = service.get(ROLLOUT).json()
    assert {**after, "replicas": 0} == {**before, "replicas": 0}


@pytest.mark.parametrize("plan", [Plan(1, Challenger(2, 0.1)), Plan(1, shadow=Shadow((2,)))], ids=["trial", "shadow"])
def test_a_bad_challenger_or_shadow_is_refused_like_a_bad_champion(
    service: httpx.Client, filled_store: FileStore, plan: Plan
) -> None:
    decided(service, "faces", champion="v3")
    path = filled_store.path_of(filled_store.version("faces", 2))
    path.write_bytes(path.read_bytes()[:-1])
    body = TRIAL if plan.challenger else {"champion": "v1", "shadow": {"versions": ["v2"]}}
    refused = decided(service, "faces", **body)
    assert (refused.status_code, refused.json()["code"]) == (422, "artifact_corrupt")
    filled_store.set_rollout("faces", plan, if_revision=1, actor="another replica", reason="")
    wait_until(lambda: service.get(ROLLOUT).json()["refusal"])
    state = service.get(ROLLOUT).json()
    assert (state["revision"], state["applied_revision"], state["refusal"]["version"]) == (2, 1, 2)
    assert ask(service)["trigger"]["version"] == 3
    assert sum(entry.action == "refuse" for entry in filled_store.history("faces")) == 2  # at revisions 1 and 2
    assert decided(service, "faces", champion="v1").json()["refusal"] is None


def test_a_rollout_of_more_versions_than_fit_twice_is_refused(
    tmp_path: Path, filled_store: FileStore, image_model: FrozenClassifier
) -> None:
    with running(settings(tmp_path, max_versions=3), filled_store, [image_model]) as client:
        decided(client, "faces", champion="v1")
        refused = decided(client, "faces", **TRIAL)
        assert (refused.status_code, refused.json()["code"]) == (422, "too_many_versions")
        filled_store.set_rollout("faces", Plan(1, Challenger(2, 0.1)), if_revision=1, actor="cli", reason="")
        wait_until(lambda: client.get(ROLLOUT).json()["refusal"])
        assert "max_versions" in client.get(ROLLOUT).json()["refusal"]["reason"]
