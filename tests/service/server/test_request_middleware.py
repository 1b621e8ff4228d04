"""One middleware stands around every request, whatever answers it and however the answer is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from service.fairness.monitor import FairnessMonitor
from tests.service.live import as_item, picture, problem, running, settings
from triggers.model.classifier import FrozenClassifier
from triggers.store.file_store import FileStore

PREDICT = "/v1/models/faces/predict"
FAIRNESS = "/v1/models/faces/fairness"
ABOUT = {"cache-control", "content-security-policy", "referrer-policy", "traceparent", "x-content-type-options"}


def test_a_fault_of_any_route_is_named_guarded_and_counted(
    tmp_path: Path, image_model: FrozenClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: FairnessMonitor, *arguments: Any, **options: Any) -> None:
        raise LookupError("a secret of the service")

    monkeypatch.setattr(FairnessMonitor, "fairness_report", broken)
    with FileStore(tmp_path / "store") as store, running(settings(tmp_path), store, [image_model]) as client:
        found = client.get(FAIRNESS, headers={"X-Request-Id": "order-7"})
        assert problem(found, 500, "internal_error") and "secret" not in found.text
        assert found.headers["x-request-id"] == "order-7" and set(found.headers) > ABOUT
        counted = f'code="500",model="faces",route="{FAIRNESS.replace("faces", "{model}")}"'
        assert counted in client.get("/metrics").text


def test_every_way_to_answer_tells_the_same_about_itself(strict: httpx.Client) -> None:
    body, wrong = {"inputs": [as_item(picture(1))]}, {"Host": "elsewhere.example"}
    answers = [
        strict.post(PREDICT, json=body),
        strict.post(PREDICT, json={}),
        strict.post(PREDICT, json=body, headers=wrong),
        strict.get("/v1/models", headers=wrong),
        strict.get(FAIRNESS),
        strict.get("/nowhere"),
        strict.get("/docs"),
    ]
    assert [answer.status_code for answer in answers] == [200, 422, 421, 421, 200, 404, 200]
    for answer in answers:
        assert set(answer.headers) > ABOUT | {"x-request-id"}, answer.url
        assert answer.headers.get_list("x-content-type-options") == ["nosniff"], "once"


def test_a_refused_prediction_is_counted_as_one(strict: httpx.Client) -> None:
    line = 'code="421",model="faces",route="/v1/models/{model}/predict"'
    problem(strict.post(PREDICT, json={}, headers={"Host": "elsewhere.example"}), 421, "unknown_host")
    assert line in strict.get("/metrics").text


def test_head_is_get_without_its_body(strict: httpx.Client) -> None:
    paths = ["/healthz", "/readyz", "/metrics", "/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/faces/ready"]
    paths += ["/v1/models", "/v1/models/faces", "/v1/models/faces/rollout", FAIRNESS, "/docs", "/dashboard", "/nowhere"]
    for path in paths:
        got, head = strict.get(path), strict.head(path)
        assert (head.status_code, head.content) == (got.status_code, b""), path
        assert set(head.headers) == set(got.headers)
        assert path == "/metrics" or head.headers["content-length"] == got.headers["content-length"]
        assert head.headers["content-type"] == got.headers["content-type"]
    assert 'route="/healthz"' in strict.get("/metrics").text


def test_head_of_what_cannot_be_got(strict: httpx.Client) -> None:
    answer = strict.head(PREDICT)
    assert (answer.status_code, answer.headers["allow"], answer.content) == (405, "POST", b"")
    assert strict.post("/healthz").headers["allow"] == "GET, HEAD"
