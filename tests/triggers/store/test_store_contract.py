"""What every store must do, whatever it keeps its data in. A new backend is one more entry in BACKENDS."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.artifacts import PROVENANCE, image_artifact, text_artifact
from triggers.artifact.artifact import TriggerArtifact, to_bytes
from triggers.artifact.artifact_tensors import artifact_digest
from triggers.errors import ArtifactCorrupt, ConfigError, NotFound, RevisionConflict
from triggers.rollout.rollout_history import plan_before
from triggers.store.store import Challenger, Replica, Rollout, RolloutPlan, Shadow, Store, open_store
from triggers.trigger.image import ImageTrigger

Backend = Callable[[pytest.FixtureRequest, Path], str]
BACKENDS: dict[str, Backend] = {
    "file": lambda request, folder: (folder / "store").as_uri(),
    "redis": lambda request, folder: str(request.getfixturevalue("redis_server").url),
    "cluster": lambda request, folder: str(request.getfixturevalue("redis_cluster").url),
    "redis-and-files": lambda request, folder: (
        f"{request.getfixturevalue('redis_server').url}?artifacts={(folder / 'artifacts').as_uri()}"
    ),
}
"""Name -> a fresh store's URL, given a private folder."""


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.redis if name != "file" else ()) for name in BACKENDS])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return BACKENDS[request.param](request, tmp_path)


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with open_store(url) as opened:
        yield opened


FIRST, SECOND, THIRD = (image_artifact(seed=seed) for seed in range(3))


def publish_three(store: Store) -> None:
    assert [store.publish(artifact, actor="ann") for artifact in (FIRST, SECOND, THIRD)] == [1, 2, 3]


def test_a_published_artifact_comes_back(store: Store) -> None:
    for artifact in (FIRST, text_artifact()):
        model = artifact.manifest.model
        version = store.publish(artifact, actor="ann", reason="first try")
        again = store.get(model, version)
        assert (again.digest, again.manifest) == (artifact.digest, artifact.manifest)
        assert store.get_bytes(model, version) == to_bytes(artifact)
    assert store.models() == ["faces", "posts"]


def test_versions_count_per_model_and_carry_their_papers(store: Store) -> None:
    publish_three(store)
    assert store.publish(text_artifact(), actor="bob") == 1
    infos = store.versions("faces")
    assert [info.version for info in infos] == [1, 2, 3]
    assert [info.digest for info in infos] == [FIRST.digest, SECOND.digest, THIRD.digest]
    assert infos[0].manifest == FIRST.manifest
    assert (infos[0].kind, infos[0].objective.strength, infos[0].created_by) == ("border", 5.0, "ann")
    assert infos[0].bytes == len(to_bytes(FIRST))
    assert infos[0] == store.version("faces", 1)
    assert infos[0].created_at <= infos[1].created_at <= infos[2].created_at


def test_versions_come_in_pages_and_entries_one_by_one(store: Store) -> None:
    assert store.versions("faces", 2) == [] == store.versions("faces", 2, 1)
    publish_three(store)
    pages = {
        (2, None): [2, 3],
        (1, None): [3],
        (9, 3): [1, 2],
        (1, 3): [2],
        (None, 2): [1],
        (5, 1): [],
        (2, 99): [2, 3],
    }
    for (limit, before), numbers in pages.items():
        assert [info.version for info in store.versions("faces", limit, before)] == numbers
    assert store.versions("faces", 1, 3)[0] == store.version("faces", 2)
    assert [store.entry("faces", seq) for seq in (3, 2, 1)] == store.history("faces")
    for seq in (0, 4):
        with pytest.raises(NotFound, match=f"no entry {seq}"):
            store.entry("faces", seq)


