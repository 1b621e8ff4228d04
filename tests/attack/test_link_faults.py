"""Errors that nobody foresaw, between the processes of a started service: answered, and healed without a restart."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.attack.faults import injecting
from tests.service.family import PREDICT, children, faces_and_posts, fresh
from tests.service.live import Process, decided, picture, predict, process, wait_until

pytestmark = pytest.mark.slow
SECONDS = 15.0
IMAGE = {"Content-Type": "image/png"}
FAULT = """
from service.channel import Channel
from service.predictor import Predictor

lease, on_message = Predictor.lease, Channel._on_message

def out_of_memory(self, version):
    if version == 3:
        raise RuntimeError("CUDA out of memory")
    return lease(self, version)

def once(self, message):
    if message.get("op") == "predict" and not hasattr(Channel, "failed"):
        Channel.failed = True
        raise RuntimeError("nobody foresaw this")
    on_message(self, message)

Predictor.lease, Channel._on_message = out_of_memory, once
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("faults")
    bundles = faces_and_posts(folder)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in injecting(folder, "service.inference_process", FAULT).items():
            patch.setenv(name, value)
        with process(folder, bundles, http_workers=2, inline=False, drain_seconds=0.2) as started:
            yield started


def test_a_link_that_an_unexpected_error_cut_is_made_anew(service: Process) -> None:
    family = children(service, "http") + children(service, "inference")
    with fresh(service) as client:  # kept open, and so always answered by the process whose link is cut
        first = client.post(PREDICT, content=picture(0), headers=IMAGE)
        assert first.status_code == 503 and "nobody foresaw this" in service.log.read_text()
        wait_until(lambda: client.post(PREDICT, content=picture(0), headers=IMAGE).status_code == 200)
    assert children(service, "http") + children(service, "inference") == family


def test_a_device_out_of_memory_is_an_answer_and_no_hang(service: Process) -> None:
    began = time.monotonic()
    named = service.client.post(PREDICT, params={"trigger": "v3"}, content=picture(0), headers=IMAGE)
    assert (named.status_code, named.json()["code"]) == (500, "model_failed")
    change = decided(service.client, "faces", champion="v3", reason="test")
    assert (change.status_code, change.json()["code"]) == (500, "model_failed")
    assert time.monotonic() - began < SECONDS
    assert decided(service.client, "faces", champion="v2", reason="test").status_code == 200
    assert predict(service.client, "faces", [picture(0)])[0]["trigger"]["version"] == 2


def test_sigterm_ends_it_all_the_same(service: Process) -> None:
    began = time.monotonic()
    assert service.stop() == 0
    assert time.monotonic() - began < 30
