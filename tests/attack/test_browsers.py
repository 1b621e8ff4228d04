"""What a web site makes a visitor's browser send to a service without keys, and what people and probes send."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest
from playwright.sync_api import Page, sync_playwright

from tests.dashboard.chromium import need_chromium
from tests.service.live import ADMIN, as_item, picture, running, settings
from triggers.model.classifier import FrozenClassifier
from triggers.store.file_store import FileStore

PREDICT = "/v1/models/faces/predict"
FEEDBACK = "/v1/models/faces/feedback"
OBSERVATIONS = "/v1/models/faces/observations"
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
@pytest.mark.parametrize("path", [PREDICT, FEEDBACK, OBSERVATIONS, INFER])
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


SEND_A_PICTURE = """async ([url, bytes, mode]) => {
    const form = new FormData();
    form.append("image", new Blob([new Uint8Array(bytes)]));
    return fetch(url, {method: "POST", body: form, mode}).then((answer) => answer.status, () => 0);
}"""
"""A form is sent without asking first; its answer is hidden from a page of another site, which sees 0."""


class EmptyPage(BaseHTTPRequestHandler):
    """Another web site."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@contextmanager
def other_site() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), EmptyPage) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://evil.example:{server.server_port}"
        server.shutdown()
        thread.join()


@contextmanager
def misled_browser() -> Iterator[Page]:
    """A page of a browser for which evil.example leads to this machine."""
    with sync_playwright() as playwright:
        rules = ["--host-resolver-rules=MAP evil.example 127.0.0.1"]
        browser = playwright.chromium.launch(executable_path=need_chromium(), args=rules)
        yield browser.new_page()
        browser.close()


@pytest.mark.slow
def test_a_real_browser_is_no_way_in_for_another_site(keyless: httpx.Client) -> None:
    own, rebound = str(keyless.base_url), f"http://evil.example:{keyless.base_url.port}"
    data = list(picture(0))
    with other_site() as elsewhere, misled_browser() as page:
        before = requests_counted(keyless)
        page.goto(elsewhere)
        assert page.evaluate(SEND_A_PICTURE, [own + PREDICT, data, "no-cors"]) == 0
        page.goto(f"{rebound}/dashboard")
        assert page.evaluate(SEND_A_PICTURE, [rebound + PREDICT, data, "same-origin"]) == 421
        assert requests_counted(keyless) == before
        page.goto(f"{own}/dashboard")
        assert page.evaluate(SEND_A_PICTURE, [own + PREDICT, data, "same-origin"]) == 200
        assert requests_counted(keyless) == before + 1
