"""The files of the reference at /docs: from an installed package, under a strict policy; without it a plain page."""

from __future__ import annotations

import httpx
import pytest

from service.api.reference.routes import OF_SWAGGER, POLICY, swagger_file
from tests.service.live import problem


def test_its_files_come_from_the_package(strict: httpx.Client) -> None:
    page = strict.get("/docs")
    assert page.headers["content-security-policy"] == POLICY and "unsafe" not in POLICY and "http" not in POLICY
    for name in OF_SWAGGER:
        path = swagger_file(name)
        assert path and strict.get(f"/docs/{name}").content == path.read_bytes()
    for name in ("redoc.standalone.js", "index.html", "..%2froutes.py"):
        assert strict.get(f"/docs/{name}").status_code in (404, 422)
    problem(strict.get("/docs/nothing.js"), 404, "not_found")


def test_without_the_package_it_can_still_be_read(strict: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.api.static_files.find_spec", lambda name: None)
    page = strict.get("/docs")
    assert page.status_code == 200 and "<script" not in page.text
    assert "/v1/models/{model}/triggers/{version}/tokens" in page.text
    assert page.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
