"""Observations over real HTTP: what another system predicted is counted once, and everything stands on these counts."""

from __future__ import annotations

import random
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.engine.observation_log import EARLY_SECONDS, LATE_DAYS
from service.ledger.ledger import Ledger
from service.ledger.time_buckets import OBSERVED_DAYS
from tests.artifacts import artifact_for
from tests.bundles import image_bundle
from tests.commanded_endpoint import commanded_endpoint
from tests.service.api.routes.test_feedback import cells, fairness
from tests.service.live import ADMIN, as_item, picture, predict, problem, process, running, settings, swap
from triggers.allow_lists import AllowedHosts
from triggers.api_keys import add_key, new_api_key
from triggers.model import load_bundle
from triggers.model.classifier import FrozenClassifier
from triggers.store.file_store import FileStore

PATH = "/v1/models/faces/observations"
FEEDBACK = "/v1/models/faces/feedback"
LABELS = ("plain", "attractive")


def observe(client: httpx.Client, *items: Any, **headers: str) -> list[dict[str, Any]]:
    response = client.post(PATH, json=list(items), headers=headers)
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["results"]
    return found


def item(observation_id: str, **fields: Any) -> dict[str, Any]:
    return (
        {"observation_id": observation_id, "version": None} | ({} if "scores" in fields else {"prediction": 1}) | fields
    )


def codes(results: list[dict[str, Any]]) -> list[str]:
    return [each["error"]["code"] if "error" in each else each["status"] for each in results]


def stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def test_counts_and_figures_equal_a_recount_by_hand(service: httpx.Client) -> None:
    draw = random.Random(3)
    sent, wanted = [], {"bare": Counter[Any](), "v1": Counter[Any]()}
    flipped = pairs = 0
    for n in range(400):
        version, group, label = draw.choice((None, "v1")), draw.choice("ab"), draw.choice((None, 0, 1))
        score = round(draw.random(), 3)
        told: dict[str, Any] = {"scores": {"attractive": score, "plain": round(1 - score, 3)}}
        h = int(score > 0.5)
        if draw.random() < 0.5:
            told = {"prediction": draw.choice((h, LABELS[h]))}
        if version and draw.random() < 0.5:
            bare = draw.randrange(2)
            told["baseline_prediction"] = bare
            pairs, flipped = pairs + 1, flipped + (bare != h)
        said = {} if label is None else {"label": LABELS[label]}
        sent.append(item(f"n{n}", version=version, group=group, **told, **said))
        wanted[version or "bare"][group, label, h] += 1
    results = observe(service, *sent)
    assert codes(results) == ["counted"] * 400
    again = observe(service, *reversed(sent))  # the answers were lost: everything is told again
    assert codes(again) == ["counted_before"] * 400
    assert [each["prediction_id"] for each in reversed(again)] == [each["prediction_id"] for each in results]
    document = fairness(service)
    assert {name: cells(document, name) for name in document["versions"]} == wanted
    for name, counts in wanted.items():
        report = document["versions"][name]
        rates = [
            sum(n for (g, _, h), n in counts.items() if g == group and h == 1)
            / sum(n for (g, _, _), n in counts.items() if g == group)
            for group in "ab"
        ]
        assert report["n"] == counts.total()
        assert report["gaps"]["demographic_parity_difference"]["value"] == pytest.approx(abs(rates[0] - rates[1]))
    twins = document["versions"]["v1"]["twins"]
    assert (twins["n"], twins["flipped"]) == (pairs, flipped) and pairs > 50
    metrics = service.get("/metrics", headers=ADMIN).text
    for name, version in (("bare", "none"), ("v1", "v1")):
        line = f'fairtrigger_observations_total{{model="faces",version="{version}"}}'
        assert f"{line} {float(wanted[name].total())}" in metrics


