"""Several services on one store: who serves which revision, waiting for all, and the dead."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median

import httpx
import pytest

from tests.bundles import image_bundle
from tests.service.live import ADMIN, decided, picture, predict, process, running, settings, swap, wait_until
from triggers.classifier import FrozenClassifier
from triggers.file_store import FileStore
from triggers.records import Replica

ROLLOUT = "/v1/models/faces/rollout"


def all_at(clients: list[httpx.Client], revision: int) -> bool:
    """Whether every service says that it serves this revision."""
    states = [client.get("/readyz").json()["models"]["faces"] for client in clients]
    return {state["applied_revision"] for state in states} == {revision}


@pytest.fixture
def three(tmp_path: Path, filled_store: FileStore, image_model: FrozenClassifier) -> Iterator[list[httpx.Client]]:
    """Three services, each with its own connection to one store."""
    with ExitStack() as stack:
        stores = [stack.enter_context(FileStore(filled_store.folder)) for _ in range(3)]
        chosen = [settings(tmp_path / str(n), heartbeat_seconds=2.0) for n in range(3)]
        yield [
            stack.enter_context(running(own, store, [image_model])) for own, store in zip(chosen, stores, strict=True)
        ]


def test_all_replicas_are_listed_and_wait_returns_when_all_serve(three: list[httpx.Client]) -> None:
    names = {client.get(ROLLOUT).json()["replica"] for client in three}
    assert len(names) == 3
    for n in range(12):
        version = n % 4 + 1
        answer = decided(three[n % 3], "faces", params={"wait": "true"}, champion=f"v{version}")
        assert (answer.status_code, answer.json()["behind"]) == (200, []), answer.text
        assert {each["name"] for each in answer.json()["replicas"]} == names
        assert {each["revision"] for each in answer.json()["replicas"]} == {n + 1}
        for client in three:
            assert predict(client, "faces", [picture(0)])[0]["trigger"]["version"] == version
    etag = {"If-Match": three[0].get(ROLLOUT).headers["etag"]}
    back = three[0].post(f"{ROLLOUT}/rollback", params={"wait": "true"}, headers=ADMIN | etag)
    assert back.status_code == 200
    assert [predict(client, "faces", [picture(0)])[0]["trigger"]["version"] for client in three] == [3, 3, 3]


def test_a_replica_lists_itself_though_its_signs_of_life_were_late(
    three: list[httpx.Client], filled_store: FileStore
) -> None:
    name = three[0].get(ROLLOUT).json()["replica"]
    for each in filled_store.replicas("faces"):
        filled_store.withdraw("faces", each.name)  # as if a pause had outlasted their time to live
    wait_until(lambda: len(three[0].get(ROLLOUT).json()["replicas"]) == 1)
    found = three[0].get(ROLLOUT).json()["replicas"]
    assert [(each["name"], each["revision"]) for each in found] == [(name, 0)]
    answer = decided(three[0], "faces", params={"wait": "true"}, champion="v1").json()
    assert (name, 1) in {(each["name"], each["revision"]) for each in answer["replicas"]} and answer["behind"] == []


def test_a_swap_reaches_every_replica_soon(three: list[httpx.Client]) -> None:
    took = []
    for n in range(5):
        swap(three[0], "faces", f"v{n % 4 + 1}")
        started = time.monotonic()
        wait_until(partial(all_at, three, n + 1))
        took.append(time.monotonic() - started)
    assert median(took) < 2  # any one may meet a machine that pauses


def test_waiting_in_vain_says_for_whom(service: httpx.Client, filled_store: FileStore) -> None:
    filled_store.report("faces", Replica("stuck", 0), ttl_seconds=60)
    answer = decided(service, "faces", params={"wait": "true", "timeout": "0.3"}, champion="v1")
    assert (answer.status_code, answer.json()["behind"]) == (202, ["stuck"])
    assert answer.json()["applied_champion"] == "v1"
    filled_store.report("faces", Replica("stuck", 1, 1, "v2 was altered", 2), ttl_seconds=60)
    started = time.monotonic()
    refused = decided(service, "faces", params={"wait": "true", "timeout": "20"}, champion="v2")
    assert (refused.status_code, refused.json()["behind"]) == (202, ["stuck"])
    assert time.monotonic() - started < 10  # it will not come, so it is not waited for
    told = {each["name"]: each for each in refused.json()["replicas"]}
    assert (told["stuck"]["champion"], told["stuck"]["refusal"]) == ("v1", "v2 was altered")


def test_a_replica_that_refuses_says_so_to_all(three: list[httpx.Client], filled_store: FileStore) -> None:
    decided(three[0], "faces", params={"wait": "true"}, champion="v1")
    path = filled_store.path_of(filled_store.version("faces", 2))
    path.write_bytes(b"spoiled")
    filled_store.set_rollout("faces", 2, if_revision=None, actor="cli", reason="")
    wait_until(lambda: [each.refused_revision for each in filled_store.replicas("faces")] == [2, 2, 2])
    wait_until(lambda: all(each["refusal"] for each in three[0].get(ROLLOUT).json()["replicas"]))
    for each in three[0].get(ROLLOUT).json()["replicas"]:
        assert (each["revision"], each["champion"]) == (1, "v1") and "altered" in each["refusal"]


@pytest.mark.slow
def test_one_that_stops_leaves_the_list_and_one_that_is_killed_expires(tmp_path: Path, filled_store: FileStore) -> None:
    bundle = image_bundle(tmp_path / "bundle")
    with ExitStack() as stack:
        first, second = (stack.enter_context(process(tmp_path, [bundle], heartbeat_seconds=1.0)) for _ in range(2))
        wait_until(lambda: len(filled_store.replicas("faces")) == 2)
        assert second.stop(signal.SIGTERM) == 0
        assert len(filled_store.replicas("faces")) == 1
        first.stop(signal.SIGKILL)
        wait_until(lambda: filled_store.replicas("faces") == [], seconds=15)
