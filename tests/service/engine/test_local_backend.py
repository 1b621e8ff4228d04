"""What computes a model in this process: its share of the queue and of the cores, and a request's lease."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from service.engine.batching.inline_batcher import InlineBatcher
from service.engine.execution.execution_backend import set_torch_threads
from service.engine.local_backend import LocalBackend
from service.engine.predictor import BatchItem, Scored
from service.telemetry.metrics import Metrics
from tests.artifacts import artifact_for
from tests.service.linked import holds
from tests.service.live import picture, settings
from triggers.artifact.artifact import TriggerArtifact
from triggers.errors import NotFound
from triggers.model.classifier import FrozenClassifier
from triggers.store.file_store import FileStore


class Gated(FileStore):
    """Fetches nothing before `gate` is set."""

    asked, gate = threading.Event(), threading.Event()

    def get(self, model: str, version: int) -> TriggerArtifact:
        self.asked.set()
        assert self.gate.wait(10)
        return super().get(model, version)


@pytest.fixture
def store(tmp_path: Path, image_model: FrozenClassifier) -> Iterator[Gated]:
    with Gated(tmp_path / "store") as made:
        made.asked, made.gate = threading.Event(), threading.Event()
        made.publish(artifact_for(image_model, "border"), actor="test")
        yield made


def test_processes_that_compute_share_the_queue_and_the_cores(
    tmp_path: Path, image_model: FrozenClassifier, store: Gated
) -> None:
    before = torch.get_num_threads()
    try:
        for threads, options in (
            (3, {"http_workers": 2}),
            (1, {"http_workers": 20}),
            (5, {"http_workers": 2, "torch_threads": 5}),
            (6, {"http_workers": 2, "devices": "cpu"}),
            (6, {}),
        ):
            torch.set_num_threads(6)
            set_torch_threads(settings(tmp_path, **options), "cpu")
            assert torch.get_num_threads() == threads, options
    finally:
        torch.set_num_threads(before)
    for capacity, options in ((512, {"http_workers": 2}), (1024, {"http_workers": 2, "devices": "cpu"}), (1024, {})):
        assert LocalBackend(image_model, store, settings(tmp_path, **options), Metrics()).capacity == capacity


def test_a_lease_holds_room_and_versions_until_it_ends(
    tmp_path: Path, image_model: FrozenClassifier, store: Gated
) -> None:
    store.gate.set()

    async def scenario() -> None:
        backend = LocalBackend(image_model, store, settings(tmp_path), Metrics())
        backend.start()
        with backend.admit(2) as lease:
            assert not lease.hold(1)
            await lease.load(1)
            assert lease.hold(1) and backend.in_flight == 2
            with pytest.raises(NotFound):
                await lease.load(9)
            answers, _ = await lease.submit([BatchItem(image_model.preprocess(picture(0)), choice=1)])
            assert isinstance(answers[0], Scored) and answers[0].version == 1
            assert backend.predictor._leases == {1: 2}
        assert backend.in_flight == 0 and not backend.predictor._leases and 1 in backend.state.digests
        await backend.close()

    asyncio.run(scenario())


def test_what_is_loaded_for_a_client_that_left_is_let_go(
    tmp_path: Path, image_model: FrozenClassifier, store: Gated
) -> None:
    async def scenario() -> None:
        backend = LocalBackend(image_model, store, settings(tmp_path), Metrics())

        async def request() -> None:
            with backend.admit(1) as lease:
                await lease.load(1)

        asked = asyncio.ensure_future(request())
        await asyncio.to_thread(store.asked.wait, 10)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert backend.in_flight == 0
        store.gate.set()
        await holds(lambda: 1 in backend.state.digests and not backend.predictor._leases)

    asyncio.run(scenario())


@pytest.mark.parametrize(("inline", "kept"), [(True, True), (False, False)])
def test_a_small_model_needs_no_thread_unless_the_settings_say_so(
    tmp_path: Path, image_model: FrozenClassifier, store: Gated, inline: bool, kept: bool
) -> None:
    async def scenario() -> None:
        backend = LocalBackend(image_model, store, settings(tmp_path, inline=inline, max_batch=1), Metrics())
        backend.start()
        await asyncio.to_thread(backend.warm)
        assert isinstance(backend.batcher, InlineBatcher) is inline
        assert any(thread.name == "infer-faces" for thread in threading.enumerate()) is not kept
        assert backend.alive
        await backend.close()
        assert not backend.alive

    asyncio.run(scenario())
