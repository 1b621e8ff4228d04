"""An HTTP process beside two inference processes, all in one event loop: real channels, links, stores and models."""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from service.engine.predictor import BatchResult, Scored
from service.errors import BatchFailed, EngineRestarting, Overloaded
from service.workers import engine_server
from service.workers.engine_client import EngineClient
from service.workers.remote_model import RemoteLease, RemoteModel
from tests.artifacts import artifact_for
from tests.bundles import image_bundle
from tests.service.linked import PLACES, QUERY, Family, holds, run
from triggers.errors import ModelError, NotFound, StoreUnavailable
from triggers.model import FrozenClassifier, load_bundle
from triggers.model.preprocessor import Preprocessor
from triggers.rollout.rollout_plan import RolloutPlan
from triggers.store.file_store import FileStore


@pytest.fixture
def stores(tmp_path: Path, image_model: FrozenClassifier) -> Iterator[list[FileStore]]:
    """One with three versions of `faces`, and an empty one."""
    with FileStore(tmp_path / "store") as full, FileStore(tmp_path / "empty") as empty:
        for seed in range(3):
            full.publish(artifact_for(image_model, "border", seed=seed), actor="test")
        yield [full, empty]


def version_of(result: BatchResult) -> int | None:
    assert isinstance(result, Scored)
    return result.version


@pytest.fixture
def family(tmp_path: Path, stores: list[FileStore], image_model: FrozenClassifier) -> Family:
    return Family(tmp_path, [stores[0]] * 2, [image_model] * 2)


def test_a_request_goes_where_the_fewest_rows_are_in_work_and_ties_take_turns(family: Family) -> None:
    async def scenario(family: Family) -> None:
        backend, (one, other) = family.backend, family.links.all
        assert backend.capacity == 2 * PLACES
        with ExitStack() as held:
            links = [_link(held, backend.admit(rows)) for rows in (1, 1, 200, 50, 50, 50)]
            assert set(links[:2]) == {one, other}
            assert {*links[3:]} == {one, other} - {links[2]}, "150 rows are fewer than 200"
            assert backend.in_flight == 352
            with pytest.raises(Overloaded, match="more do not fit into 256"):
                backend.admit(110)
        assert backend.in_flight == 0
        turns = []
        for _ in range(6):
            with ExitStack() as held:
                turns.append(_link(held, backend.admit(1)))
        assert turns[:2] * 3 == turns and turns[0] is not turns[1]
        family.cut(0)
        await family.up(1)
        assert backend.capacity == PLACES and backend.ready
        with ExitStack() as held:
            assert [_link(held, backend.admit(1)) for _ in range(3)] == [other] * 3

    run(family, scenario)


def _link(held: ExitStack, lease: RemoteLease) -> EngineClient:
    return held.enter_context(lease).link


def test_who_joins_makes_the_inference_process_look_for_what_was_decided_meanwhile(
    tmp_path: Path, stores: list[FileStore], image_model: FrozenClassifier
) -> None:
    async def scenario(family: Family) -> None:
        await holds(lambda: family.local[0].state.champion == 1)
        await holds(lambda: family.links.applied["faces"].champion == 1)

    family = Family(tmp_path, [stores[0]], [image_model], poll_seconds=60)
    follower = family.followers[0]
    follower.start()
    try:
        time.sleep(0.2)  # it has looked, and waits
        stores[0].set_rollout("faces", 1, if_revision=0, actor="another process", reason="")
        run(family, scenario, up=1)
    finally:
        follower.stop()


