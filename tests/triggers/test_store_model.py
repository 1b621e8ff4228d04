"""The embedded store against a plain model of it in memory: any order of calls gives the same answers."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.artifacts import image_artifact, text_artifact
from triggers.errors import NotFound, RevisionConflict
from triggers.file_store import FileStore
from triggers.store import Store

MODELS = ("faces", "posts")
ARTIFACTS = {
    "faces": [image_artifact(kind, model="faces") for kind in ("border", "patch", "overlay")],
    "posts": [text_artifact(kind, model="posts") for kind in ("hard", "soft")],
}
models = st.sampled_from(MODELS)
offsets = st.sampled_from([0, 0, 0, -1, 1, None])  # how far off the revision is that the caller believes in


class StoreMachine(RuleBasedStateMachine):
    """Lists and integers beside the store, changed by the same rules."""

    store: Store

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.store = FileStore(Path(self.folder.name))
        self.published: dict[str, list[str]] = {model: [] for model in MODELS}
        self.stack: dict[str, list[int | None]] = {model: [None] for model in MODELS}
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

    @rule(model=models, version=st.one_of(st.none(), st.integers(1, 4)), offset=offsets)
    def activate(self, model: str, version: int | None, offset: int | None) -> None:
        revision = None if offset is None else self.revision[model] + offset
        try:
            after = self.store.set_rollout(model, version, if_revision=revision, actor="a", reason="")
        except RevisionConflict:
            assert offset not in (None, 0)
        except NotFound:
            assert version is not None
            assert version > len(self.published[model])
        else:
            assert offset in (None, 0)
            assert after.champion == version
            self.changed(model, "activate")
            if self.stack[model][-1] != version:
                self.stack[model].append(version)

    @rule(model=models, offset=offsets)
    def rollback(self, model: str, offset: int | None) -> None:
        revision = None if offset is None else self.revision[model] + offset
        try:
            self.store.rollback(model, if_revision=revision, actor="a", reason="")
        except RevisionConflict:
            assert offset not in (None, 0)
        except NotFound:
            assert self.stack[model] == [None]
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
        self.store = FileStore(Path(self.folder.name))

    def changed(self, model: str, action: str) -> None:
        self.revision[model] += 1
        self.actions[model].append(action)

    @invariant()
    def same_answers(self) -> None:
        for model in MODELS:
            rollout = self.store.rollout(model)
            assert (rollout.revision, rollout.champion) == (self.revision[model], self.stack[model][-1])
            assert [info.digest for info in self.store.versions(model)] == self.published[model]
            assert [entry.action for entry in self.store.history(model, None)] == self.actions[model][::-1]
            assert self.store.verify_history(model) == len(self.actions[model])
        assert self.store.models() == [model for model in MODELS if self.actions[model]]

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()


StoreMachine.TestCase.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
TestStoreMachine = StoreMachine.TestCase
