"""The OpenAPI document is complete: every route, every body, every reference, errors included."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import pytest

from service.api.schemas import PredictRequest
from service.api.schemas_fairness import FairnessOut
from service.api.schemas_rollout import RolloutChange
from tests.service.live import ADMIN, decided, picture, predict

ROUTES = {
    ("post", "/v1/models/{model}/predict"),
    ("post", "/v1/models/{model}/feedback"),
    ("post", "/v1/models/{model}/observations"),
    ("get", "/v1/models/{model}/fairness"),
    ("get", "/v1/models/{model}/fairness/series"),
    ("get", "/v1/models"),
    ("get", "/v1/models/{model}"),
    ("get", "/v1/models/{model}/triggers"),
    ("get", "/v1/models/{model}/triggers/{version}"),
    ("get", "/v1/models/{model}/triggers/{version}/preview.png"),
    ("get", "/v1/models/{model}/triggers/{version}/tokens"),
    ("get", "/v1/models/{model}/rollout"),
    ("put", "/v1/models/{model}/rollout"),
    ("post", "/v1/models/{model}/rollout/rollback"),
    ("get", "/v1/models/{model}/history"),
    ("get", "/healthz"),
    ("get", "/readyz"),
    ("get", "/metrics"),
    ("get", "/v2"),
    ("get", "/v2/health/live"),
    ("get", "/v2/health/ready"),
    ("get", "/v2/models/{model}"),
    ("get", "/v2/models/{model}/ready"),
    ("get", "/v2/models/{model}/versions/{version}"),
    ("get", "/v2/models/{model}/versions/{version}/ready"),
    ("post", "/v2/models/{model}/infer"),
    ("post", "/v2/models/{model}/versions/{version}/infer"),
}


@pytest.fixture(scope="module")
def document(strict: httpx.Client) -> dict[str, Any]:
    found: dict[str, Any] = strict.get("/openapi.json").json()
    return found


def test_every_route_is_described(document: dict[str, Any]) -> None:
    described = {(method, path) for path, methods in document["paths"].items() for method in methods}
    assert described == ROUTES
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"] and operation["description"], (method, path)
            assert {"4XX", "5XX"} <= set(operation["responses"])


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    names = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document)))
    assert names <= set(document["components"]["schemas"])
    assert "PredictRequest" in names and "ProblemDocument" in names


def test_predict_documents_every_encoding_and_its_examples_are_valid(document: dict[str, Any]) -> None:
    content = document["paths"]["/v1/models/{model}/predict"]["post"]["requestBody"]["content"]
    assert set(content) == {
        "application/json",
        "multipart/form-data",
        "image/*",
        "application/octet-stream",
        "text/plain",
    }
    for example in content["application/json"]["examples"].values():
        PredictRequest.model_validate(example["value"])
    for example in document["components"]["schemas"]["RolloutChange"]["examples"]:
        RolloutChange.model_validate(example)


def test_the_fairness_document_is_what_is_promised(service: httpx.Client, document: dict[str, Any]) -> None:
    promised = document["paths"]["/v1/models/{model}/fairness"]["get"]["responses"]["200"]["content"]
    assert promised["application/json"]["schema"] == {"$ref": "#/components/schemas/FairnessOut"}
    answers = predict(service, "faces", [picture(seed) for seed in range(6)], group="sex=f,age=old", twin=True)
    predict(service, "faces", [picture(seed) for seed in range(6)], group="sex=m")
    said = [{"prediction_id": each["prediction_id"], "label": 1} for each in answers]
    assert service.post("/v1/models/faces/feedback", json=said).status_code == 200
    guard = {"max_disparity": 0.1}
    assert decided(service, "faces", champion=None, guard=guard).status_code == 200
    for headers in ({}, ADMIN):
        for by in ("version", "total"):
            found = service.get("/v1/models/faces/fairness", params={"by": by, "window": "1h"}, headers=headers).json()
            FairnessOut.model_validate(found)
            assert found["versions"] and found["front"]


def test_the_docs_page_is_there(service: httpx.Client) -> None:
    assert "openapi.json" in service.get("/docs").text
