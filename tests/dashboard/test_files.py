"""What the dashboard is served as: its policy, its few files, its answer without plotly."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.api.dashboard.files import STATIC_FOLDER, plotly_script
from tests.service.live import ADMIN, running, settings
from triggers.model.classifier import FrozenClassifier
from triggers.store.file_store import FileStore


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, image_model: FrozenClassifier) -> Iterator[httpx.Client]:
    """A service that is only read."""
    folder = tmp_path_factory.mktemp("dashboard")
    with FileStore(folder / "store") as store, running(settings(folder), store, [image_model]) as client:
        yield client


def test_the_page_forbids_whatever_it_does_not_need(service: httpx.Client) -> None:
    found = service.get("/dashboard")
    assert found.status_code == 200 and found.headers["content-type"].startswith("text/html")
    policy = dict(part.split(" ", 1) for part in found.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'" and policy["script-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["form-action"] == policy["base-uri"] == "'none'"
    assert "unsafe" not in str(policy) and "http" not in str(policy)
    assert found.headers["x-content-type-options"] == "nosniff"
    assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son[a-z]+=|https?://", found.text)


def test_files_are_packed_and_sent_once(service: httpx.Client) -> None:
    first = service.get("/dashboard/plotly.min.js", headers={"Accept-Encoding": "gzip"})
    script = plotly_script()
    assert script and first.content == script.read_bytes() and first.headers["content-encoding"] == "gzip"
    plain = service.get("/dashboard/main.js", headers={"Accept-Encoding": "identity"})
    assert plain.content == (STATIC_FOLDER / "main.js").read_bytes() and "content-encoding" not in plain.headers
    again = service.get("/dashboard/main.js", headers={"If-None-Match": plain.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("name", ["nothing.js", "page.py", "..%2fapp.py", "%2e%2e/app.py", "index.html", "main.js/x"])
def test_no_other_file_is_served(service: httpx.Client, name: str) -> None:
    assert service.get(f"/dashboard/{name}").status_code in (404, 422)


def test_a_token_is_checked_before_it_is_needed(service: httpx.Client) -> None:
    assert service.get("/dashboard/token", headers=ADMIN).status_code == 204
    wrong = service.get("/dashboard/token", headers={"Authorization": "Bearer wrong-wrong"})
    assert (wrong.status_code, wrong.json()["code"]) == (401, "token_wrong")


def test_without_plotly_the_page_says_what_to_install(service: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.api.static_files.find_spec", lambda name: None)
    found = service.get("/dashboard")
    assert found.status_code == 501 and "pip install 'fairtrigger[service,dashboard]'" in found.text
    assert service.get("/dashboard/dashboard.css").status_code == 200
    missing = service.get("/dashboard/plotly.min.js")
    assert missing.status_code == 404 and "fairtrigger[dashboard]" in missing.json()["detail"]


def test_the_files_are_in_the_package() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert "service*" in project["tool"]["setuptools"]["packages"]["find"]["include"]
    package_data = project["tool"]["setuptools"]["package-data"]["service"]
    assert {"api/dashboard/static/*", "api/reference/static/*"} <= set(package_data)
    assert {path.suffix for path in STATIC_FOLDER.iterdir()} == {".html", ".js", ".css", ".svg"}
