"""Somebody writes to the store directly: what its history did not decide, by a key, is not followed."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from tests.artifacts import artifact_for
from tests.service.live import running, settings, swap, wait_until
from triggers.classifier import FrozenClassifier
from triggers.errors import StoreError
from triggers.file_store import FileStore
from triggers.plan import Plan
from triggers.records import SIGNATURE, HistoryEntry, Rollout, next_entry
from triggers.signature import make_keys, read_history_trust, read_signer


def applied(client: httpx.Client) -> tuple[int, str | None, str | None]:
    """The revision that is served, why not the newest, and what is wrong with the store."""
    document = client.get("/v1/models/faces/rollout").json()
    refusal = document["refusal"]
    return document["applied_revision"], refusal and refusal["reason"], document["store_error"]


def forged(store: FileStore, plan: Plan, *, with_entry: bool, rewrite: bool = False) -> None:
    """Put another plan into the index, with the hashes worked out anew where there is an entry."""
    rollout, last = store.rollout("faces"), store.history("faces", 1)[0]
    revision = rollout.revision if rewrite else rollout.revision + 1
    with store._index.write() as db:
        db.execute("UPDATE rollouts SET revision = ?, champion = ?", (revision, plan.champion))
        db.execute("UPDATE plans SET plan = ?", (plan.to_json(),))
        if with_entry:
            fields = {"action": "activate", "to_version": plan.champion, "revision": revision, "reason": "ordinary"}
            entry = next_entry(last, replace(last, **fields))  # type: ignore[arg-type]
            db.execute("INSERT INTO history VALUES ('faces', ?, ?)", (entry.seq, json.dumps(entry.to_dict())))


@contextmanager
def served(tmp: Path, model: FrozenClassifier, key: Path | None = None) -> Iterator[tuple[httpx.Client, FileStore]]:
    """A service that follows a store with two versions of faces, under a key of histories if one is given."""
    signer = read_signer(key) if key else None
    trust = read_history_trust(signer, [])
    with FileStore(tmp / "store", signer=signer, history_trust=trust) as store:
        for seed in range(2):
            store.publish(artifact_for(model, "border", seed=seed), actor="test")
        with running(settings(tmp, history_key=key, poll_seconds=0.05), store, [model]) as client:
            assert swap(client, "faces", "v1").status_code == 200
            yield client, store


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "operator.key"
    path.write_bytes(make_keys()[0])
    return path


def test_a_rollout_that_no_history_tells_of_is_not_followed(tmp_path: Path, image_model: FrozenClassifier) -> None:
    with served(tmp_path, image_model) as (client, store):
        forged(store, Plan(2), with_entry=False)
        wait_until(lambda: applied(client)[1])
        revision, refusal, _ = applied(client)
        assert revision == 1 and "its history says revision 1" in str(refusal)
        assert client.get("/metrics").text.count('fairtrigger_rollout_behind{model="faces"} 1.0') == 1
        head = store.history("faces", 1)[0]
        assert f'hash="{head.hash}"' in client.get("/metrics").text


def test_with_a_key_a_decision_that_it_did_not_sign_is_not_followed(
    tmp_path: Path, image_model: FrozenClassifier, key: Path
) -> None:
    with served(tmp_path, image_model, key) as (client, store):
        assert SIGNATURE in store.history("faces", 1)[0].detail
        forged(store, Plan(2), with_entry=True)  # with the signature of the entry before it
        wait_until(lambda: applied(client)[1])
        revision, refusal, _ = applied(client)
        assert revision == 1 and "forged" in str(refusal)
        with pytest.raises(StoreError, match="forged"):
            store.verify_history("faces")
        store.set_rollout("faces", 2, if_revision=2, actor="operator", reason="by the key")
        wait_until(lambda: applied(client)[0] == 3)
        assert store.verify_history("faces") == 5


def test_a_history_that_was_rewritten_is_told_by_who_saw_it(
    tmp_path: Path, image_model: FrozenClassifier, caplog: pytest.LogCaptureFixture
) -> None:
    with served(tmp_path, image_model) as (client, store):
        caplog.set_level(logging.INFO)
        with store._index.write() as db:
            db.execute("DELETE FROM history WHERE seq > 1")
            db.execute("UPDATE rollouts SET revision = 0")
        before = store.history("faces", 1)[0]
        new: list[HistoryEntry] = []
        for revision in (1, 2):
            entry = replace(before, action="activate", to_version=2, revision=revision, reason="always so")
            new.append(next_entry(new[-1] if new else before, entry))
        with store._index.write() as db:
            for entry in new:
                db.execute("INSERT INTO history VALUES ('faces', ?, ?)", (entry.seq, json.dumps(entry.to_dict())))
            db.execute("UPDATE rollouts SET revision = 2, champion = 2")
            db.execute("UPDATE plans SET plan = ?", (Rollout("faces", 2, Plan(2)).plan.to_json(),))
        wait_until(lambda: "was rewritten or replaced" in caplog.text)
        wait_until(lambda: applied(client)[0] == 2)  # hashes alone do not stop it
        assert 'result="history_rewritten"' in client.get("/metrics").text
        assert new[-1].hash in caplog.text
