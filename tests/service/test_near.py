"""Small models of a service of several processes are computed by whichever process got the request."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bundles import image_bundle, text_bundle
from tests.service.family import Load, children, faces_and_posts, fresh
from tests.service.live import Process, picture, predict, process, running, settings, swap, wait_until
from triggers.classifier import load_bundle
from triggers.file_store import FileStore

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("near")
    bundles = faces_and_posts(folder)
    with process(folder, bundles, http_workers=2, drain_seconds=0.2, poll_seconds=60, max_versions=3) as started:
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


def test_the_answers_are_those_of_one_process(service: Process, tmp_path: Path) -> None:
    bundles = [image_bundle(tmp_path / "faces"), text_bundle(tmp_path / "posts")]
    asked: dict[str, list[bytes] | list[str]] = {
        "faces": [picture(seed) for seed in range(20)],
        "posts": ["a good movie", "people are kind " * 20],
    }
    with FileStore(tmp_path / "store") as store:
        with running(settings(tmp_path), store, [load_bundle(bundle) for bundle in bundles]) as alone:
            for model, inputs in asked.items():
                here, there = (predict(client, model, inputs, twin=True) for client in (alone, service.client))
                assert [each["scores"] for each in here] == [pytest.approx(each["scores"]) for each in there]
                assert [each.get("truncated") for each in here] == [each.get("truncated") for each in there]


def test_a_swap_reaches_every_process_long_before_it_polls_and_counts_once(service: Process) -> None:
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
        assert predict(service.client, "faces", [picture(0)], trigger=trigger)[0]["trigger"]["version"] == version


def test_no_request_needs_the_inference_process_and_changes_go_on_without_it(service: Process) -> None:
    (victim,) = children(service, "inference")
    with Load(service) as load:
        os.kill(victim, signal.SIGKILL)
        assert swap(service.client, "faces", "v1").json()["applied_champion"] == "v1"
        before = load.seen[200]
        wait_until(lambda: children(service, "inference") not in ([], [victim]), 60)
        wait_until(lambda: load.seen[200] > before + 10)
    assert set(load.seen) == {200}
    wait_until(lambda: service.client.get("/readyz").status_code == 200, 60)  # the texts need it
    wait_until(lambda: versions_seen(service) == {1}, 60)
    assert swap(service.client, "faces", "v3").json()["applied_champion"] == "v3"
    wait_until(lambda: versions_seen(service) == {3}, 55)  # at the latest when the inference process is back
