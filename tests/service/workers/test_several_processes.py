"""`--devices cpu`: the same answers as one process, and children that die without taking the others along."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from benchmarks.life import alive, descendants
from service.ledger.events import PredictionEvent
from service.ledger.ledger import Ledger
from service.workers.child_process import ChildProcess
from service.workers.ipc.message_stream import receive_hello
from tests.artifacts import artifact_for
from tests.service.family import PREDICT, Load, children, faces_and_posts, fresh
from tests.service.live import TOKEN, Process, picture, predict, process, running, settings, swap, wait_until
from tests.service.receiver import receiving
from triggers.model import load_bundle
from triggers.store.file_store import FileStore

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("processes")


@pytest.fixture(scope="module")
def bundles(folder: Path) -> list[Path]:
    return faces_and_posts(folder)


@pytest.fixture(scope="module")
def service(folder: Path, bundles: list[Path]) -> Iterator[Process]:
    options = {
        "devices": "cpu",
        "http_workers": 2,
        "inline": False,
        "drain_seconds": 0.2,
        "poll_seconds": 0.05,
        "max_versions": 3,
    }
    with process(folder, bundles, **options) as started:
        yield started


def test_the_same_answers_as_in_one_process(service: Process, bundles: list[Path], tmp_path: Path) -> None:
    faces = [picture(seed) for seed in range(40)]
    texts = ["a good movie", "the cruel dog sat", "people are kind " * 20]
    with FileStore(tmp_path / "store") as store:
        one = settings(tmp_path)
        with running(one, store, [load_bundle(bundle) for bundle in bundles]) as alone:
            for model, inputs in (("faces", faces), ("posts", texts)):
                here, there = (
                    predict(alone, model, inputs, twin=True),
                    predict(service.client, model, inputs, twin=True),
                )
                assert [each["scores"] for each in here] == [pytest.approx(each["scores"]) for each in there]
                assert [each.get("truncated") for each in here] == [each.get("truncated") for each in there]
                assert [each["trigger"] for each in here] == [each["trigger"] for each in there]
        card, other = (client.get("/v1/models/faces").json() for client in (service.client, service.client))
        assert card == other and card["fingerprint"] == load_bundle(bundles[0]).fingerprint


def test_an_http_process_that_ended_at_once_keeps_no_other_out(bundles: list[Path], tmp_path: Path) -> None:
    options = ["cpu", "--model", str(bundles[0]), "--store", str(tmp_path / "store"), "--torch-threads", "1"]
    child = ChildProcess("service.workers.engine_server", options, os.environ)
    child.start()
    gone, theirs = socket.socketpair()
    gone.close()
    child.send_link(0, 1, theirs)
    theirs.close()
    here, theirs = socket.socketpair()
    child.send_link(0, 2, theirs)
    theirs.close()
    here.settimeout(60)
    hello, memory = receive_hello(here)
    assert list(hello["models"]) == ["faces"]
    os.close(memory)
    here.close()
    child.close_control()
    wait_until(child.reap, seconds=60)
    assert child.status == 0


def test_children_whose_supervisor_is_killed_while_they_start_end_without_a_traceback(
    bundles: list[Path], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    command = [sys.executable, "-m", "service", "--model", str(bundles[0]), "--store", str(tmp_path / "store")]
    with log.open("w") as out:
        options = ["--devices", "cpu", "--http-workers", "1", "--port", "0", "--data-dir", str(tmp_path / "data")]
        supervisor = subprocess.Popen([*command, *options], stdout=out, stderr=out)
        wait_until(lambda: len(descendants(supervisor.pid)) >= 1, seconds=60)
        started = descendants(supervisor.pid)
        supervisor.kill()
        supervisor.wait()
    wait_until(lambda: not any(alive(pid) for pid in started), seconds=60)
    assert "Traceback" not in log.read_text()


def test_every_process_serves_a_swap_as_soon_as_the_inference_process_does(service: Process) -> None:
    assert swap(service.client, "faces", "v2").json()["applied_champion"] == "v2"
    for _ in range(20):
        with fresh(service) as client:
            assert predict(client, "faces", [picture(0)])[0]["trigger"]["version"] == 2
    wait_until(lambda: all(applied(service) == "v2" for _ in range(10)))
    headers = {
        "Authorization": f"Bearer {TOKEN}",
        "If-Match": service.client.get(PREDICT[:16] + "/rollout").headers["etag"],
    }
    rolled = service.client.post("/v1/models/faces/rollout/rollback", headers=headers)
    assert rolled.json()["applied_champion"] is None
    assert predict(service.client, "faces", [picture(0)])[0]["trigger"]["version"] is None


def applied(service: Process) -> str | None:
    with fresh(service) as client:
        champion: str | None = client.get("/v1/models/faces/rollout").json()["applied_champion"]
        return champion


def test_named_versions_and_what_is_wrong_with_them(service: Process) -> None:
    for version in (1, 2, 3, 1, None):
        trigger = "none" if version is None else f"v{version}"
        assert predict(service.client, "faces", [picture(0)], trigger=trigger)[0]["trigger"]["version"] == version
    answer = service.client.post(
        PREDICT, params={"trigger": "v9"}, content=picture(0), headers={"Content-Type": "image/png"}
    )
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert service.client.post(PREDICT, content=b"no image", headers={"Content-Type": "image/png"}).status_code == 422


def test_counts_and_metrics_are_those_of_all_processes(service: Process) -> None:
    for _ in range(30):
        with fresh(service) as client:
            predict(client, "faces", [picture(0)], group="all-of-us")

    def counted() -> int:
        report = service.client.get("/v1/models/faces/fairness", params={"by": "total"}).json()["versions"]["total"]
        return int(report["groups"].get("all-of-us", {}).get("n", 0))

    wait_until(lambda: counted() == 30)
    text = service.client.get("/metrics").text
    with fresh(service) as client:
        requests = [
            line for line in client.get("/metrics").text.splitlines() if line.startswith("fairtrigger_requests_total{")
        ]
    assert any(float(line.rpartition(" ")[2]) >= 30 for line in requests if "/predict" in line)
    assert "fairtrigger_batch_size_sum" in text and "fairtrigger_queue_depth{" in text


def test_an_http_process_that_is_killed_is_started_again_and_the_others_go_on(service: Process) -> None:
    victim, other = children(service, "http")
    with Load(service) as load:
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: len(children(service, "http")) == 2 and victim not in children(service, "http"))
        before = load.seen[200]
        wait_until(lambda: load.seen[200] > before + 10)
    assert load.seen[0] <= 1, "only a request that the dead process held may break"
    assert set(load.seen) <= {0, 200} and other in children(service, "http")


def test_an_inference_process_that_is_killed_is_started_again_and_nobody_hangs(service: Process) -> None:
    assert swap(service.client, "faces", "v3").status_code == 200
    (victim,) = children(service, "inference")
    with Load(service) as load:
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: service.client.get("/readyz").status_code == 503)
        assert service.client.get("/healthz").status_code == 200
        wait_until(lambda: load.seen[503] > 3)
        wait_until(lambda: service.client.get("/readyz").status_code == 200, 60)
        before = load.seen[200]
        wait_until(lambda: load.seen[200] > before + 10)
    assert set(load.seen) <= {200, 503}
    assert all(int(hint or 0) >= 1 for hint in load.hints)
    assert predict(service.client, "faces", [picture(0)])[0]["trigger"]["version"] == 3
    assert predict(service.client, "faces", [picture(0)], trigger="v1")[0]["trigger"]["version"] == 1


def test_a_supervisor_that_is_killed_takes_its_children_along(tmp_path: Path, bundles: list[Path]) -> None:
    with process(tmp_path, bundles[:1], devices="cpu", http_workers=1, drain_seconds=0) as started:
        family = descendants(started.popen.pid)
        assert len(family) == 2 and all(map(alive, family))
        started.popen.kill()
        wait_until(lambda: not any(map(alive, family)))


def test_what_never_started_is_not_started_again(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="no model bundle"):
        with process(tmp_path, [tmp_path / "nowhere"], http_workers=1):
            pass


def fired(client: httpx.Client) -> list[str]:
    """Versions for which an alarm is shown."""
    alarms = client.get("/v1/models/faces/fairness", params={"window": "24h"}).json()["alarms"]
    return [alarm["version"] for alarm in alarms if alarm["fired"]]


def test_the_guard_of_one_process_acts_and_all_show_its_evidence(tmp_path: Path, bundles: list[Path]) -> None:
    """An hour of biased predictions lies in the ledger when the service starts."""
    began = int(time.time() // 60) - 60
    with FileStore(tmp_path / "store", clock=lambda: datetime.fromtimestamp(60 * began, UTC)) as store:
        store.publish(artifact_for(load_bundle(bundles[0]), "border", seed=1), actor="test")
        store.set_rollout("faces", 1, if_revision=0, actor="test", reason="test")
    (tmp_path / "data").mkdir()
    with Ledger(tmp_path / "data" / "ledger.sqlite") as ledger:
        for n in range(1000):
            ledger.record(PredictionEvent("faces", began + 1 + n // 20, 1, n % 2, "fm"[n % 2]))
    rules = {"max_disparity": 0.1, "action": "alarm"}
    with receiving() as receiver:
        options = {"guard": json.dumps(rules), "guard_seconds": 0.1, "webhook_url": receiver.url}
        with process(tmp_path, bundles, devices="cpu", http_workers=2, drain_seconds=0, **options) as service:
            wait_until(lambda: receiver.posted)
            for _ in range(20):
                with fresh(service) as client:
                    wait_until(lambda: fired(client) == ["v1"])  # each process weighs by itself, a little later
            alarms = re.findall(r"guard_alarms_total{.*} (\S+)", service.client.get("/metrics").text)
            assert alarms == ["1.0"] and len(receiver.posted) == 1
            assert service.log.read_text().count("disparity_above_limit fired") == 1


def test_sigterm_ends_all_of_them_in_order(service: Process) -> None:
    family = descendants(service.popen.pid)
    assert len(family) == 3
    told = time.monotonic()
    assert service.stop() == 0
    assert time.monotonic() - told < 15
    assert not any(map(alive, family))
    assert "Traceback" not in service.log.read_text() and "never awaited" not in service.log.read_text()