def test_the_same_digest_is_one_version_whoever_publishes_it_when(store: Store) -> None:
    publish_three(store)
    later = FIRST.manifest.model_copy(update={"provenance": PROVENANCE.model_copy(update={"created_by": "resumed"})})
    assert store.publish(replace(FIRST, manifest=later), actor="bob") == 1
    assert len(store.versions("faces")) == 3
    assert store.get("faces", 1).manifest.provenance.created_by == "test"
    assert len(store.history("faces")) == 3


def test_an_unsound_artifact_is_not_published(store: Store) -> None:
    trigger = FIRST.trigger
    assert isinstance(trigger, ImageTrigger)
    broken = replace(trigger, delta=torch.full_like(trigger.delta, torch.nan))
    unsound = TriggerArtifact(broken, FIRST.manifest, artifact_digest(broken, FIRST.manifest))
    for artifact in (unsound, replace(FIRST, digest=SECOND.digest)):
        with pytest.raises(ArtifactCorrupt):
            store.publish(artifact, actor="ann")
    assert store.models() == []


def test_what_is_not_there_is_said_so(store: Store) -> None:
    publish_three(store)
    for call in (store.get, store.get_bytes, store.version):
        with pytest.raises(NotFound, match="v4; it has v1 to v3"):
            call("faces", 4)
        with pytest.raises(NotFound, match="nothing was published"):
            call("posts", 1)
    assert store.versions("posts") == []
    assert store.history("posts") == []
    assert store.rollout("posts") == Rollout("posts", 0, RolloutPlan())
    assert store.verify_history("posts") == 0


@pytest.mark.parametrize("name", ["", "Faces", "../up", "a/b", ".hidden", "a" * 65, "faces\n", "fäces"])
def test_a_bad_model_name_is_refused_everywhere(store: Store, name: str) -> None:
    calls: list[Callable[[], object]] = [
        lambda: store.versions(name),
        lambda: store.get(name, 1),
        lambda: store.rollout(name),
        lambda: store.set_rollout(name, None, if_revision=None, actor="a", reason=""),
        lambda: store.rollback(name, if_revision=None, actor="a", reason=""),
        lambda: store.report(name, Replica("r", 0), ttl_seconds=1),
        lambda: store.withdraw(name, "r"),
        lambda: store.replicas(name),
        lambda: store.record_refusal(name, None, actor="a", reason=""),
        lambda: store.history(name),
        lambda: store.verify_history(name),
    ]
    for call in calls:
        with pytest.raises(ConfigError, match="Bad model name"):
            call()
    assert store.models() == []


def test_the_rollout_changes_only_at_the_revision_that_was_read(store: Store) -> None:
    publish_three(store)
    first = store.set_rollout("faces", 1, if_revision=0, actor="ann", reason="go")
    assert (first.revision, first.champion, first.updated_by, first.reason) == (1, 1, "ann", "go")
    assert store.rollout("faces") == first
    with pytest.raises(RevisionConflict, match="at revision 1, not 0"):
        store.set_rollout("faces", 2, if_revision=0, actor="bob", reason="late")
    with pytest.raises(RevisionConflict):
        store.rollback("faces", if_revision=0, actor="bob", reason="late")
    assert store.rollout("faces") == first
    assert store.set_rollout("faces", 2, if_revision=None, actor="bob", reason="").revision == 2
    assert store.set_rollout("faces", None, if_revision=2, actor="bob", reason="").champion is None


def test_only_a_published_version_can_serve(store: Store) -> None:
    publish_three(store)
    with pytest.raises(NotFound, match="v4"):
        store.set_rollout("faces", 4, if_revision=None, actor="ann", reason="")
    assert store.rollout("faces").revision == 0
    assert [entry.action for entry in store.history("faces")] == ["publish"] * 3


def test_rollback_goes_back_step_by_step(store: Store) -> None:
    publish_three(store)
    for version in (1, 2, 3):
        store.set_rollout("faces", version, if_revision=None, actor="ann", reason="")
    for wanted in (2, 1, None):
        after = store.rollback("faces", if_revision=store.rollout("faces").revision, actor="bob", reason="worse")
        assert after.champion == wanted
    with pytest.raises(NotFound, match="nothing to roll back to"):
        store.rollback("faces", if_revision=None, actor="bob", reason="worse")
    assert store.rollout("faces").revision == 6


