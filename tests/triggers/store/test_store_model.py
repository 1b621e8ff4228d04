"""Every store against a plain model of it in memory: any order of calls gives the same answers."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tests.artifacts import image_artifact, text_artifact
from tests.redis_servers.cluster import RedisClusterServers
from tests.redis_servers.server import RedisServer
from triggers.errors import NotFound, RevisionConflict
from triggers.rollout.rollout_plan import Challenger, RolloutPlan, Shadow
from triggers.store.store import Store, open_store

MODELS = ("faces", "posts")
ARTIFACTS = {
    "faces": [image_artifact(kind, model="faces") for kind in ("border", "patch", "overlay")],
    "posts": [text_artifact(kind, model="posts") for kind in ("hard", "soft")],
}
models = st.sampled_from(MODELS)
versions = st.one_of(st.none(), st.integers(1, 4))
simple = st.builds(RolloutPlan, champion=versions)
trials = st.builds(
    RolloutPlan, st.integers(1, 2), st.builds(Challenger, st.integers(3, 4), st.sampled_from([0.0, 0.1]))
)
shadowed = st.builds(RolloutPlan, versions, st.none(), st.builds(Shadow, st.just((1, 2))), st.sampled_from([0.0, 0.5]))
plans = st.one_of(simple, trials, shadowed)
offsets = st.sampled_from([0, 0, 0, -1, 1, None])  # how far off the revision is that the caller believes in


class StoreMachine(RuleBasedStateMachine):
    """Lists and integers beside the store, changed by the same rules."""

    store: Store
    fresh: Callable[[], str]
    """Makes an empty store's URL."""

    @initialize()
    def open(self) -> None:
        self.url = self.fresh()
        self.store = open_store(self.url)
        self.published: dict[str, list[str]] = {model: [] for model in MODELS}
        self.stack: dict[str, list[RolloutPlan]] = {model: [RolloutPlan()] for model in MODELS}
        self.revision = dict.fromkeys(MODELS, 0)
        self.actions: dict[str, list[str]] = {model: [] for model in MODELS}

    @rule(model=models, number=st.integers(0, 2))
    def publish(self, model: str, number: int) -> None:
        artifact = ARTIFACTS[model][number % len(ARTIFACTS[model])]
        version = self.store.publish(artifact, actor="a")
        if artifact.digest not in self.published[model]:
            self.published[model].append(artifact.digest)
            self.actions[model].append("publish")
        assert self.published[model][version - 1] == artifact.digest

    @rule(model=models, plan=plans, offset=offsets)
    def decide(self, model: str, plan: RolloutPlan, offset: int | None) -> None:
        revision = None if offset is None else self.revision[model] + offset
        before = self.stack[model][-1]
        try:
            after = self.store.set_rollout(model, plan, if_revision=revision, actor="a", reason="")
        except RevisionConflict:
            assert offset not in (None, 0)
        except NotFound:
            assert max(plan.versions) > len(self.published[model])
        else:
            assert offset in (None, 0)
            assert after.plan == plan
            adjusts = before.champion == plan.champion and before != plan
            self.changed(model, "adjust" if adjusts else "activate")
            if before != plan:
                self.stack[model].append(plan)

    @rule(model=models, offset=offsets)
    def rollback(self, model: str, offset: int | None) -> None:
        revision = None if offset is None else self.revision[model] + offset
        try:
            self.store.rollback(model, if_revision=revision, actor="a", reason="")
        except RevisionConflict:
            assert offset not in (None, 0)
        except NotFound:
            assert self.stack[model] == [RolloutPlan()]
        else:
            assert offset in (None, 0)
            self.stack[model].pop()
            self.changed(model, "rollback")

    @rule(model=models)
    def refuse(self, model: str) -> None:
        self.store.record_refusal(model, None, actor="a", reason="because")
        self.actions[model].append("refuse")

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = open_store(self.url)

    def changed(self, model: str, action: str) -> None:
        self.revision[model] += 1
        self.actions[model].append(action)

    @invariant()
    def same_answers(self) -> None:
        for model in MODELS:
            rollout = self.store.rollout(model)
            assert (rollout.revision, rollout.plan) == (self.revision[model], self.stack[model][-1])
            assert [info.digest for info in self.store.versions(model)] == self.published[model]
            assert [entry.action for entry in self.store.history(model, None)] == self.actions[model][::-1]
            assert self.store.verify_history(model) == len(self.actions[model])
        assert self.store.models() == [model for model in MODELS if self.actions[model]]

    def teardown(self) -> None:
        self.store.close()


def run(fresh: Callable[[], str], examples: int) -> None:
    machine = type("Machine", (StoreMachine,), {"fresh": staticmethod(fresh)})
    run_state_machine_as_test(machine, settings=settings(max_examples=examples, stateful_step_count=25, deadline=None))


def test_the_embedded_store(tmp_path: Path) -> None:
    run(lambda: tempfile.mkdtemp(dir=tmp_path), 30)


@pytest.mark.redis
@pytest.mark.parametrize("kind", ["redis_server", "redis_cluster"])
def test_a_store_in_redis(request: pytest.FixtureRequest, kind: str) -> None:
    servers: RedisServer | RedisClusterServers = request.getfixturevalue(kind)

    def fresh() -> str:
        servers.clear()
        return servers.url

    run(fresh, 10)
