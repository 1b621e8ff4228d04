"""A process that stands still (SIGSTOP) is noticed, replaced, and costs no client more than a few seconds."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from benchmarks.life_models import sleeping_bundle
from tests.service.family import PREDICT, children, faces_and_posts, fresh
from tests.service.live import Process, picture, predict, process, wait_until

pytestmark = pytest.mark.slow
LIVENESS = 1.5
NOTICED = 10.0
"""Seconds: what a busy machine may need beyond LIVENESS."""
AGAIN = 90.0
IMAGE = {"Content-Type": "image/png"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("stopped")
    options = {"http_workers": 2, "inline": False, "drain_seconds": 0.2, "liveness_seconds": LIVENESS}
    with process(folder, faces_and_posts(folder), **options) as started:
        yield started


def ready(service: Process) -> bool:
    """At whichever HTTP process answers."""
    with fresh(service) as client:
        return client.get("/readyz").status_code == 200


def all_ready(service: Process) -> bool:
    return len(children(service, "http")) == 2 and all(ready(service) for _ in range(8))


def test_a_stopped_inference_process_is_replaced_and_nobody_waits_for_it(service: Process) -> None:
    (victim,) = children(service, "inference")
    os.kill(victim, signal.SIGSTOP)
    began = time.monotonic()
    scraped = service.client.get("/metrics")
    assert scraped.status_code == 200 and time.monotonic() - began < NOTICED
    refused = service.client.post(PREDICT, content=picture(0), headers=IMAGE)
    assert time.monotonic() - began < LIVENESS + NOTICED
    assert refused.status_code == 503 and int(refused.headers["retry-after"]) >= 1
    assert not ready(service)
    assert service.client.get("/healthz").status_code == 200
    wait_until(lambda: all_ready(service), AGAIN)
    assert victim not in children(service, "inference")
    assert predict(service.client, "faces", [picture(0)])
    assert "service.inference_process was silent for" in service.log.read_text()


def test_a_stopped_http_process_is_replaced_and_its_clients_are_told(service: Process) -> None:
    with ExitStack() as connections:
        clients = [connections.enter_context(fresh(service)) for _ in range(16)]
        assert [client.get("/healthz").status_code for client in clients] == [200] * 16
        victim, _ = children(service, "http")
        os.kill(victim, signal.SIGSTOP)
        began = time.monotonic()
        seen = {outcome(client) for client in clients}
        assert time.monotonic() - began < LIVENESS + NOTICED
    assert seen == {"broken", "200"}
    with fresh(service) as client:
        assert predict(client, "faces", [picture(0)])
    wait_until(lambda: all_ready(service) and victim not in children(service, "http"), AGAIN)


def outcome(client: httpx.Client) -> str:
    try:
        return str(client.post(PREDICT, content=picture(0), headers=IMAGE).status_code)
    except httpx.TransportError as error:
        assert not isinstance(error, httpx.TimeoutException)
        return "broken"


def test_a_stopped_supervisor_harms_nobody_and_kills_nobody_when_it_goes_on(service: Process) -> None:
    family = children(service, "http") + children(service, "inference")
    os.kill(service.popen.pid, signal.SIGSTOP)
    try:
        end = time.monotonic() + 2 * LIVENESS
        while time.monotonic() < end:
            with fresh(service) as client:
                assert predict(client, "faces", [picture(0)])
    finally:
        os.kill(service.popen.pid, signal.SIGCONT)
    end = time.monotonic() + LIVENESS
    while time.monotonic() < end:
        with fresh(service) as client:
            assert predict(client, "faces", [picture(0)])
    assert children(service, "http") + children(service, "inference") == family


def test_sigterm_ends_a_service_one_of_whose_processes_stands_still(service: Process) -> None:
    os.kill(children(service, "inference")[0], signal.SIGSTOP)
    began = time.monotonic()
    assert service.stop() in (0, 1)
    assert time.monotonic() - began < 30


def test_a_long_batch_is_no_silence(tmp_path: Path) -> None:
    bundle = sleeping_bundle(tmp_path / "faces", 2 * LIVENESS)
    options = {"http_workers": 1, "inline": False, "drain_seconds": 0, "liveness_seconds": LIVENESS, "max_batch": 1}
    with process(tmp_path, [bundle], **options) as service:
        before = children(service, "inference")
        assert predict(service.client, "faces", [picture(0)])
        assert children(service, "inference") == before