def test_labels_and_groups_come_later_with_the_prediction_id(service: httpx.Client) -> None:
    first, second = observe(service, item("a", group="a"), item("b", label="plain"))
    late = [
        {"prediction_id": first["prediction_id"], "label": 0},
        {"prediction_id": second["prediction_id"], "label": 0, "group": "b"},
        {"prediction_id": second["prediction_id"], "label": 1},
    ]
    statuses = [each["status"] for each in service.post(FEEDBACK, json=late).json()["results"]]
    assert statuses == ["counted", "counted", "corrected"]
    assert cells(fairness(service), "bare") == {("a", 0, 1): 1, ("b", 1, 1): 1}
    assert codes(observe(service, item("a", group="a"), item("b", label="plain"))) == ["counted_before"] * 2
    assert cells(fairness(service), "bare") == {("a", 0, 1): 1, ("b", 1, 1): 1}


@pytest.mark.parametrize(
    "changed",
    [
        {"prediction": 0},
        {"version": "v1"},
        {"group": "b"},
        {"group": None},
        {"label": 1},
        {"baseline_prediction": 1},
        {"time": stamp(time.time())},
        {"scores": {"plain": 0.9, "attractive": 0.1}, "prediction": None},
    ],
)
def test_the_same_id_with_other_content_is_refused(service: httpx.Client, changed: dict[str, Any]) -> None:
    said = item("a", group="a")
    assert codes(observe(service, said, said | changed, said)) == ["counted", "observation_differs", "counted_before"]
    problem(service.post(PATH, json=said | changed), 422, "observation_differs")
    assert cells(fairness(service), "bare") == {("a", None, 1): 1, ("unknown", None, 1): 1}  # `problem` predicts


def test_the_same_said_in_other_words_is_the_same(service: httpx.Client) -> None:
    first = observe(service, item("a", version="v1", prediction="attractive", label="plain"))
    other = item("a", version="1", scores={"plain": 0.25, "attractive": 0.75}, label=0)
    (again,) = observe(service, other)
    assert (again["status"], again["prediction_id"]) == ("counted_before", first[0]["prediction_id"])


def test_a_bad_entry_in_a_list_does_not_stop_the_others(service: httpx.Client, image_model: FrozenClassifier) -> None:
    digest = service.get("/v1/models/faces/triggers").json()["triggers"][0]["digest"]
    now = time.time()
    results = observe(
        service,
        item("a", prediction="x"),
        item("a", prediction=None),
        item("a", scores={"plain": 0.5, "attractive": 0.5}, prediction=1),
        item("a", scores={"plain": 1.0}),
        item("a", scores={"plain": 0.5, "attractive": 0.5, "other": 0.0}),
        item("a", scores={"plain": -1.2, "attractive": 2.2}),
        item("a", scores={"plain": 0.4, "attractive": 0.4}),
        item("a", version="v99"),
        item("a", version="champion"),
        item("a", version="v1", digest="sha256:0"),
        item("a", digest=digest),
        item("a", baseline_prediction=0),
        item("a", label="x"),
        item("a", time="2026-02-30T00:00:00Z"),
        item("a", time=now),
        item("a", time="2026-01-01 00:00:00"),
        item("a", time=stamp(now - LATE_DAYS * 86400 - 60)),
        item("a", time=stamp(now + EARLY_SECONDS + 60)),
        {"observation_id": "a", "prediction": 1},
        item(""),
        item("a", lable=1),
        3,
        item("a", version="v1", digest=digest, time=stamp(now - LATE_DAYS * 86400 + 60)),
        item("a", version="v1", digest=digest, time=stamp(now - LATE_DAYS * 86400 + 60)),
    )
    shape = "invalid_request"
    assert codes(results) == [
        "unknown_label",
        *[shape] * 2,
        *["bad_scores"] * 4,
        "unknown_version",
        shape,
        *["digest_differs"] * 2,
        "baseline_differs",
        "unknown_label",
        *[shape] * 3,
        *["time_out_of_window"] * 2,
        *[shape] * 4,
        "counted",
        "counted_before",
    ]
    assert all(each["error"]["detail"] for each in results[:-2])
    assert cells(fairness(service, window="all"), "v1") == {("unknown", None, 1): 1}
    assert LATE_DAYS * 86400 + EARLY_SECONDS < OBSERVED_DAYS * 86400, "an id is known longer than its time is accepted"