def test_a_request_whose_process_dies_is_computed_by_the_other_once(
    tmp_path: Path, stores: list[FileStore], image_model: FrozenClassifier
) -> None:
    async def scenario(family: Family) -> None:
        backend, (idle, _) = family.backend, family.links.all
        with ExitStack() as held:
            if (lease := held.enter_context(backend.admit(1))).link is not idle:
                held.close()
                lease = held.enter_context(backend.admit(1))
            assert lease.link is idle
            await lease.load(2)
            assert (family.versions(0), family.versions(1)) == ({2}, set())
            asked = asyncio.ensure_future(lease.submit([QUERY._replace(choice=2), QUERY]))
            await holds(lambda: family.local[0].batcher.queued == 2)
            family.cut(0)
            answers, timings = await asked
            assert [version_of(answer) for answer in answers] == [2, None] and timings[0].batch_size == 2
            assert family.versions(1) == {2} and backend.in_flight == 1
            family.cut(1)
            await family.up(0)
            with pytest.raises(EngineRestarting) as told:
                await lease.submit([QUERY])
            assert told.value.retry_after == 8, "as long as the last start took"
        assert backend.in_flight == 0 and not backend.ready

    run(Family(tmp_path, [stores[0]] * 2, [image_model] * 2, idle=0), scenario)


def test_the_memory_of_an_http_process_that_ended_is_free_without_garbage_collection(family: Family) -> None:
    async def scenario(family: Family) -> None:
        with family.backend.admit(1) as lease:
            await lease.submit([QUERY])
        memory = weakref.ref(family.channels[0]._slots["faces"]._bytes)
        assert memory() is not None
        gc.disable()
        try:
            family.cut(0)
            await family.up(1)
            await holds(lambda: memory() is None)
        finally:
            gc.enable()

    run(family, scenario)


def test_a_version_that_a_request_names_is_held_by_another_when_its_process_is_gone(family: Family) -> None:
    async def scenario(family: Family) -> None:
        with family.backend.admit(1) as lease:
            gone = family.links.all.index(lease.link)
            family.cut(gone)
            await family.up(1)
            await lease.load(1)
            assert (family.versions(gone), family.versions(1 - gone)) == (set(), {1})
            answers, _ = await lease.submit([QUERY._replace(choice=1)])
            assert version_of(answers[0]) == 1
        assert family.backend.in_flight == 0

    run(family, scenario)


def test_a_version_known_to_be_in_memory_needs_no_lease_and_one_that_left_is_loaded_again(
    tmp_path: Path, stores: list[FileStore], image_model: FrozenClassifier
) -> None:
    async def scenario(family: Family) -> None:
        backend, there = family.backend, family.local[0].predictor
        with backend.admit(1) as lease:
            assert not lease.hold(1)
            await lease.load(1)
        await holds(lambda: 1 in backend.state.digests)
        for loaded in ((), (2, 3)):  # the second time version 1 has to leave, and nobody says so here
            for version in loaded:
                with there.hold(version):
                    pass
            with backend.admit(1) as lease:
                assert lease.hold(1) and (1 in there.snapshot.rows) == (not loaded)
                answers, _ = await lease.submit([QUERY._replace(choice=1)])
            assert version_of(answers[0]) == 1
        await holds(lambda: backend.in_flight == 0 and not there._leases)  # the release of the last lease is on its way

    run(Family(tmp_path, [stores[0]], [image_model]), scenario, up=1)


def test_a_request_goes_elsewhere_once(family: Family) -> None:
    async def scenario(family: Family) -> None:
        with family.backend.admit(1) as lease:
            first = lease.link
            lease._assignment.fail_over()
            assert lease.link is not first
            with pytest.raises(EngineRestarting):
                lease._assignment.fail_over()

    run(family, scenario)


def test_a_version_is_tried_by_all_before_it_is_decided_and_released_if_one_refuses(
    tmp_path: Path, stores: list[FileStore], image_model: FrozenClassifier
) -> None:
    async def both(family: Family) -> None:
        with ExitStack() as held:
            await asyncio.to_thread(held.enter_context, family.backend.hold(3))
            assert family.versions(0) == family.versions(1) == {3}

    async def one(family: Family) -> None:
        with ExitStack() as held, pytest.raises(NotFound):
            await asyncio.to_thread(held.enter_context, family.backend.hold(3))
        await asyncio.sleep(0.05)
        predictor = family.local[0].predictor
        with predictor.hold(1), predictor.hold(2):  # there is room for two, so 3 is not held
            assert family.versions(0) == {1, 2}

    run(Family(tmp_path, [stores[0]] * 2, [image_model] * 2), both)
    run(Family(tmp_path, stores, [image_model] * 2), one)


