"""The store of several machines: versions, rollout, history and replicas in Redis, a server or a Cluster.

Every change appends to the model's history, so the history's last entry identifies the whole state: a change is
computed from what was read, and a script commits it only if that entry is still the last. Files are content-addressed
and written first; a killed publish leaves bytes that no version refers to. Durability is the server's: docs/stores.md.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from triggers.artifact.artifact import MAX_ARTIFACT_BYTES, TriggerArtifact, load_artifact, to_bytes
from triggers.artifact.manifest import check_model_name
from triggers.artifact.signature import TRUST_ANYONE, Signer, Trust
from triggers.errors import ArtifactCorrupt, NotFound, StoreUnavailable
from triggers.rollout import RolloutPlan
from triggers.rollout.rollout_history import (
    Action,
    HistoryEntry,
    Replica,
    Rollout,
    VersionInfo,
    change_detail,
    change_of,
    check_chain,
    check_outcome,
    check_revision,
    next_entry,
    no_version,
    plan_before,
    timestamp,
)
from triggers.rollout.rollout_plan import as_plan
from triggers.storage import without_password
from triggers.storage.redis_client import check_server, connect_redis, translated
from triggers.store import redis_keys as keys
from triggers.store import redis_records as records
from triggers.store.artifact_files import ArtifactFiles
from triggers.store.artifact_integrity import check_digest, file_digest, open_verified
from triggers.store.redis_pubsub import RedisPubSub
from triggers.store.redis_scripts import COMMIT, INDEX_DIGESTS, KNOWN_DIGEST, LIVING, LOOK, REPORT

if TYPE_CHECKING:
    import redis

OPERATION_SECONDS = 2.0
"""Timeout of one Redis operation in seconds. A change of the rollout may wait for two, and is answered within five."""
CONTENTION_SECONDS = 10.0
"""Seconds for which a change is tried again after another one came first."""


@dataclass(frozen=True)
class HistoryDraft:
    """A change to commit: a history entry with its rollout or version. Without an entry `result` is already stored."""

    result: Any
    entry: HistoryEntry | None = None
    rollout: Rollout | None = None
    info: VersionInfo | None = None


class RedisStore:
    """A `store.Store` in Redis. `files` keeps the bytes of artifacts, by default Redis itself."""

    def __init__(
        self,
        url: str,
        *,
        files: ArtifactFiles | None = None,
        trust: Trust = TRUST_ANYONE,
        signer: Signer | None = None,
        history_trust: Trust = TRUST_ANYONE,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.url = without_password(url)
        self._clock, self._trust = clock, trust
        self._signer, self._history_trust = signer, history_trust
        self._redis = connect_redis(url, OPERATION_SECONDS, text=False)
        scripts = (COMMIT, LOOK, REPORT, LIVING)
        self._commit, self._look, self._report, self._living = map(self._redis.register_script, scripts)
        self._known_digest, self._index = map(self._redis.register_script, (KNOWN_DIGEST, INDEX_DIGESTS))
        self._files = files or _RedisFiles(self._redis)
        self._bus = RedisPubSub(self._redis)
        check_server(self._redis, "trigger versions and rollouts")

    def publish(self, artifact: TriggerArtifact, *, actor: str, reason: str = "") -> int:
        """Store the file under its hash, then number and index it."""
        data = to_bytes(artifact)
        checked = load_artifact(data)
        self._trust.check(checked.digest, checked.signature)
        model, digest, sha256 = checked.manifest.model, checked.digest, file_digest(data)
        detail = {"digest": digest, "kind": checked.manifest.kind, "file_sha256": sha256}
        put = False

        def draft(last: HistoryEntry | None) -> HistoryDraft:
            nonlocal put
            known, last_version = self._known(model, digest)
            if known is not None:
                return HistoryDraft(known)
            if not put:
                self._files.put(model, _bare(sha256), data)
                put = True
            version, facts = last_version + 1, (digest, sha256, len(data), self._now(), actor)
            info = VersionInfo(model, version, *facts, checked.manifest)
            entry = self._entry(last, self.rollout(model), "publish", actor, None, version, reason, detail)
            return HistoryDraft(version, entry, info=info)

        version: int = self._change(model, draft)
        return version

    def _known(self, model: str, digest: str) -> tuple[int | None, int]:
        """The version that a digest has, None if it is new, and the last version (0: none)."""
        with translated():
            state: Any = self._known_digest([keys.digests(model), keys.versions_key(model)], [digest])
            found, entered, last = state
        if found is not None and int(found) <= last and self.version(model, int(found)).digest == digest:
            return int(found), last
        if found is None and entered == last:
            return None, last
        return self._listed(model, digest)

    def _listed(self, model: str, digest: str) -> tuple[int | None, int]:
        """As `_known`, from all versions, where an older release indexed only some, or the index was altered."""
        infos = self.versions(model)
        numbers = {info.digest: info.version for info in reversed(infos)}
        with translated():
            pairs = [word for pair in numbers.items() for word in pair]
            self._index([keys.digests(model), keys.versions_key(model)], [len(infos), *pairs])
        return numbers.get(digest), len(infos)

    def models(self) -> list[str]:
        """Names of all models with a version or a history, sorted."""
        with translated():
            named: Any = self._redis.smembers(keys.MODELS)
            names = sorted(name.decode() for name in named)
            return [name for name in names if self._redis.exists(keys.history_key(name))]

    def versions(self, model: str, limit: int | None = None, before: int | None = None) -> list[VersionInfo]:
        """The latest versions of a model, oldest first."""
        key = keys.versions_key(check_model_name(model))
        with translated():
            last: Any = self._redis.llen(key)
            end = last if before is None else max(0, min(last, before - 1))
            first = 0 if limit is None else max(0, end - limit)
            found: Any = self._redis.lrange(key, first, end - 1) if end > first else []
        return [records.read_version(model, number, text) for number, text in enumerate(found, start=first + 1)]

    def version(self, model: str, version: int) -> VersionInfo:
        """One version without its tensors. Raises NotFound."""
        with translated():
            key = keys.versions_key(check_model_name(model))
            text: Any = self._redis.lindex(key, version - 1) if version >= 1 else None
            if text is None:
                count: Any = self._redis.llen(key)
                raise no_version(model, version, count)
        return records.read_version(model, version, text)

    def get(self, model: str, version: int) -> TriggerArtifact:
        """One artifact, checked in full against itself, its entry and the trusted keys."""
        info = self.version(model, version)
        return open_verified(info, self._bytes(info), self._trust)

    def get_bytes(self, model: str, version: int) -> bytes:
        """The bytes of its file, checked against the hash they were stored with."""
        return self._bytes(self.version(model, version))

    def rollout(self, model: str) -> Rollout:
        """The rollout of the model."""
        with translated():
            text: Any = self._redis.get(keys.rollout_key(check_model_name(model)))
        return records.read_rollout(model, text)

    def set_rollout(
        self,
        model: str,
        decision: RolloutPlan | int | None,
        *,
        if_revision: int | None,
        actor: str,
        reason: str,
        detail: Mapping[str, str] | None = None,
    ) -> Rollout:
        """Replace the whole plan, if the rollout is still at `if_revision`."""
        plan = as_plan(decision)

        def draft(last: HistoryEntry | None) -> HistoryDraft:
            before = check_revision(self.rollout(model), if_revision)
            for version in plan.versions:
                self.version(model, version)
            return self._decide(last, before, change_of(before.plan, plan), plan, actor, reason, detail)

        rollout: Rollout = self._change(model, draft)
        return rollout

    def rollback(
        self,
        model: str,
        *,
        if_revision: int | None,
        actor: str,
        reason: str,
        detail: Mapping[str, str] | None = None,
    ) -> Rollout:
        """Return to the plan before the current one."""

        def draft(last: HistoryEntry | None) -> HistoryDraft:
            before = check_revision(self.rollout(model), if_revision)
            plan = plan_before(model, reversed(self.history(model, limit=None)))
            return self._decide(last, before, "rollback", plan, actor, reason, detail)

        rollout: Rollout = self._change(model, draft)
        return rollout

    def watch(self, model: str, wake: Callable[[], None]) -> Callable[[], None]:
        """Call `wake` when a model's rollout changed, unless the message is lost; returns a function that ends it."""
        return self._bus.watch(check_model_name(model), wake)

    def report(self, model: str, replica: Replica, *, ttl_seconds: float) -> None:
        """Record which revision a running service serves."""
        text = records.write_replica(replace(replica, seen_at=self._now()))
        with translated():
            self._report([keys.replicas_key(check_model_name(model))], [replica.name, ttl_seconds, text])

    def withdraw(self, model: str, name: str) -> None:
        """Delete a replica that stops."""
        with translated():
            self._redis.hdel(keys.replicas_key(check_model_name(model)), name)

    def replicas(self, model: str) -> list[Replica]:
        """The running services of a model, by name."""
        with translated():
            found: Any = self._living([keys.replicas_key(check_model_name(model))])
        return sorted((records.read_replica(model, text) for text in found), key=lambda each: each.name)

    def record_refusal(
        self, model: str, version: int | None, *, actor: str, reason: str, detail: dict[str, str] | None = None
    ) -> HistoryEntry:
        """Write a refusal and its reason into the history."""

        def draft(last: HistoryEntry | None) -> HistoryDraft:
            entry = self._entry(last, self.rollout(model), "refuse", actor, None, version, reason, detail or {})
            return HistoryDraft(entry, entry)

        entry: HistoryEntry = self._change(model, draft)
        return entry

    def history(self, model: str, limit: int | None = 100) -> list[HistoryEntry]:
        """The latest entries, newest first."""
        if limit is not None and limit <= 0:
            return []
        with translated():
            found: Any = self._redis.lrange(keys.history_key(check_model_name(model)), -(limit or 0), -1)
        return [records.read_entry(model, text) for text in reversed(found)]

    def entry(self, model: str, seq: int) -> HistoryEntry:
        """One entry of the history. Raises NotFound."""
        with translated():
            text: Any = self._redis.lindex(keys.history_key(check_model_name(model)), seq - 1) if seq >= 1 else None
        if text is None:
            raise NotFound(f"The history of {model!r} has no entry {seq}.")
        return records.read_entry(model, text)

    def verify_history(self, model: str) -> int:
        """Check the chain and that rollout and versions are its outcome, all as of one moment; return its length."""
        with translated():
            history, rollout, versions = self._look(_state_keys(check_model_name(model)))
        entries = [records.read_entry(model, text) for text in history]
        infos = [records.read_version(model, number, text) for number, text in enumerate(versions, start=1)]
        check_chain(model, entries)
        check_outcome(entries, records.read_rollout(model, rollout), infos, self._history_trust)
        return len(entries)

    def close(self) -> None:
        """Close the connections; safe to call twice."""
        self._bus.close()
        self._redis.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _change(self, model: str, draft: Callable[[HistoryEntry | None], HistoryDraft]) -> Any:
        """Draft a change from the last entry and commit it; try again while others come first."""
        state, deadline = _state_keys(check_model_name(model)), time.monotonic() + CONTENTION_SECONDS
        while time.monotonic() < deadline:
            with translated():
                text: Any = self._redis.lindex(state[0], -1) or b""
            drafted = draft(records.read_entry(model, text) if text else None)
            if drafted.entry is None or self._committed(model, text, drafted):
                return drafted.result
            time.sleep(random.uniform(0, 0.01))
        raise StoreUnavailable(f"Others changed {model!r} all the time for {CONTENTION_SECONDS:g} s: try again.")

    def _committed(self, model: str, last: bytes, draft: HistoryDraft) -> bool:
        entry = records.write_entry(draft.entry) if draft.entry else ""
        rollout = records.write_rollout(draft.rollout) if draft.rollout else ""
        info = records.write_version(draft.info) if draft.info else ""
        with translated():
            self._redis.sadd(keys.MODELS, model)
            names = [keys.history_key(model), keys.versions_key(model), keys.digests(model)]
            names += [keys.rollout_key(model)] if rollout else []
            digest = draft.info.digest if draft.info else ""
            return bool(self._commit(names, [last, entry, rollout, info, keys.CHANNEL, model, digest]))

    def _decide(
        self,
        last: HistoryEntry | None,
        before: Rollout,
        action: Action,
        plan: RolloutPlan,
        actor: str,
        reason: str,
        detail: Mapping[str, str] | None,
    ) -> HistoryDraft:
        after = Rollout(before.model, before.revision + 1, plan, self._now(), actor, reason)
        told = change_detail(plan, detail or {})
        entry = self._entry(last, after, action, actor, before.champion, plan.champion, reason, told)
        return HistoryDraft(after, entry, rollout=after)

    def _entry(
        self,
        last: HistoryEntry | None,
        rollout: Rollout,
        action: Action,
        actor: str,
        before: int | None,
        after: int | None,
        reason: str,
        detail: Mapping[str, str],
    ) -> HistoryEntry:
        facts = (rollout.model, self._now(), actor, action, before, after, rollout.revision, reason, detail)
        return next_entry(last, HistoryEntry(*facts), self._signer)

    def _bytes(self, info: VersionInfo) -> bytes:
        try:
            data = self._files.get(info.model, _bare(info.file_sha256))
        except NotFound as error:
            raise ArtifactCorrupt(f"The file of {info.name} is missing: {error}") from error
        return check_digest(info, data)

    def _now(self) -> str:
        return timestamp(self._clock())


def _bare(sha256: str) -> str:
    return sha256.removeprefix("sha256:")


class _RedisFiles:
    """Bytes of artifacts in Redis itself."""

    def __init__(self, client: redis.Redis) -> None:
        self._redis = client

    def put(self, model: str, sha256: str, data: bytes) -> None:
        with translated():
            self._redis.set(keys.artifact_key(model, sha256), data)

    def get(self, model: str, sha256: str) -> bytes:
        key = keys.artifact_key(model, sha256)
        with translated():
            data: Any = self._redis.getrange(key, 0, MAX_ARTIFACT_BYTES)
        if not data:
            raise NotFound(f"There is no key {key}.")
        found: bytes = data
        return found


def _state_keys(model: str) -> list[str]:
    return [keys.history_key(model), keys.rollout_key(model), keys.versions_key(model)]