@pytest.mark.parametrize("body", [[], {}, "x", 3, item("a", prediction=None), [item("a")] * 10_001])
def test_wrong_observations(service: httpx.Client, body: Any) -> None:
    response = service.post(PATH, json=body)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")


def test_scores_are_decided_by_the_threshold_of_the_model(tmp_path: Path, image_model: FrozenClassifier) -> None:
    spec = image_model.spec.model_copy(update={"threshold": 0.7})
    model = FrozenClassifier(spec, image_model.network)
    with FileStore(tmp_path / "store") as store, running(settings(tmp_path), store, [model]) as client:
        told = [item(f"n{n}", scores={"attractive": n / 10, "plain": 1 - n / 10}) for n in range(11)]
        assert codes(observe(client, *told)) == ["counted"] * 11
        assert cells(fairness(client), "bare") == {("unknown", None, 0): 7, ("unknown", None, 1): 4}


def test_a_version_made_for_another_state_of_the_model_is_refused(
    tmp_path: Path, image_model: FrozenClassifier
) -> None:
    other = FrozenClassifier(image_model.spec.model_copy(update={"threshold": 0.7}), image_model.network)
    with FileStore(tmp_path / "store") as store:
        store.publish(artifact_for(image_model, "border"), actor="test")
        with running(settings(tmp_path), store, [other]) as client:
            assert codes(observe(client, item("a", version="v1"))) == ["unfit_version"]


def test_groups_of_a_new_version_are_known_as_soon_as_it_is_observed(
    tmp_path: Path, image_model: FrozenClassifier
) -> None:
    with FileStore(tmp_path / "store") as store:
        chosen = settings(tmp_path, groups="declared", declared_groups={"faces": ["x"]})
        with running(chosen, store, [image_model]) as client:
            observe(client, item("before", group="a"))
            version = store.publish(artifact_for(image_model, "border"), actor="test")
            named = store.version("faces", version).manifest.groups
            observe(client, item("after", version=f"v{version}", group=named[0]), item("no", group="nobody"))
            document = fairness(client)
    assert cells(document, "bare") == {("undeclared", None, 1): 2}
    assert cells(document, f"v{version}") == {(named[0], None, 1): 1}


def test_its_role_and_whose_observations_the_guard_reads(tmp_path: Path, image_model: FrozenClassifier) -> None:
    roles = {"desk": ("observe", "feedback"), "stranger": ("observe",), "caller": ("predict", "feedback", "statistics")}
    keys = {name: new_api_key(name, given) for name, given in roles.items()}
    for key in keys.values():
        add_key(tmp_path / "keys.toml", key)
    bearer = {name: f"Bearer {key.text}" for name, key in keys.items()}
    chosen = settings(tmp_path, api_keys=tmp_path / "keys.toml", guard_keys=keys["desk"].id)
    with FileStore(tmp_path / "store") as store, running(chosen, store, [image_model]) as client:
        for name, status in (("caller", 403), ("desk", 200)):
            answer = client.post(PATH, json=item("1", group="a"), headers={"Authorization": bearer[name]})
            assert answer.status_code == status
        assert client.post(PATH, json=item("2")).status_code == 401
        desk, stranger = {"Authorization": bearer["desk"]}, {"Authorization": bearer["stranger"]}
        taken = observe(client, item("1", group="a", prediction=0), item("2", group="b"), **stranger)
        assert codes(taken) == ["counted"] * 2, "the ids of trusted keys are apart"
        found = observe(client, item("1", group="a"), item("2", group="b", label=1), **desk)
        assert codes(found) == ["counted_before", "counted"], "nobody else can take an id of theirs"
        late = [{"prediction_id": found[0]["prediction_id"], "label": 1}]
        assert client.post(FEEDBACK, json=late, headers=desk).status_code == 200
        document = client.get("/v1/models/faces/fairness", headers=ADMIN).json()
    assert cells(document, "bare") == {("a", 1, 1): 1, ("a", None, 0): 1, ("b", 1, 1): 1, ("b", None, 1): 1}
    with Ledger(tmp_path / "data" / "ledger.sqlite") as ledger:
        guarded = {cell[3:6]: n for cell, n in ledger.counts("faces/guard", 0, 2**31).items()}
    assert guarded == {("a", 1, 1): 1, ("b", 1, 1): 1}