FULL = RolloutPlan(1, Challenger(2, 0.25), Shadow((3,), 0.5), 0.1, {"alpha": 0.05})


def test_the_whole_plan_is_kept_and_told_in_the_history(store: Store) -> None:
    publish_three(store)
    first = store.set_rollout("faces", FULL, if_revision=0, actor="ann", reason="try", detail={"e": "21.3"})
    assert (first.plan, first.champion, store.rollout("faces")) == (FULL, 1, first)
    wider = replace(FULL, challenger=Challenger(2, 0.5))
    store.set_rollout("faces", wider, if_revision=1, actor="ann", reason="wider")
    adjusted, activated = store.history("faces")[:2]
    assert (activated.action, adjusted.action) == ("activate", "adjust")
    assert (activated.plan, adjusted.plan) == (FULL, wider)
    assert activated.detail["e"] == "21.3"
    assert store.verify_history("faces") == 5


@pytest.mark.parametrize("plan", [RolloutPlan(1, Challenger(4, 0.1)), RolloutPlan(1, shadow=Shadow((2, 4)))])
def test_every_version_of_a_plan_must_be_published(store: Store, plan: RolloutPlan) -> None:
    publish_three(store)
    with pytest.raises(NotFound, match="v4"):
        store.set_rollout("faces", plan, if_revision=None, actor="ann", reason="")
    assert store.rollout("faces").revision == 0


def test_rollback_restores_the_whole_plan(store: Store) -> None:
    publish_three(store)
    plans = [RolloutPlan(1), FULL, replace(FULL, twin_share=0.0), RolloutPlan(2)]
    for plan in plans:
        store.set_rollout("faces", plan, if_revision=None, actor="ann", reason="")
    for wanted in [*plans[-2::-1], RolloutPlan()]:
        after = store.rollback("faces", if_revision=None, actor="bob", reason="worse", detail={"e": "1"})
        assert after.plan == wanted == store.rollout("faces").plan
    assert store.verify_history("faces") == 3 + 8


def test_a_detail_cannot_pass_for_a_plan(store: Store) -> None:
    publish_three(store)
    store.set_rollout("faces", 1, if_revision=None, actor="a", reason="", detail={"rollout": '{"champion": 2}'})
    assert store.history("faces")[0].plan == RolloutPlan(1)
    store.verify_history("faces")


def test_replicas_report_leave_and_are_forgotten(store: Store) -> None:
    assert store.replicas("faces") == []
    here, there = Replica("here", 3, 1), Replica("there", 2, None, "v3 was altered", 3)
    for replica in (there, here, replace(here, revision=4)):
        store.report("faces", replica, ttl_seconds=60)
    store.report("posts", here, ttl_seconds=60)
    found = store.replicas("faces")
    assert [replace(each, seen_at="") for each in found] == [replace(here, revision=4), there]
    assert found[0].seen_at.startswith("20")
    store.withdraw("faces", "here")
    store.withdraw("faces", "nobody")
    assert [each.name for each in store.replicas("faces")] == ["there"]
    assert [each.name for each in store.replicas("posts")] == ["here"]
    store.report("faces", there, ttl_seconds=0.05)
    time.sleep(0.1)
    assert store.replicas("faces") == []


def test_racing_changes_happen_one_after_the_other(store: Store) -> None:
    """Eight threads read a revision and change the share from it: each revision is won by exactly one."""
    publish_three(store)
    start, won = threading.Barrier(8), []

    def work(number: int) -> None:
        start.wait()
        for k in range(20):
            revision = store.rollout("faces").revision
            plan = RolloutPlan(1, Challenger(2, (number + 8 * k) / 160))
            try:
                after = store.set_rollout("faces", plan, if_revision=revision, actor="t", reason="")
                won.append((revision, after.plan))
            except RevisionConflict:
                continue

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert sorted(revision for revision, _ in won) == list(range(len(won)))
    assert store.rollout("faces").plan == dict(won)[len(won) - 1]
    assert store.verify_history("faces") == 3 + len(won)


