"""`--http-workers 2` on a CPU: two whole services behind one port, each with its own copy of the models."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from benchmarks.life import alive, descendants
from tests.attack.faults import injecting
from tests.bundles import image_bundle, text_bundle
from tests.service.family import Load, children, faces_and_posts, fresh
from tests.service.live import ADMIN, Process, picture, predict, process, running, settings, swap, wait_until
from triggers.model import load_bundle
from triggers.store.file_store import FileStore

pytestmark = pytest.mark.slow
ROLLOUT = "/v1/models/faces/rollout"
DYING = """
import threading
from service.engine.batching.batcher import Batcher

work = Batcher._work

def ends(self):
    if threading.current_thread().name == "infer-posts":
        self._next_batch()
        raise SystemExit
    work(self)

Batcher._work = ends
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("replicas")
    with process(folder, faces_and_posts(folder), http_workers=2, drain_seconds=0.2, max_versions=4) as started:
        yield started


def versions_seen(service: Process) -> set[int | None]:
    seen = set()
    for _ in range(10):
        with fresh(service) as client:
            seen.add(predict(client, "faces", [picture(0)])[0]["trigger"]["version"])
    return seen


def swaps(service: Process) -> float:
    lines = service.client.get("/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("fairtrigger_trigger_swaps_total{"))


def test_every_process_computes_and_the_answers_are_those_of_one(service: Process, tmp_path: Path) -> None:
    assert len(children(service, "http")) == 2 and children(service, "inference") == []
    assert "2 HTTP processes at" in service.log.read_text() and "models in each" in service.log.read_text()
    bundles = [image_bundle(tmp_path / "faces"), text_bundle(tmp_path / "posts")]
    asked: dict[str, list[bytes] | list[str]] = {
        "faces": [picture(seed) for seed in range(20)],
        "posts": ["a good movie", "people are kind " * 20],
    }
    with FileStore(tmp_path / "store") as store:
        with running(settings(tmp_path), store, [load_bundle(bundle) for bundle in bundles]) as alone:
            for model, inputs in asked.items():
                here = predict(alone, model, inputs, twin=True)
                for _ in range(4):
                    with fresh(service) as client:
                        there = predict(client, model, inputs, twin=True)
                    assert [each["scores"] for each in here] == [pytest.approx(each["scores"]) for each in there]
                    assert [each.get("truncated") for each in here] == [each.get("truncated") for each in there]


def test_a_change_that_waits_is_served_by_all_processes_when_it_returns(service: Process) -> None:
    for name, version in (("v1", 1), ("v3", 3)):
        headers = ADMIN | {"If-Match": service.client.get(ROLLOUT).headers["etag"]}
        body = {"champion": name, "reason": "test"}
        changed = service.client.put(ROLLOUT, params={"wait": "true"}, json=body, headers=headers)
        assert changed.status_code == 200 and changed.json()["behind"] == []
        assert len(changed.json()["replicas"]) == 2
        assert versions_seen(service) == {version}


def test_any_other_reaches_all_within_a_moment_and_counts_once(service: Process) -> None:
    before = swaps(service)
    for name, version in (("v2", 2), ("v3", 3), ("v2", 2)):
        started = time.monotonic()
        assert swap(service.client, "faces", name).json()["applied_champion"] == name
        wait_until(lambda wanted=version: versions_seen(service) == {wanted}, 10)  # type: ignore[misc]
        assert time.monotonic() - started < 5
    wait_until(lambda: swaps(service) == before + 3)


def test_named_versions(service: Process) -> None:
    for version in (1, 2, 3, 1, None):
        trigger = "none" if version is None else f"v{version}"
        for _ in range(3):
            with fresh(service) as client:
                found = predict(client, "faces", [picture(0)], trigger=trigger)
            assert found[0]["trigger"]["version"] == version


def test_one_that_is_killed_is_started_again_at_the_present_rollout_and_the_other_goes_on(service: Process) -> None:
    victim, other = children(service, "http")
    with Load(service) as load:
        os.kill(victim, signal.SIGKILL)
        with fresh(service) as client:
            assert swap(client, "faces", "v1").json()["applied_champion"] == "v1"
        wait_until(lambda: len(children(service, "http")) == 2 and victim not in children(service, "http"))
        before = load.seen[200]
        wait_until(lambda: load.seen[200] > before + 10)
    assert load.seen[0] <= 1 and set(load.seen) <= {0, 200}, "only a request that the dead process held may break"
    (new,) = set(children(service, "http")) - {other}
    wait_until(lambda: f"Started server process [{new}]" in service.log.read_text(), 90)
    wait_until(lambda: versions_seen(service) == {1})


def test_sigterm_ends_all(service: Process) -> None:
    family = descendants(service.popen.pid)
    assert len(family) == 2
    assert service.stop() == 0
    assert not any(map(alive, family))
    assert "Traceback" not in service.log.read_text() and "never awaited" not in service.log.read_text()


def test_one_whose_computing_thread_ended_is_started_again(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in injecting(tmp_path_factory.mktemp("fault"), "service.workers.http_worker", DYING).items():
        monkeypatch.setenv(name, value)
    bundles = [text_bundle(tmp_path / "posts")]
    options = {"http_workers": 1, "inline": False, "drain_seconds": 0}
    with process(tmp_path, bundles, **options) as service:
        (victim,) = children(service, "http")
        with fresh(service) as client, pytest.raises(httpx.TransportError):
            client.post("/v1/models/posts/predict", json={"inputs": [{"text": "a"}]})
        wait_until(lambda: children(service, "http") not in ([], [victim]))
        assert "a thread that computes has ended, so this process ends" in service.log.read_text()