def test_ids_beyond_the_limit_are_refused_and_known_ones_answered(
    tmp_path: Path, image_model: FrozenClassifier
) -> None:
    with FileStore(tmp_path / "store") as store:
        with running(settings(tmp_path, max_observations=2), store, [image_model]) as client:
            found = observe(client, item("a"), item("b"), item("c"), item("a"))
            assert codes(found) == ["counted", "counted", "overloaded", "counted_before"]
            refused = client.post(PATH, json=item("c"))
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "3600")
            assert "max_observations" in refused.json()["detail"]
            assert fairness(client)["versions"]["bare"]["n"] == 2
        with running(settings(tmp_path, max_observations=3), store, [image_model]) as client:
            assert codes(observe(client, item("a"), item("c"), item("d"))) == [
                "counted_before",
                "counted",
                "overloaded",
            ]


def test_without_statistics_nothing_is_taken(tmp_path: Path, image_model: FrozenClassifier) -> None:
    with FileStore(tmp_path / "store") as store:
        with running(settings(tmp_path, statistics="off"), store, [image_model]) as client:
            problem(client.post(PATH, json=item("a")), 409, "statistics_off")


def test_an_unknown_model_is_a_problem(service: httpx.Client) -> None:
    assert service.post("/v1/models/nobody/observations", json=item("a")).json()["code"] == "unknown_model"


def test_a_model_that_nobody_asks_from_here(tmp_path: Path) -> None:
    """An endpoint that cannot be reached: its rollout is decided and its observations counted all the same."""
    with commanded_endpoint() as endpoint:
        classifier = endpoint.classifier(tmp_path / "faces")
        hosts = AllowedHosts((f"127.0.0.1:{endpoint.port}",))
    with FileStore(tmp_path / "store") as store:
        for seed in (1, 2):
            store.publish(artifact_for(classifier, "border", seed), actor="test")
        alone = load_bundle(tmp_path / "faces", hosts=hosts, ask_endpoint=False)
        with running(settings(tmp_path), store, [alone]) as client:
            assert swap(client, "faces", "v2").status_code == 200
            assert codes(observe(client, item("a", version="v2", group="b", label=1))) == ["counted"]
            assert cells(fairness(client), "v2") == {("b", 1, 1): 1}
            assert client.get("/v1/models/faces/rollout").json()["champion"] == "v2"
            refused = client.post("/v1/models/faces/predict", json={"inputs": [as_item(picture(0))]})
            assert (refused.status_code, refused.json()["code"]) == (503, "endpoint_unavailable")
            assert client.get("/readyz").status_code == 503


def test_ten_thousand_in_one_request(service: httpx.Client) -> None:
    many = [item(f"n{n}", version="v1", group="ab"[n % 2], label=n % 2) for n in range(10_000)]
    assert codes(observe(service, *many)) == ["counted"] * 10_000
    assert codes(observe(service, *many)) == ["counted_before"] * 10_000
    assert cells(fairness(service), "v1") == {("a", 0, 1): 5000, ("b", 1, 1): 5000}


@pytest.mark.process
def test_a_killed_service_counts_nothing_twice(tmp_path: Path) -> None:
    bundle = image_bundle(tmp_path / "bundle")
    told = [item(f"n{n}", group="a") for n in range(50)]
    with process(tmp_path, [bundle]) as first:
        found = observe(first.client, *told[:30])
        first.popen.kill()
        first.popen.wait(30)
    with process(tmp_path, [bundle]) as second:
        again = observe(second.client, *told)
        assert codes(again) == ["counted_before"] * 30 + ["counted"] * 20
        assert [each["prediction_id"] for each in again[:30]] == [each["prediction_id"] for each in found]
        predict(second.client, "faces", [picture(1)], group="a")
        assert fairness(second.client)["versions"]["bare"]["n"] == 51
