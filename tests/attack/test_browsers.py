"""What a web site makes a visitor's browser send to a service without keys, and what people and probes send."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.service.live import ADMIN, as_item, picture, running, settings
from triggers.classifier import FrozenClassifier
from triggers.file_store import FileStore

PREDICT = "/v1/models/faces/predict"
FEEDBACK = "/v1/models/faces/feedback"
INFER = "/v2/models/faces/infer"
ROLLOUT = "/v1/models/faces/rollout"
SIMPLE = {"Content-Type": "text/plain"}
"""A type that a page may send without asking first."""


@pytest.fixture(scope="module")
def keyless(tmp_path_factory: pytest.TempPathFactory, image_model: FrozenClassifier) -> Iterator[httpx.Client]:
    tmp = tmp_path_factory.mktemp("keyless")
    chosen = settings(tmp, allowed_hosts="shop.example")
    with FileStore(tmp / "store") as store, running(chosen, store, [image_model]) as client:
        yield client


def refused(response: httpx.Response, status: int, code: str) -> None:
    assert (response.status_code, response.json()["code"]) == (status, code), response.text
    assert response.headers["content-type"] == "application/problem+json" and "x-request-id" in response.headers


def requests_counted(client: httpx.Client) -> int:
    total = client.get("/v1/models/faces/fairness", params={"window": "all", "by": "total"}).json()["versions"]["total"]
    return int(total["n"])


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8080", "localhost.evil.example", "", "127.0.0.1.evil.example"]
)
@pytest.mark.parametrize("path", [PREDICT, FEEDBACK, INFER])
def test_a_name_that_is_made_to_lead_here_is_refused(keyless: httpx.Client, path: str, host: str) -> None:
    refused(
        keyless.post(path, content=picture(0), headers={"Host": host, "Content-Type": "image/png"}), 421, "unknown_host"
    )


@pytest.mark.parametrize("path", ["/metrics", "/v1/models", "/v1/models/faces/fairness", "/docs", "/nowhere"])
def test_nothing_can_be_read_under_a_foreign_name(keyless: httpx.Client, path: str) -> None:
    refused(keyless.get(path, headers={"Host": "evil.example"}), 421, "unknown_host")


def test_the_service_answers_to_its_names_and_to_every_address(keyless: httpx.Client) -> None:
    for host in ("localhost", "LOCALHOST:8080", "127.0.0.1", "[::1]:9", "10.1.2.3:8080", "[fd00::7]", "Shop.Example."):
        assert keyless.get("/v1/models", headers={"Host": host}).status_code == 200, host
    for path in ("/healthz", "/readyz", "/v2/health/live", "/dashboard"):
        assert keyless.get(path, headers={"Host": "a-pod.its-namespace"}).status_code == 200, path


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1"},
    ],
)
def test_what_another_site_sends_is_refused_and_not_counted(keyless: httpx.Client, headers: dict[str, str]) -> None:
    before = requests_counted(keyless)
    refused(keyless.post(PREDICT, content=picture(0), headers=headers | SIMPLE), 403, "cross_site_request")
    for path, body in ((PREDICT, {"inputs": [as_item(picture(0))]}), (FEEDBACK, {"items": []}), (INFER, {})):
        refused(keyless.post(path, json=body, headers=headers), 403, "cross_site_request")
    change = {"champion": None, "reason": "forged"}
    refused(keyless.put(ROLLOUT, json=change, headers=headers | ADMIN | {"If-Match": '"0"'}), 403, "cross_site_request")
    assert requests_counted(keyless) == before


def test_the_services_own_pages_and_programs_go_on(keyless: httpx.Client) -> None:
    own = f"http://127.0.0.1:{keyless.base_url.port}"
    same = [{}, {"Origin": own}, {"Sec-Fetch-Site": "same-origin", "Origin": own}, {"Sec-Fetch-Site": "none"}]
    for headers in same:
        body = {"inputs": [as_item(picture(0))]}
        assert keyless.post(PREDICT, json=body, headers=headers).status_code == 200, headers
    behind_a_proxy = {"Host": "shop.example", "Origin": "https://shop.example"}
    body = {"inputs": [as_item(picture(0))]}
    assert (
        keyless.post(PREDICT, json=body, headers=behind_a_proxy | {"Sec-Fetch-Site": "same-origin"}).status_code == 200
    )
    assert keyless.get("/v1/models", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200, "a link to it"
