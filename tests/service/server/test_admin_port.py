"""With an admin port rollouts can be changed there alone; what strangers could reach is said at the start."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from service.config.settings import Settings
from service.server.http_server import exposure_warnings
from tests.bundles import image_bundle
from tests.service.live import ADMIN, picture, plain_client, predict, process


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_admin_routes_are_at_the_admin_port_alone(tmp_path: Path, workers: int) -> None:
    bundle = image_bundle(tmp_path / "faces")
    with process(tmp_path, [bundle], admin_port=0, http_workers=workers, drain_seconds=0) as service:
        found = re.search(r"admin routes at 127.0.0.1, port (\d+)", service.log.read_text())
        assert found
        headers, body = ADMIN | {"If-Match": '"0"'}, {"champion": None, "reason": "port"}
        for method, path in (("PUT", "rollout"), ("POST", "rollout/rollback")):
            refused = service.client.request(method, f"/v1/models/faces/{path}", json=body, headers=headers)
            assert refused.status_code == 404 and refused.json()["code"] == "not_found"
        with plain_client(f"http://127.0.0.1:{found[1]}") as admin:
            assert admin.head("/healthz").status_code == service.client.head("/healthz").status_code == 200
            assert admin.put("/v1/models/faces/rollout", json=body).status_code == 401
            assert admin.put("/v1/models/faces/rollout", json=body, headers=headers).status_code == 200
        assert predict(service.client, "faces", [picture(0)])
        assert service.stop() == 0


def test_the_ports_differ() -> None:
    with pytest.raises(ValueError, match="admin_port is 8080"):
        Settings(port=8080, admin_port=8080)


def test_an_open_service_that_others_can_reach_says_so(tmp_path: Path) -> None:
    assert exposure_warnings(Settings(admin_token="short-one")) == []
    keyless, guessable = exposure_warnings(Settings(host="0.0.0.0", admin_token="short-one"))
    assert "set api_keys" in keyless and "may be guessed" in guessable
    assert exposure_warnings(Settings(host="0.0.0.0", api_keys=tmp_path, admin_token="a" * 32)) == []
