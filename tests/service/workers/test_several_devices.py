"""`--devices cpu,cpu`: two inference processes behind one port, which stand in for each other."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from benchmarks.life import alive, descendants
from tests.service.family import PREDICT, Load, children, faces_and_posts, fresh
from tests.service.live import Process, picture, predict, process, running, settings, swap, wait_until
from tests.service.swapping import KINDS, swap_under_load
from triggers.model import load_bundle
from triggers.store.file_store import FileStore

START_SECONDS = 120
"""For a start beside clients that keep all cores busy."""
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("devices")


@pytest.fixture(scope="module")
def bundles(folder: Path) -> list[Path]:
    return faces_and_posts(folder, KINDS)


@pytest.fixture(scope="module")
def service(folder: Path, bundles: list[Path]) -> Iterator[Process]:
    options = {"devices": "cpu,cpu", "http_workers": 2, "drain_seconds": 0.2, "poll_seconds": 0.05}
    with process(folder, bundles, **options) as started:
        wait_until(lambda: ready(started) == (200, 2))
        yield started


def ready(service: Process) -> tuple[int, int]:
    """The status of /readyz, and how many processes it says compute, at whichever HTTP process answers."""
    with fresh(service) as client:
        answer = client.get("/readyz")
        assert answer.json()["devices"]["of"] == 2
        return answer.status_code, answer.json()["devices"]["up"]


def all_there(service: Process) -> bool:
    """Whether both HTTP processes are joined with both inference processes; they take turns."""
    return all(ready(service) == (200, 2) for _ in range(8))


def counted(client: httpx.Client, group: str) -> int:
    report = client.get("/v1/models/faces/fairness", params={"by": "total"}).json()["versions"].get("total")
    return int(report["groups"].get(group, {}).get("n", 0)) if report else 0


def test_it_says_what_computes_and_answers_as_one_process_does(
    service: Process, bundles: list[Path], tmp_path: Path
) -> None:
    assert len(children(service, "inference")) == 2 and len(children(service, "http")) == 2
    assert "2 HTTP processes at" in service.log.read_text() and "models on cpu, cpu" in service.log.read_text()
    assert service.client.get("/v1/models/faces").json()["device"] == "cpu, cpu"
    up = re.findall(r'fairtrigger_device_up{device="cpu",process="(.)"} (.*)', service.client.get("/metrics").text)
    assert up == [("0", "1.0"), ("1", "1.0")]
    inputs: dict[str, Sequence[bytes | str]] = {
        "faces": [picture(seed) for seed in range(9)],
        "posts": ["a good movie", "people are kind " * 20],
    }
    with FileStore(tmp_path / "store") as store:
        with running(settings(tmp_path), store, [load_bundle(bundle) for bundle in bundles]) as alone:
            for model, sent in inputs.items():
                here = predict(alone, model, sent, twin=True)
                for _ in range(4):
                    there = predict(service.client, model, sent, twin=True)
                    assert [each["scores"] for each in here] == [pytest.approx(each["scores"]) for each in there]


def test_swaps_under_load_are_confirmed_when_all_processes_have_applied_them(service: Process) -> None:
    report = swap_under_load(service.client, swaps=20, pause=0.02, clients=4)
    assert report.failures == [] and report.answers > 100


def test_a_named_version_is_held_where_its_request_is_computed(service: Process) -> None:
    for version in (1, 2, 3, 2, 1, None) * 2:
        trigger = "none" if version is None else f"v{version}"
        assert predict(service.client, "faces", [picture(0)], trigger=trigger)[0]["trigger"]["version"] == version
    headers = {"Content-Type": "image/png"}
    answer = service.client.post(PREDICT, params={"trigger": "v9"}, content=picture(0), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_of_a_process_that_is_killed_the_other_answers_every_request_and_each_counts_once(service: Process) -> None:
    with ExitStack() as loads:
        named = [{"group": "all"}] * 2 + [{"group": "all", "trigger": "v2"}]
        clients = [loads.enter_context(Load(service, **params)) for params in named]
        os.kill(children(service, "inference")[0], signal.SIGKILL)
        wait_until(lambda: ready(service) == (200, 1))
        wait_until(lambda: all_there(service), START_SECONDS)
    assert [set(client.seen) for client in clients] == [{200}] * 3
    answered = sum(client.seen[200] for client in clients)
    wait_until(lambda: counted(service.client, "all") >= answered)
    assert counted(service.client, "all") == answered
    assert "engine_server on cpu ended with signal 9" in service.log.read_text()


def test_a_process_that_stands_still_is_replaced_and_the_other_answers_what_it_had(service: Process) -> None:
    still, _ = children(service, "inference")
    clients = [Load(service) for _ in range(12)]
    os.kill(still, signal.SIGSTOP)
    for client in clients:
        client.start()
    wait_until(lambda: still not in children(service, "inference") and all_there(service), START_SECONDS)
    for client in clients:
        client.stop.set()
        client.join(30)
    assert all(set(client.seen) == {200} for client in clients)
    assert "engine_server on cpu was silent for" in service.log.read_text()


def test_when_none_is_left_clients_are_told_when_to_come_back(service: Process) -> None:
    assert swap(service.client, "faces", "v3").status_code == 200
    with Load(service) as load:
        for victim in children(service, "inference"):
            os.kill(victim, signal.SIGKILL)
        wait_until(lambda: ready(service) == (503, 0))
        wait_until(lambda: load.seen[503] > 3)
    wait_until(lambda: all_there(service), START_SECONDS)
    assert set(load.seen) <= {200, 503} and all(int(hint or 0) >= 1 for hint in load.hints)
    assert predict(service.client, "faces", [picture(0)])[0]["trigger"]["version"] == 3


def test_an_http_process_that_is_started_again_finds_both(service: Process) -> None:
    victim, other = children(service, "http")
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: len(children(service, "http")) == 2 and victim not in children(service, "http"))
    (new,) = set(children(service, "http")) - {other}
    wait_until(lambda: f"Started server process [{new}]" in service.log.read_text(), START_SECONDS)
    wait_until(lambda: all_there(service))


def test_sigterm_ends_all_of_them(service: Process) -> None:
    family = descendants(service.popen.pid)
    assert len(family) == 4
    assert service.stop() == 0
    assert not any(map(alive, family))
    assert "Traceback" not in service.log.read_text() and "never awaited" not in service.log.read_text()