def test_what_is_applied_is_what_the_slowest_applied(
    tmp_path: Path, stores: list[FileStore], image_model: FrozenClassifier
) -> None:
    async def scenario(family: Family) -> None:
        backend, plan = family.backend, RolloutPlan(2)
        await asyncio.to_thread(backend.activate_plan, RolloutPlan(), 0)  # both have looked
        stores[0].set_rollout("faces", plan, if_revision=0, actor="test", reason="test")
        await asyncio.to_thread(family.followers[0].reconcile_once)
        await holds(lambda: family.links.all[0].states["faces"].revision == 1)
        assert backend.state.revision == 0 and backend.state.champion is None
        await asyncio.to_thread(backend.activate_plan, plan, 1)
        assert backend.state.revision == 1 and backend.state.digest(2) is not None

    async def stays_behind(family: Family) -> None:
        backend, plan = family.backend, stores[0].rollout("faces").plan
        with pytest.raises(StoreUnavailable, match="applied revision 0 of 'faces', not 1"):
            await asyncio.to_thread(backend.activate_plan, plan, 1)
        assert family.links.all[0].states["faces"].revision == 1 and backend.state.revision == 0
        family.cut(1)
        await family.up(1)
        assert backend.state.revision == 1, "whoever is gone holds nobody back"

    run(Family(tmp_path, [stores[0]] * 2, [image_model] * 2), scenario)
    run(Family(tmp_path, stores, [image_model] * 2), stays_behind)


def test_processes_with_other_weights_do_not_answer_for_the_same_model(
    tmp_path: Path, stores: list[FileStore], image_model: FrozenClassifier, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(family: Family) -> None:
        await holds(lambda: "a bundle was changed; restart the service" in caplog.text)
        assert len(family.links.up) == 1

    other = load_bundle(image_bundle(tmp_path / "other", seed=1))
    run(Family(tmp_path, [stores[0]] * 2, [image_model, other]), scenario, up=1)


def test_a_failed_batch_is_told_since_the_device_may_have_failed(tmp_path: Path, stores: list[FileStore]) -> None:
    async def scenario(family: Family) -> None:
        with family.backend.admit(1) as lease, pytest.raises(BatchFailed):
            await lease.submit([QUERY])
        assert family.failures == 1

    def fail(*_: object) -> None:
        raise RuntimeError("the device is gone")

    broken = load_bundle(image_bundle(tmp_path / "broken"))
    broken.network.register_forward_pre_hook(fail)
    run(Family(tmp_path, [stores[0]], [broken]), scenario, up=1)


def test_a_process_whose_device_is_lost_ends(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    ended: list[int] = []
    monkeypatch.setattr(engine_server, "exit_now", ended.append)
    engine_server.exit_if_device_lost("cpu")
    assert ended == []
    engine_server.exit_if_device_lost("foo:7")
    assert ended == [1] and "The device foo:7 cannot be used" in caplog.text


def test_a_bundle_whose_threshold_was_changed_meanwhile_is_refused(
    tmp_path: Path, stores: list[FileStore], image_model: FrozenClassifier
) -> None:
    async def scenario(family: Family) -> None:
        RemoteModel(Preprocessor(image_model.spec), family.links)
        changed = Preprocessor(image_model.spec.model_copy(update={"threshold": 0.8}))
        with pytest.raises(ModelError, match="was changed while it was loaded"):
            RemoteModel(changed, family.links)

    run(Family(tmp_path, [stores[0]], [image_model]), scenario, up=1)
