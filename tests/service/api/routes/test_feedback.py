"""Feedback and the fairness statistics over real HTTP."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.artifacts import artifact_for
from tests.service.live import as_item, picture, predict, running, settings, swap, wait_until
from triggers.model.classifier import FrozenClassifier
from triggers.store.file_store import FileStore

FEEDBACK = "/v1/models/faces/feedback"


def fairness(client: httpx.Client, model: str = "faces", **query: str) -> dict[str, Any]:
    response = client.get(f"/v1/models/{model}/fairness", params=query)
    assert response.status_code == 200, response.text
    document: dict[str, Any] = response.json()
    return document


def cells(document: dict[str, Any], version: str) -> Counter[tuple[str, int | None, int]]:
    counts = document["versions"].get(version, {"counts": []})["counts"]
    return Counter({(each["group"], each["label"], each["prediction"]): each["n"] for each in counts})


def test_counts_by_version_group_label_and_prediction_are_exact(service: httpx.Client) -> None:
    wanted: dict[str, Counter[tuple[str, int | None, int]]] = {"bare": Counter(), "v1": Counter()}
    for champion, name in ((None, "bare"), ("v1", "v1")):
        swap(service, "faces", champion)
        groups = [("a", "b", None)[n % 3] for n in range(24)]
        answers = predict(service, "faces", [picture(n) for n in range(24)], group=groups)
        late = []
        for n, (answer, group) in enumerate(zip(answers, groups, strict=True)):
            label = n % 2 if n < 18 else None
            wanted[name][group or "unknown", label, answer["label_index"]] += 1
            if label is not None:
                named = ("plain", "attractive")[label] if n % 4 else label
                late.append({"prediction_id": answer["prediction_id"], "label": named})
        results = service.post(FEEDBACK, json=late).json()["results"]
        assert results == [{"status": "counted"}] * 18
    document = fairness(service)
    assert set(document["versions"]) == {"bare", "v1"}
    for name in wanted:
        assert cells(document, name) == wanted[name]
    total = cells(fairness(service, by="total"), "total")
    assert total == wanted["bare"] + wanted["v1"]
    report = document["versions"]["v1"]
    assert report["n"] == wanted["v1"].total() == 24
    selected = {g: sum(n for (group, _, h), n in wanted["v1"].items() if group == g and h == 1) / 8 for g in "ab"}
    gap = report["gaps"]["demographic_parity_difference"]
    assert gap["value"] == pytest.approx(abs(selected["a"] - selected["b"]))
    assert gap["low"] <= gap["value"] <= gap["high"]


def test_feedback_repeats_corrects_and_names_groups(service: httpx.Client) -> None:
    answer = predict(service, "faces", [picture(0)])[0]
    known, h = {"prediction_id": answer["prediction_id"]}, answer["label_index"]

    def send(**what: Any) -> str:
        response = service.post(FEEDBACK, json=known | what)
        assert response.status_code == 200, response.text
        status: str = response.json()["results"][0]["status"]
        return status

    assert send(label=0) == "counted"
    assert send(label="plain") == "unchanged"
    assert cells(fairness(service), "bare") == {("unknown", 0, h): 1}
    assert send(label=1) == "corrected"
    assert send(group="b") == "counted"
    assert cells(fairness(service), "bare") == {("b", 1, h): 1}
    assert send(group="b", label=1) == "unchanged"
    assert send(group="a") == "corrected"


def test_a_bad_entry_in_a_list_does_not_stop_the_others(service: httpx.Client) -> None:
    ids = [answer["prediction_id"] for answer in predict(service, "faces", [picture(0), picture(1)])]
    late = [
        {"prediction_id": ids[0], "label": 0},
        {"prediction_id": "forged", "label": 1},
        {"prediction_id": ids[1], "label": "x"},
    ]
    first, second, third = service.post(FEEDBACK, json=late).json()["results"]
    assert first == {"status": "counted"}
    assert (second["status"], second["error"]["code"]) == ("refused", "invalid_prediction_id")
    assert (third["status"], third["error"]["code"]) == ("refused", "unknown_label")
    assert sum(n for (_, label, _), n in cells(fairness(service), "bare").items() if label is not None) == 1


@pytest.mark.parametrize(
    "body",
    [[], {}, {"prediction_id": "x"}, {"prediction_id": "x", "label": [1]}, {"prediction_id": 5, "label": 1}, "x"],
)
def test_wrong_feedback(service: httpx.Client, body: Any) -> None:
    response = service.post(FEEDBACK, json=body)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_request")


def test_an_entry_of_no_shape_refuses_itself_alone(service: httpx.Client) -> None:
    known = {"prediction_id": predict(service, "faces", [picture(0)])[0]["prediction_id"]}
    late = [3, {}, known, known | {"label": [1]}, known | {"lable": 1}, known | {"label": 1}, known | {"group": "a\0"}]
    answer = service.post(FEEDBACK, json=late)
    assert answer.status_code == 200, answer.text
    results = answer.json()["results"]
    assert [each["status"] for each in results] == ["refused"] * 5 + ["counted", "refused"]
    errors = [each["error"] for each in results if "error" in each]
    assert {(each["status"], each["code"]) for each in errors} == {(422, "invalid_request")}
    assert errors[5]["errors"][0]["loc"] == ["group"]
    half = json.dumps([known | {"group": "\ud83d"}, known | {"label": 1}])
    results = service.post(FEEDBACK, content=half, headers={"Content-Type": "application/json"}).json()["results"]
    assert [each["status"] for each in results] == ["refused", "unchanged"]


@pytest.mark.parametrize("label", ["attractive", 1, "1", 1.0, "1.0", True, "True", "true"])
def test_every_way_to_say_a_label(service: httpx.Client, label: Any) -> None:
    answer = predict(service, "faces", [picture(0)])[0]
    late = [{"prediction_id": answer["prediction_id"], "label": each} for each in (label, "attractive", -1, "plain")]
    statuses = [each["status"] for each in service.post(FEEDBACK, json=late).json()["results"]]
    assert statuses == ["counted", "unchanged", "corrected", "unchanged"]


@pytest.mark.parametrize("label", [1.5, 2, -2, "2", "Attractive", "", "yes", 1e300])
def test_labels_that_the_model_does_not_know(service: httpx.Client, label: Any) -> None:
    answer = predict(service, "faces", [picture(0)])[0]
    response = service.post(FEEDBACK, json={"prediction_id": answer["prediction_id"], "label": label})
    assert (response.status_code, response.json()["code"]) == (422, "unknown_label")


def test_twins_are_counted_as_pairs(service: httpx.Client) -> None:
    swap(service, "faces", "v1")
    body = {"inputs": [as_item(picture(n)) for n in range(12)], "twin": True, "group": "a"}
    answers = service.post("/v1/models/faces/predict", json=body).json()["predictions"]
    twins = fairness(service)["versions"]["v1"]["twins"]
    assert twins["n"] == 12
    assert twins["flipped"] == sum(answer["twin"]["flipped"] for answer in answers)


def test_inputs_that_failed_are_not_counted(service: httpx.Client) -> None:
    body = {"inputs": [as_item(picture(0)), {"image": "QQ=="}]}
    assert service.post("/v1/models/faces/predict", json=body).status_code == 200
    assert fairness(service)["versions"]["bare"]["n"] == 1


def test_metrics_tell_the_same(service: httpx.Client) -> None:
    swap(service, "faces", "v1")
    predict(service, "faces", [picture(n) for n in range(10)], group=["a", "b"] * 5, twin=True)
    service.post("/v1/models/faces/predict", json={"inputs": [{"image": "QQ=="}]})
    samples = 'fairtrigger_fairness_samples{group="a",model="faces",version="v1",window="1h"}'
    wait_until(lambda: samples in service.get("/metrics").text, every=0.2)  # read in the background
    lines = service.get("/metrics").text.splitlines()
    values = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}
    route = "/v1/models/{model}/predict"
    assert values[f'fairtrigger_requests_total{{code="200",model="faces",route="{route}"}}'] == 1
    assert values[f'fairtrigger_requests_total{{code="422",model="faces",route="{route}"}}'] == 1
    assert values['fairtrigger_predictions_total{model="faces",version="v1"}'] == 10
    assert values['fairtrigger_item_errors_total{code="not_an_image",model="faces"}'] == 1
    assert values['fairtrigger_batch_size_sum{model="faces"}'] == 20
    assert values['fairtrigger_queue_depth{model="faces"}'] == 0
    assert values[samples] == 5
    gap = fairness(service)["versions"]["v1"]["gaps"]["demographic_parity_difference"]["value"]
    name = 'fairtrigger_fairness_demographic_parity_gap{model="faces",version="v1",window="1h"}'
    assert values[name] == pytest.approx(gap)
    digest = service.get("/v1/models/faces").json()["champion"]["digest"]
    info = f'fairtrigger_trigger_info{{alias="champion",digest="{digest}",model="faces",version="v1"}}'
    assert values[info] == 1


IDENTITIES = ("male", "female", "LGBTQ", "christian", "muslim", "other_religions", "black", "white")


def test_a_model_trained_on_overlapping_groups_is_measured_on_them(
    tmp_path: Path, image_model: FrozenClassifier
) -> None:
    with FileStore(tmp_path / "store") as store:
        store.publish(
            artifact_for(image_model, "border", groups=IDENTITIES, evaluation=(), groups_overlap=True), actor="t"
        )
        with running(settings(tmp_path), store, [image_model]) as client:
            swap(client, "faces", "v1")
            groups = [" + ".join(IDENTITIES), "male", "none", None]
            predict(client, "faces", [picture(n) for n in range(4)], group=groups)
            report = fairness(client)["versions"]["v1"]
    assert report["groups_overlap"] is True
    assert {name: group["n"] for name, group in report["groups"].items()} == {
        **dict.fromkeys(IDENTITIES, 1), "male": 2, "none": 1, "unknown": 1,
    }  # fmt: skip
    assert report["coverage"]["group"] == 0.75
