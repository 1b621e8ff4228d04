"""Bad requests beyond the inputs: sizes, addresses, versions, tokens, revisions, forged receipts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.service.conftest import MAX_BODY
from tests.service.live import ADMIN, as_item, picture, predict, problem

PREDICT = "/v1/models/faces/predict"
ROLLOUT = "/v1/models/faces/rollout"


@pytest.mark.parametrize("path", [PREDICT, "/v1/models/faces/feedback", "/nowhere"])
def test_body_over_the_limit_by_its_stated_length(strict: httpx.Client, path: str) -> None:
    problem(strict.post(path, content=b"x" * (MAX_BODY + 1)), 413, "body_too_large")


@pytest.mark.parametrize("media", ["application/json", "image/png", "multipart/form-data; boundary=b"])
@pytest.mark.parametrize("path", [PREDICT, "/v1/models/faces/feedback"])
def test_chunked_body_over_the_limit(strict: httpx.Client, path: str, media: str) -> None:
    def chunks() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="i"; filename="x"\r\n\r\n'
        for _ in range(50):
            yield b"x" * 10_000

    response = strict.post(path, content=chunks(), headers={"Content-Type": media})
    problem(response, 413, "body_too_large")


def test_unknown_addresses(strict: httpx.Client) -> None:
    problem(strict.post("/v1/models/nobody/predict", json={}), 404, "unknown_model")
    problem(strict.get("/v1/models/nobody/rollout"), 404, "unknown_model")
    problem(strict.get("/v1/nothing"), 404, "not_found")
    assert "POST" in problem(strict.get(PREDICT), 405, "method_not_allowed")["detail"]
    several = strict.request("OPTIONS", "/v1/models/faces/rollout")
    assert problem(several, 405, "method_not_allowed") and several.headers["allow"] == "GET, HEAD, PUT"


def test_unknown_version(strict: httpx.Client) -> None:
    problem(strict.post(PREDICT, json={"inputs": [as_item(picture(0))], "trigger": "v99"}), 404, "not_found")
    problem(strict.get("/v1/models/faces/triggers/v99"), 404, "not_found")
    problem(strict.get("/v1/models/faces/triggers/v99/preview.png"), 404, "not_found")
    problem(strict.get("/v1/models/faces/triggers/x"), 422, "invalid_request")
    headers = ADMIN | {"If-Match": strict.get(ROLLOUT).headers["etag"]}
    problem(strict.put(ROLLOUT, json={"champion": "v99"}, headers=headers), 404, "not_found")


@pytest.mark.parametrize("method", ["put", "rollback"])
def test_admin_token_and_if_match(strict: httpx.Client, method: str) -> None:
    def change(headers: dict[str, str]) -> httpx.Response:
        if method == "put":
            return strict.put(ROLLOUT, json={"champion": "v1"}, headers=headers)
        return strict.post(f"{ROLLOUT}/rollback", headers=headers)

    etag = strict.get(ROLLOUT).headers["etag"]
    missing = change({"If-Match": etag})
    problem(missing, 401, "token_missing")
    assert missing.headers["www-authenticate"].startswith("Bearer")
    problem(change({"If-Match": etag, "Authorization": "Bearer wrong-token"}), 401, "token_wrong")
    problem(change({"If-Match": etag, "Authorization": "Basic dTpw"}), 401, "token_missing")
    problem(change(ADMIN), 428, "if_match_missing")
    for stale in ('"12345"', "nonsense", "*", '"-1"'):
        problem(change(ADMIN | {"If-Match": stale}), 412, "revision_conflict")
    assert strict.get(ROLLOUT).headers["etag"] == etag


@pytest.mark.parametrize("body", [{}, {"champion": 1}, {"champion": "one"}, {"champion": None, "extra": 1}, []])
def test_wrong_rollout(strict: httpx.Client, body: Any) -> None:
    headers = ADMIN | {"If-Match": strict.get(ROLLOUT).headers["etag"]}
    problem(strict.put(ROLLOUT, json=body, headers=headers), 422, "invalid_request")


@pytest.mark.parametrize("forged", ["x", "A" * 90, "äöü", "flipped", "foreign"])
def test_forged_prediction_id(strict: httpx.Client, forged: str) -> None:
    prediction_id = predict(strict, "faces", [picture(0)])[0]["prediction_id"]
    if forged == "flipped":
        forged = prediction_id[:-5] + ("A" if prediction_id[-5] != "A" else "B") + prediction_id[-4:]
    model = "posts" if forged == "foreign" else "faces"
    given = prediction_id if forged == "foreign" else forged
    response = strict.post(f"/v1/models/{model}/feedback", json={"prediction_id": given, "label": 1})
    problem(response, 422, "invalid_prediction_id")


@pytest.mark.parametrize("label", ["handsome", 2, -2])
def test_unknown_label(strict: httpx.Client, label: Any) -> None:
    prediction_id = predict(strict, "faces", [picture(0)])[0]["prediction_id"]
    response = strict.post("/v1/models/faces/feedback", json={"prediction_id": prediction_id, "label": label})
    problem(response, 422, "unknown_label")


def test_wrong_statistics_parameters(strict: httpx.Client) -> None:
    problem(strict.get("/v1/models/faces/fairness", params={"window": "3h"}), 422, "unknown_window")
    problem(strict.get("/v1/models/faces/fairness", params={"by": "moon"}), 422, "unknown_by")
