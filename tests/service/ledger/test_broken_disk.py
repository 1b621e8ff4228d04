"""A full disk, and a store that vanishes and comes back, under a real process that goes on answering."""

from __future__ import annotations

import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.artifacts import artifact_for
from tests.bundles import image_bundle
from tests.service.live import Process, picture, predict, process, swap, wait_until
from triggers.model import load_bundle
from triggers.store.file_store import FileStore

FEEDBACK = "/v1/models/faces/feedback"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("disk")


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[Process]:
    bundle = image_bundle(folder / "faces")
    with FileStore(folder / "store") as store:
        for seed in range(2):
            store.publish(artifact_for(load_bundle(bundle), "border", seed=seed), actor="test")
    with process(folder, [bundle], poll_seconds=0.05, flush_seconds=0.1, drain_seconds=0) as running:
        yield running


def served(service: Process) -> int | None:
    version: int | None = predict(service.client, "faces", [picture(0)])[0]["trigger"]["version"]
    return version


def store_error(service: Process) -> str | None:
    error: str | None = service.client.get("/readyz").json()["models"]["faces"]["store_error"]
    return error


def counted(service: Process, group: str) -> int:
    report = service.client.get("/v1/models/faces/fairness", params={"by": "total"}).json()
    return int(report["versions"]["total"]["groups"].get(group, {}).get("n", 0))


def refused_for_now(answer: httpx.Response) -> None:
    assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable"), answer.text
    assert int(answer.headers["retry-after"]) >= 1
    assert "Traceback" not in answer.text


def test_a_store_that_vanishes_is_reported_and_followed_again_when_it_is_back(service: Process, folder: Path) -> None:
    assert swap(service.client, "faces", "v1").status_code == 200
    (folder / "store").rename(folder / "gone")
    wait_until(lambda: store_error(service))
    assert served(service) == 1 and service.client.get("/readyz").status_code == 200
    headers = {"Authorization": "Bearer let-me-in-please", "If-Match": '"1"'}
    change = {"champion": "v2", "reason": "test"}
    refused_for_now(service.client.put("/v1/models/faces/rollout", json=change, headers=headers))
    (folder / "gone").rename(folder / "store")
    wait_until(lambda: not store_error(service))
    assert swap(service.client, "faces", "v2").status_code == 200
    assert served(service) == 2


def test_a_store_that_is_restored_from_a_copy_is_followed(service: Process, folder: Path) -> None:
    shutil.copytree(folder / "store", folder / "copy")
    (folder / "store").rename(folder / "lost")
    (folder / "copy").rename(folder / "store")
    with FileStore(folder / "store") as store:
        store.set_rollout("faces", 1, if_revision=None, actor="test", reason="from the copy")
    wait_until(lambda: served(service) == 1)


def test_on_a_full_disk_predictions_go_on_and_no_count_is_lost(service: Process) -> None:
    """No file may grow any more: what a full disk does, for this process alone."""
    before = counted(service, "late")
    receipt = predict(service.client, "faces", [picture(0)], group="late")[0]["prediction_id"]
    assert counted(service, "late") == before + 1
    limits = resource.prlimit(service.popen.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    try:
        for _ in range(20):
            assert predict(service.client, "faces", [picture(0)], group="late")
        refused_for_now(service.client.post(FEEDBACK, json={"prediction_id": receipt, "label": 1}))
        assert swap(service.client, "faces", "v2").status_code == 503
        assert service.client.get("/readyz").status_code == 200
    finally:
        resource.prlimit(service.popen.pid, resource.RLIMIT_FSIZE, limits)
    wait_until(lambda: counted(service, "late") == before + 21)
    answer = service.client.post(FEEDBACK, json={"prediction_id": receipt, "label": 1})
    assert answer.json()["results"] == [{"status": "counted"}]
    assert swap(service.client, "faces", "v2").status_code == 200


def test_on_a_full_disk_the_service_ends_in_order_and_says_what_it_could_not_write(service: Process) -> None:
    assert predict(service.client, "faces", [picture(0)])
    resource.prlimit(service.popen.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    assert predict(service.client, "faces", [picture(0)])
    assert service.stop() == 1
