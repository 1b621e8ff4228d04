"""Every route without a key, with a wrong, an expired, a revoked one, and with every role that is not enough."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute
from starlette.routing import Route

from service.app import create_app
from service.config.settings import Settings
from service.security.keyring import Caller, Keyring
from service.security.permissions import ROLE_TABLE, table_role
from tests.service.live import ADMIN, as_item, picture, running, settings, wait_until
from triggers.api_keys import ROLES, Role, add_key, new_api_key
from triggers.model.classifier import FrozenClassifier
from triggers.store.file_store import FileStore

SECRET_WORDS = ("faces", "posts", "border", "revision", "champion", "fingerprint", "Traceback", "expired")
OPEN = {"/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"}
Keys = dict[str, str]


def made(path: Path, *roles: Role, **more: Any) -> str:
    """A new key in the file."""
    key = new_api_key("test", frozenset(roles), **more)
    add_key(path, key)
    return key.text


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Keys]:
    path = tmp_path_factory.mktemp("keys") / "keys.toml"
    found: Keys = {role: made(path, role) for role in ROLES}
    found["expired"] = made(path, *ROLES, expires=datetime.now(UTC) - timedelta(seconds=1))
    return path, found


@pytest.fixture(scope="module")
def closed(
    tmp_path_factory: pytest.TempPathFactory,
    image_model: FrozenClassifier,
    text_model: FrozenClassifier,
    keys: tuple[Path, Keys],
) -> Iterator[httpx.Client]:
    tmp = tmp_path_factory.mktemp("closed")
    with FileStore(tmp / "store") as store:
        chosen = settings(tmp, api_keys=keys[0], admin_token=None, client_trigger="admin")
        with running(chosen, store, [image_model, text_model]) as client:
            yield client


@pytest.fixture(scope="module")
def routes(
    tmp_path_factory: pytest.TempPathFactory, image_model: FrozenClassifier, keys: tuple[Path, Keys]
) -> list[tuple[str, str]]:
    """Method and path of everything that the app answers, from its routes and from its document."""
    tmp = tmp_path_factory.mktemp("routes")
    with FileStore(tmp / "store") as store:
        app = create_app(settings(tmp, api_keys=keys[0]), store, [image_model])
        plain = [each for each in app.routes if isinstance(each, Route | APIRoute)]
        found = {(method, route.path) for route in plain for method in route.methods or ()}
        document = app.openapi()["paths"]
        found |= {(method.upper(), path) for path, operations in document.items() for method in operations}
    return sorted(found)


def filled(path: str) -> str:
    return path.replace("{model}", "faces").replace("{version}", "v1").replace("{path:path}", "x")


def test_every_route_is_in_the_table_and_the_table_has_nothing_else(routes: list[tuple[str, str]]) -> None:
    assert len(routes) > 20 and ("PUT", "/v1/models/{model}/rollout") in routes
    assert not [each for each in routes if table_role(each[0], filled(each[1])) is None]
    for verb, address, _ in ROLE_TABLE:
        for part in address.split("|/"):
            pattern = re.compile(address)
            assert any(pattern.fullmatch(filled(path)) for method, path in routes if method == verb), part


@pytest.mark.parametrize("given", ["none", "unknown", "expired", "basic", "empty", "foreign"])
def test_nothing_leaks_without_a_good_key(
    closed: httpx.Client, keys: tuple[Path, Keys], routes: list[tuple[str, str]], given: str
) -> None:
    headers = {
        "none": {},
        "unknown": bearer("ft_x_" + "a" * 43),
        "expired": bearer(keys[1]["expired"]),
        "basic": {"Authorization": "Basic dTpw"},
        "empty": {"Authorization": "Bearer"},
        "foreign": bearer("ä" * 20),
    }[given]
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    documents = []
    for method, path in [*routes, ("GET", "/nowhere"), ("POST", "/v1/models/nobody/predict"), ("DELETE", "/v1/models")]:
        if path in OPEN:
            continue
        response = closed.request(method, filled(path), headers=raw, content=b"not json")
        assert response.status_code == 401, (method, path, response.text)
        assert response.headers["www-authenticate"].startswith("Bearer")
        if method == "HEAD":
            continue
        document = response.json()
        assert document.pop("instance") == filled(path)
        documents.append(document)
        assert not [word for word in SECRET_WORDS if word in str(document)], document
    assert all(document == documents[0] for document in documents)
    assert documents[0]["code"] == ("token_wrong" if given in ("unknown", "expired", "foreign") else "token_missing")


def test_probes_are_open_and_say_little(closed: httpx.Client, keys: tuple[Path, Keys]) -> None:
    for path in sorted(OPEN):
        response = closed.get(path)
        assert response.status_code == 200 and "faces" not in response.text
    assert "faces" in closed.get("/readyz", headers=bearer(keys[1]["predict"])).text


@pytest.mark.parametrize("role", ROLES)
def test_a_key_opens_what_its_role_says_and_nothing_else(
    closed: httpx.Client, keys: tuple[Path, Keys], routes: list[tuple[str, str]], role: Role
) -> None:
    for method, path in routes:
        response = closed.request(method, filled(path), headers=bearer(keys[1][role]))
        need = table_role(method, filled(path))
        if need in ("nothing", "any", role) or role == "admin":
            assert response.status_code not in (401, 403), (role, method, path, response.text)
        else:
            assert response.status_code == 403, (role, method, path, response.text)
            assert method == "HEAD" or response.json()["code"] == "role_missing"


def test_roles_are_looked_at_before_models_and_bodies(closed: httpx.Client, keys: tuple[Path, Keys]) -> None:
    wrong, right = bearer(keys[1]["feedback"]), bearer(keys[1]["predict"])
    assert closed.post("/v1/models/nobody/predict", headers=wrong).status_code == 403
    assert closed.post("/v1/models/nobody/predict", headers=right).status_code == 404
    big = b"x" * (5 * 2**20)
    assert closed.post("/v1/models/faces/feedback", content=big, headers=right).status_code == 403
    assert closed.post("/v1/models/faces/feedback", content=big, headers=wrong).status_code == 413


@pytest.mark.parametrize("path", ["/v1/models/faces/rollout%0A", "/v1/models/faces/fairness%0a", "/metrics%0A"])
def test_an_address_cannot_be_one_thing_to_the_lock_and_another_to_the_router(
    closed: httpx.Client, keys: tuple[Path, Keys], path: str
) -> None:
    for method in ("GET", "PUT", "POST"):
        response = closed.request(method, path, headers=bearer(keys[1]["predict"]))
        assert response.status_code == 404 and response.json()["code"] == "not_found"


def test_choosing_a_trigger_and_exact_counts_need_the_admin_role(closed: httpx.Client, keys: tuple[Path, Keys]) -> None:
    body = {"inputs": [as_item(picture(0))], "trigger": "none"}
    refused = closed.post("/v1/models/faces/predict", json=body, headers=bearer(keys[1]["predict"]))
    assert (refused.status_code, refused.json()["code"]) == (403, "role_missing")
    assert closed.post("/v1/models/faces/predict", json=body, headers=bearer(keys[1]["admin"])).status_code == 200
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [body["inputs"][0]["image"]]}  # type: ignore[index]
    where = "/v2/models/faces/versions/none/infer"
    assert closed.post(where, json={"inputs": [tensor]}, headers=bearer(keys[1]["predict"])).status_code == 403


def test_keys_change_while_the_service_runs(
    tmp_path: Path, image_model: FrozenClassifier, filled_store: FileStore, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "keys.toml"
    old = made(path, "predict")
    with running(settings(tmp_path, api_keys=path), filled_store, [image_model]) as client:

        def status(key: str) -> int:
            return client.get("/v1/models", headers=bearer(key)).status_code

        new = made(path, "predict")
        wait_until(lambda: status(new) == 200, 5)
        assert status(old) == 200  # while both are there, clients move from one to the other
        both = path.read_text()
        path.write_text("[keys")
        wait_until(lambda: status(new) == 200 and "the keys stay as they were" in caplog.text, 5)
        path.write_text(both[both.index("[keys.", 5) :])
        wait_until(lambda: status(old) == 401, 5)
        assert status(new) == 200 and client.get("/v1/models", headers=ADMIN).status_code == 200


def test_a_key_keeps_to_its_rate(tmp_path: Path, image_model: FrozenClassifier, filled_store: FileStore) -> None:
    path = tmp_path / "keys.toml"
    slow, other = made(path, "predict", rate=0.5, burst=3), made(path, "predict")
    with running(settings(tmp_path, api_keys=path), filled_store, [image_model]) as client:
        statuses = [client.get("/v1/models", headers=bearer(slow)).status_code for _ in range(4)]
        assert statuses == [200, 200, 200, 429]
        refused = client.get("/v1/models", headers=bearer(slow))
        assert refused.json()["code"] == "too_many_requests" and 1 <= int(refused.headers["retry-after"]) <= 2
        assert client.get("/v1/models", headers=bearer(other)).status_code == 200


def test_the_bucket_fills_at_its_rate() -> None:
    caller = Caller("x", bytes(32), None, rate=10, burst=5)
    taken = [caller.take_token(100 + 0.01 * n) == 0 for n in range(200)]  # 100 requests a second for 2 s
    assert sum(taken) == 5 + 19
    assert caller.take_token(1000.0) == 0 and caller.has_role("admin")


@pytest.mark.parametrize(
    "path, code", [("/v1/models", 200), ("/v1/models/faces/fairness", 200), ("/metrics", 200), ("/nowhere", 404)]
)
def test_without_a_keys_file_all_but_admin_is_open(
    tmp_path: Path, image_model: FrozenClassifier, filled_store: FileStore, path: str, code: int
) -> None:
    with running(settings(tmp_path, admin_token=None), filled_store, [image_model]) as client:
        assert client.get(path).status_code == code
        assert client.put("/v1/models/faces/rollout", headers=ADMIN).json()["code"] == "admin_closed"


def test_answers_guard_the_browser_and_no_other_site_may_read_them(
    closed: httpx.Client, keys: tuple[Path, Keys]
) -> None:
    known = bearer(keys[1]["admin"])
    for path in ("/v1/models", "/nowhere", "/docs", "/healthz", "/metrics"):
        headers = closed.get(path, headers=known | {"Origin": "https://elsewhere.example"}).headers
        assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-store"
        assert headers["x-frame-options"] == "DENY" and "frame-ancestors 'none'" in headers["content-security-policy"]
        assert not [name for name in headers if name.startswith("access-control-")]
    asked = known | {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "PUT"}
    assert "access-control-allow-origin" not in closed.options("/v1/models/faces/rollout", headers=asked).headers
    page = closed.get("/docs", headers=known)
    assert "https://" not in page.text and "unsafe" not in page.headers["content-security-policy"]
    assert closed.get("/docs").status_code == closed.get("/docs/start.js").status_code == 401


def test_the_document_says_who_may(closed: httpx.Client, keys: tuple[Path, Keys]) -> None:
    paths = closed.get("/openapi.json", headers=bearer(keys[1]["predict"])).json()["paths"]
    assert paths["/v1/models/{model}/rollout"]["put"]["x-role"] == "admin"
    assert paths["/v1/models/{model}/predict"]["post"]["security"] == [{"HTTPBearer": []}]
    assert {} in paths["/healthz"]["get"]["security"]


def test_time_does_not_tell_a_revoked_key_from_a_wrong_one(tmp_path: Path) -> None:
    """Also whether the first half of a key was right: the hash is looked up, never the key compared."""
    path = tmp_path / "keys.toml"
    good = [made(path, "predict") for _ in range(20)][7]
    late = made(path, "admin", expires=datetime.now(UTC) - timedelta(days=1))
    keyring = Keyring(Settings(api_keys=path))
    guesses = {"random": "ft_" + "x" * (len(good) - 3), "almost": good[:-1] + "~", "expired": late}
    times: dict[str, list[int]] = {name: [] for name in guesses}
    for _ in range(3000):
        for name, guess in guesses.items():
            start = time.perf_counter_ns()
            keyring.find(guess)
            times[name].append(time.perf_counter_ns() - start)
    middle = {name: statistics.median(each) for name, each in times.items()}
    assert max(middle.values()) - min(middle.values()) < 2_000, middle  # nanoseconds; a network hides far more