def test_the_history_shows_a_hundred_entries_unless_more_are_asked_for(store: Store) -> None:
    for number in range(101):
        store.record_refusal("faces", None, actor="ann", reason=f"{number}")
    assert [len(store.history("faces", limit)) for limit in (0, 1, 100, 101, None)] == [0, 1, 100, 101, 101]
    assert [entry.reason for entry in store.history("faces")] == [f"{number}" for number in range(100, 0, -1)]


def test_history_tells_everything_newest_first(store: Store) -> None:
    store.publish(FIRST, actor="ann", reason="new")
    store.set_rollout("faces", 1, if_revision=None, actor="bob", reason="try")
    store.record_refusal("faces", None, actor="eve", reason="NaN", detail={"file": "x"})
    store.rollback("faces", if_revision=None, actor="bob", reason="no")
    told = [(e.seq, e.actor, e.action, e.from_version, e.to_version, e.revision) for e in store.history("faces")]
    assert told == [
        (4, "bob", "rollback", 1, None, 2),
        (3, "eve", "refuse", None, None, 1),
        (2, "bob", "activate", None, 1, 1),
        (1, "ann", "publish", None, 1, 0),
    ]
    assert [entry.reason for entry in store.history("faces")] == ["no", "NaN", "try", "new"]
    assert store.history("faces")[1].detail == {"file": "x"}
    assert store.history("faces")[-1].detail["digest"] == FIRST.digest
    assert [entry.seq for entry in store.history("faces", limit=2)] == [4, 3]
    assert len(store.history("faces", limit=None)) == 4
    assert store.verify_history("faces") == 4


def test_everything_is_there_after_opening_again(url: str) -> None:
    with open_store(url) as store:
        publish_three(store)
        rollout = store.set_rollout("faces", 2, if_revision=None, actor="ann", reason="")
        history = store.history("faces")
    store.close()
    with open_store(url) as again:
        assert again.rollout("faces") == rollout
        assert again.history("faces") == history
        assert again.get("faces", 3).digest == THIRD.digest
        assert again.verify_history("faces") == 4


def test_two_open_stores_see_each_other(url: str, store: Store) -> None:
    with open_store(url) as other:
        publish_three(store)
        assert [info.version for info in other.versions("faces")] == [1, 2, 3]
        other.set_rollout("faces", 3, if_revision=0, actor="ann", reason="")
        assert store.rollout("faces").champion == 3


def test_threads_publish_and_decide_at_once(store: Store) -> None:
    """Eight threads, each publishing four artifacts of its own and one that all share, and changing the rollout."""
    artifacts = [[image_artifact(seed=100 + 10 * n + k) for k in range(4)] for n in range(8)]
    start = threading.Barrier(8)
    won = []

    def work(mine: list[TriggerArtifact]) -> None:
        start.wait()
        for artifact in [*mine, FIRST]:
            version = store.publish(artifact, actor="thread")
            revision = store.rollout("faces").revision
            try:
                store.set_rollout("faces", version, if_revision=revision, actor="thread", reason="")
                won.append(revision)
            except RevisionConflict:
                continue

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, artifacts))
    infos = store.versions("faces")
    assert [info.version for info in infos] == list(range(1, 34))
    assert len({info.digest for info in infos}) == 33
    assert sorted(won) == list(range(len(won)))
    assert store.rollout("faces").revision == len(won)
    assert store.verify_history("faces") == 33 + len(won)
    champion = plan_before("faces", reversed(store.history("faces", limit=None))).champion
    assert champion is None or 1 <= champion <= 33
