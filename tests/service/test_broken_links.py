"""What goes wrong between an HTTP process and the inference processes is answered, and what broke is made anew."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service import link as links_of_one
from service.batcher import BatchFailed
from service.channel import Channel
from service.control import Offer, send_link
from service.link import NoReply, Restarting
from service.predictor import Answer
from service.problems import problem_of
from service.shared_slots import shared_memory
from service.wire import Message, send_hello
from tests.artifacts import artifact_for
from tests.service.linked import PLACES, QUERY, Family, holds, run
from triggers.artifact import TriggerArtifact
from triggers.classifier import FrozenClassifier
from triggers.file_store import FileStore
from triggers.store import Rollout

SECONDS = 5.0


class FaultyStore(FileStore):
    """A store that runs out of memory when it is told to, and whose artifacts come once `gate` is open."""

    broken = False

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.gate, self.asked = threading.Event(), threading.Event()

    def get(self, model: str, version: int) -> TriggerArtifact:
        self._fail()
        self.asked.set()
        self.gate.wait(SECONDS)
        return super().get(model, version)

    def rollout(self, model: str) -> Rollout:
        self._fail()
        return super().rollout(model)

    def _fail(self) -> None:
        if self.broken:
            raise RuntimeError("CUDA out of memory")


@pytest.fixture
def store(tmp_path: Path, image_model: FrozenClassifier) -> Iterator[FaultyStore]:
    with FaultyStore(tmp_path / "store") as made:
        made.publish(artifact_for(image_model, "border"), actor="test")
        yield made
        made.gate.set()


@pytest.fixture
def family(tmp_path: Path, store: FaultyStore, image_model: FrozenClassifier) -> Family:
    return Family(tmp_path, [store], [image_model])


async def reply_to(family: Family, message: Message) -> Message:
    return await asyncio.wait_for(family.links.all[0].post(message)[1], SECONDS)


async def settled(family: Family) -> None:
    """Wait until what a process asks when it joins is answered."""
    await reply_to(family, {"op": "depth", "model": "faces"})
    await holds(lambda: not family.channels[0]._tasks)


async def serves(family: Family) -> None:
    with family.parts.batcher.place(1):
        answers, _ = await asyncio.wait_for(family.parts.batcher.submit([QUERY]), SECONDS)
    assert isinstance(answers[0], Answer)


async def joins_again(family: Family) -> None:
    """What the supervisor does when a heartbeat tells it that a connection was lost."""
    async with asyncio.timeout(SECONDS):
        while b"1" not in family.line.recv(100).split():
            await asyncio.sleep(0.01)
    here, there = socket.socketpair()
    with here:
        send_link(family.line, Offer(0, 2, here))
    family.channels.append(Channel({"faces": family.local[0]}, PLACES, lambda _: None))
    await family.channels[-1].open(there, 1.0)
    await family.up(1)
    await serves(family)


@pytest.mark.parametrize(
    "message",
    [
        {"op": "lease", "model": "faces", "version": 1},
        {"op": "follow", "model": "faces"},
        {"op": "depth", "model": "nobody"},
        {"op": "lease"},
        {"op": "predict", "model": "faces", "queries": [[0]]},
        {"op": "predict", "model": "faces", "queries": [[PLACES, 1, "rollout", False, 0, []]]},
        {"op": "predict"},
        {"op": "dance"},
        {},
    ],
    ids=lambda message: f"{message.get('op')}-{len(message)}",
)
def test_whatever_goes_wrong_is_answered_and_the_device_is_looked_at(
    family: Family, store: FaultyStore, message: Message
) -> None:
    async def scenario(family: Family) -> None:
        await settled(family)
        store.broken = True
        reply = await reply_to(family, message)
        store.broken = False
        assert reply["error"]["kind"] == "BatchFailed" and family.failures == 1
        assert len(family.links.up) == 1 and not family.channels[0]._tasks
        await serves(family)

    run(family, scenario, up=1)


def test_an_unexpected_error_is_raised_to_whoever_asked(family: Family, store: FaultyStore) -> None:
    async def scenario(family: Family) -> None:
        await settled(family)
        store.broken = True
        with pytest.raises(BatchFailed, match="its log has the details"):
            await asyncio.wait_for(asyncio.to_thread(family.parts.predictor.lease(1).__enter__), SECONDS)

    run(family, scenario, up=1)


@pytest.mark.parametrize("to_http", [True, False])
def test_a_message_that_cannot_be_answered_ends_the_connection_and_another_is_made(
    family: Family, to_http: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(family: Family) -> None:
        family.cables.pop().close()  # nobody else has this end
        wire: Any = family.channels[0]._wire if to_http else family.links.all[0]._wire
        wire.send({"view": {}})
        await family.up(0)
        await holds(lambda: not family.channels[0]._wire.open)
        assert "could not be handled" in caplog.text and family.parts.batcher.queued == 0
        await joins_again(family)

    run(family, scenario, up=1)


def test_a_request_in_work_is_told_when_the_connection_ends(family: Family, store: FaultyStore) -> None:
    async def scenario(family: Family) -> None:
        leasing = asyncio.ensure_future(asyncio.to_thread(family.parts.predictor.lease(1).__enter__))
        await asyncio.to_thread(store.asked.wait, SECONDS)
        family.cables.pop().close()
        family.links.all[0].send({"view": {}})
        with pytest.raises(Restarting):
            await asyncio.wait_for(leasing, SECONDS)
        store.gate.set()

    run(family, scenario, up=1)


@pytest.mark.parametrize("hello", [{}, {"models": {"faces": {}}}, {"models": {}, "memory": -1}])
def test_a_hello_that_makes_no_sense_keeps_no_other_process_out(family: Family, hello: Message) -> None:
    async def scenario(family: Family) -> None:
        before = memories()
        family.cut(0)
        await family.up(0)
        here, there = socket.socketpair()
        with here:
            send_link(family.line, Offer(0, 1, here))
        memory = shared_memory(4096)
        send_hello(there, hello, memory)
        os.close(memory)
        there.setblocking(False)
        with there:
            assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(there, 1), SECONDS) == b""
        assert memories() <= before
        await joins_again(family)

    run(family, scenario, up=1)


def memories() -> int:
    """Open descriptors of shared memory in this process."""
    found = [Path(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")]
    return sum("fairtrigger-slots" in os.readlink(each) for each in found if each.is_symlink())


def test_a_process_that_died_before_it_was_joined_is_joined_again(family: Family) -> None:
    async def scenario(family: Family) -> None:
        family.cut(0)
        await family.up(0)
        here, there = socket.socketpair()
        with here, there:
            send_link(family.line, Offer(0, 1, here))
        await joins_again(family)

    run(family, scenario, up=1)


def test_a_reply_that_does_not_come_is_503_and_its_work_is_cancelled(
    family: Family, store: FaultyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(links_of_one.REPLY_SECONDS, "lease", 0.2)

    async def scenario(family: Family) -> None:
        with pytest.raises(NoReply) as told:
            await asyncio.wait_for(asyncio.to_thread(family.parts.predictor.lease(1).__enter__), SECONDS)
        problem = problem_of(told.value)
        assert (problem.status, problem.headers) == (503, {"Retry-After": "1"})
        assert "within 0.2 s" in problem.detail
        await holds(lambda: not family.channels[0]._tasks)
        store.gate.set()  # the thread that loads goes on, and what it takes is given back
        there = family.local[0].predictor
        await holds(lambda: 1 in there.snapshot.rows and not there._leases)
        assert not family.channels[0]._leases
        await serves(family)

    run(family, scenario, up=1)


def test_a_silent_process_delays_no_scrape(family: Family) -> None:
    async def scenario(family: Family) -> None:
        family.channels[0]._work["depth"] = never
        before = time.monotonic()
        assert await asyncio.wait_for(asyncio.to_thread(lambda: family.parts.batcher.queued), SECONDS) == 0
        assert time.monotonic() - before < SECONDS
        await holds(lambda: not family.channels[0]._tasks)

    async def never(message: Message) -> Message:
        await asyncio.Event().wait()
        return {}

    run(family, scenario, up=1)


def test_a_stop_waits_for_no_reply(family: Family, store: FaultyStore) -> None:
    async def scenario(family: Family) -> None:
        leasing = asyncio.ensure_future(asyncio.to_thread(family.parts.predictor.lease(1).__enter__))
        await asyncio.to_thread(store.asked.wait, SECONDS)
        await family.parts.batcher.close()
        with pytest.raises(Restarting):
            await asyncio.wait_for(leasing, SECONDS)
        store.gate.set()

    run(family, scenario, up=1)
