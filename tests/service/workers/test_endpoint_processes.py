"""A model behind an endpoint in a service of several processes: each finds out, and each joins it again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.artifacts import artifact_for
from tests.commanded_endpoint import commanded_endpoint
from tests.service.live import ADMIN, picture, process, swap, wait_until
from triggers.store.file_store import FileStore

pytestmark = [pytest.mark.process, pytest.mark.slow]


@pytest.mark.parametrize(
    "options", [{"http_workers": 2}, {"devices": "cpu", "http_workers": 2}], ids=["replicas", "engine"]
)
def test_several_processes_start_without_it_and_follow_it(tmp_path: Path, options: dict[str, Any]) -> None:
    with commanded_endpoint() as endpoint:
        bundle = tmp_path / "faces"
        classifier = endpoint.classifier(bundle)
        with FileStore(tmp_path / "store") as store:
            store.publish(artifact_for(classifier, "border"), actor="test")
        endpoint.stop()
        options = options | {
            "endpoint_hosts": f"127.0.0.1:{endpoint.port}",
            "torch_threads": 1,
            "endpoint_check_seconds": 0.2,
        }
        with process(tmp_path, [bundle], **options) as service:
            client = service.client

            def all_are(status: int) -> bool:
                return all(_fresh(client, "GET", "/readyz") == status for _ in range(8))

            def ask() -> int:
                return _fresh(client, "POST", "/v1/models/faces/predict")

            assert all_are(503) and ask() == 503
            reason = client.get("/readyz").json()["models"]["faces"]["endpoint"]["reason"]
            assert "Connection refused" in reason
            assert swap(client, "faces", "v1").status_code == 200
            endpoint.start()
            wait_until(lambda: all_are(200), 5)
            assert {ask() for _ in range(8)} == {200}
            endpoint.seed = 1
            wait_until(lambda: all_are(503), 5)
            assert {ask() for _ in range(8)} == {503}
            wait_until(lambda: _told(client), 5)
            assert len(_told(client)) == 1
            endpoint.seed = 0
            wait_until(lambda: all_are(200), 5)
            assert {ask() for _ in range(8)} == {200}
        assert service.popen.poll() is not None


def _told(client: Any) -> list[dict[str, Any]]:
    """The entries of the history about it."""
    entries = client.get("/v1/models/faces/history", headers=ADMIN).json()["entries"]
    return [each for each in entries if each["actor"] == "endpoint-watch"]


def _fresh(client: Any, method: str, path: str) -> int:
    """The status of a request over a connection of its own, which any process may get."""
    headers = {"Connection": "close"} | ({"Content-Type": "image/png"} if method == "POST" else {})
    return int(
        client.request(method, path, headers=headers, content=picture(0) if method == "POST" else None).status_code
    )
