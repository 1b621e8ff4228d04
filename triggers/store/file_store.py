"""The embedded store: one folder, artifacts as files, the rest in SQLite, for the processes of one machine.

    index.sqlite                                  versions, rollouts, history, replicas
    artifacts/<model>/v7-<digest12>.safetensors   a temporary file, flushed, renamed, and only then in the index

A process killed between the rename and the entry leaves a file that no version refers to; the first publish of the next
process removes it, for which it lists the folder. Else the time of a publish does not depend on the number of versions.
Folders are private (0700), files too (0600).
"""

from __future__ import annotations

import os
import re
import sqlite3
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from triggers.artifact.artifact import MAX_ARTIFACT_BYTES, TriggerArtifact, load_artifact, to_bytes
from triggers.artifact.manifest import check_model_name
from triggers.artifact.signature import TRUST_ANYONE, Signer, Trust
from triggers.errors import ArtifactCorrupt
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
    plan_before,
    timestamp,
    version_name,
)
from triggers.rollout.rollout_plan import as_plan
from triggers.storage.atomic_files import TEMP_PREFIX, make_private_folder, rename_durably, temporary_file
from triggers.storage.regular_file import read_regular
from triggers.store.artifact_integrity import check_digest, file_digest, open_verified
from triggers.store.sqlite_index import (
    SqliteIndex,
    delete_replica,
    insert_entry,
    insert_version,
    replace_replica,
    replace_rollout,
    select_entries,
    select_entry,
    select_known,
    select_models,
    select_replicas,
    select_rollout,
    select_version,
    select_versions,
)

INDEX_FILE = "index.sqlite"
ABANDONED_SECONDS = 3600.0  # a temporary file of this age has no writer any more


class FileStore:
    """A `store.Store` in a folder, which is made when it is missing."""

    def __init__(
        self,
        folder: Path | str,
        *,
        trust: Trust = TRUST_ANYONE,
        signer: Signer | None = None,
        history_trust: Trust = TRUST_ANYONE,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.folder = Path(folder).absolute()
        self.url = self.folder.as_uri()
        self._clock, self._trust = clock, trust
        self._signer, self._history_trust = signer, history_trust
        self._swept: set[str] = set()
        make_private_folder(self.folder)
        self._index = SqliteIndex(self.folder / INDEX_FILE)

    def publish(self, artifact: TriggerArtifact, *, actor: str, reason: str = "") -> int:
        """Write a temporary file, then number, rename and index it in one transaction."""
        data = to_bytes(artifact)
        checked = load_artifact(data)
        self._trust.check(checked.digest, checked.signature)
        folder = self._artifacts(checked.manifest.model)
        make_private_folder(folder)
        temporary = temporary_file(folder, data)
        try:
            with self._index.write() as db:
                return self._enter(db, checked, data, temporary, actor, reason)
        except BaseException:
            self._swept.discard(checked.manifest.model)
            raise
        finally:
            temporary.unlink(missing_ok=True)

    def _enter(
        self, db: sqlite3.Connection, artifact: TriggerArtifact, data: bytes, temporary: Path, actor: str, reason: str
    ) -> int:
        manifest, digest = artifact.manifest, artifact.digest
        known, last = select_known(db, manifest.model, digest)
        if known is not None:
            return known
        version, sha256 = last + 1, file_digest(data)
        info = VersionInfo(manifest.model, version, digest, sha256, len(data), self._now(), actor, manifest)
        self._sweep(db, manifest.model, last, temporary)
        rename_durably(temporary, self.path_of(info))
        insert_version(db, info)
        detail = {"digest": digest, "kind": manifest.kind, "file_sha256": sha256}
        self._append(db, manifest.model, "publish", actor, None, version, reason, detail)
        return version

    def _sweep(self, db: sqlite3.Connection, model: str, last: int, spare: Path) -> None:
        """At the first publish, and after one that failed: remove the files that killed ones left.

        These are files that no version up to `last` refers to, and old temporary files, where there are more files than
        versions. Only names are read: a file is a version's if it is the only one with its number.
        """
        if model in self._swept:
            return
        self._swept.add(model)
        folder, by_number = self._artifacts(model), dict[int, list[str]]()
        names = os.listdir(folder)
        if len(names) == last + 1:  # a file for each version, and the spare one
            return
        for name in names:
            match = re.fullmatch(r"v([1-9][0-9]{0,8})-[0-9a-f]{12}\.safetensors", name)
            by_number.setdefault(int(match[1]) if match and int(match[1]) <= last else 0, []).append(name)
        unknown = [folder / name for name in by_number.pop(0, ()) if name != spare.name]
        for number, names in by_number.items():
            if len(names) > 1:
                right = self.path_of(select_version(db, model, number)).name
                unknown += [folder / name for name in names if name != right]
        for path in unknown:
            written_aside = path.name.startswith(TEMP_PREFIX)
            if not written_aside or time.time() - path.stat().st_mtime > ABANDONED_SECONDS:
                path.unlink(missing_ok=True)

    def models(self) -> list[str]:
        """Names of all models with a version or a history, sorted."""
        with self._index.read() as db:
            return select_models(db)

    def versions(self, model: str, limit: int | None = None, before: int | None = None) -> list[VersionInfo]:
        """The latest versions of a model, oldest first."""
        with self._index.read() as db:
            return select_versions(db, check_model_name(model), limit, before)

    def version(self, model: str, version: int) -> VersionInfo:
        """One version without its tensors. Raises NotFound."""
        with self._index.read() as db:
            return select_version(db, check_model_name(model), version)

    def get(self, model: str, version: int) -> TriggerArtifact:
        """One artifact, checked in full against itself, the index and the trusted keys."""
        info = self.version(model, version)
        return open_verified(info, self._bytes(info), self._trust)

    def get_bytes(self, model: str, version: int) -> bytes:
        """The bytes of its file, checked against the hash they were stored with."""
        return self._bytes(self.version(model, version))

    def path_of(self, info: VersionInfo) -> Path:
        """Path of a version's file."""
        name = f"{version_name(info.version)}-{info.digest.removeprefix('sha256:')[:12]}.safetensors"
        return self._artifacts(info.model) / name

    def rollout(self, model: str) -> Rollout:
        """The rollout of the model."""
        with self._index.read() as db:
            return select_rollout(db, check_model_name(model))

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
        with self._index.write() as db:
            before = check_revision(select_rollout(db, check_model_name(model)), if_revision)
            for version in plan.versions:
                select_version(db, model, version)
            action = change_of(before.plan, plan)
            return self._change(db, before, action, plan, actor, reason, detail or {})

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
        with self._index.write() as db:
            before = check_revision(select_rollout(db, check_model_name(model)), if_revision)
            plan = plan_before(model, reversed(select_entries(db, model)))
            return self._change(db, before, "rollback", plan, actor, reason, detail or {})

    def watch(self, model: str, wake: Callable[[], None]) -> Callable[[], None]:
        """No notifications: processes of one machine poll the index."""
        return lambda: None

    def report(self, model: str, replica: Replica, *, ttl_seconds: float) -> None:
        """Record which revision a running service serves."""
        now = self._clock()
        with self._index.write() as db:
            seen = replace(replica, seen_at=timestamp(now))
            replace_replica(db, check_model_name(model), seen, now.timestamp(), now.timestamp() + ttl_seconds)

    def withdraw(self, model: str, name: str) -> None:
        """Delete a replica that stops."""
        with self._index.write() as db:
            delete_replica(db, check_model_name(model), name)

    def replicas(self, model: str) -> list[Replica]:
        """The running services of a model, by name."""
        with self._index.read() as db:
            return select_replicas(db, check_model_name(model), self._clock().timestamp())

    def record_refusal(
        self, model: str, version: int | None, *, actor: str, reason: str, detail: dict[str, str] | None = None
    ) -> HistoryEntry:
        """Write a refusal and its reason into the history."""
        with self._index.write() as db:
            return self._append(db, check_model_name(model), "refuse", actor, None, version, reason, detail or {})

    def history(self, model: str, limit: int | None = 100) -> list[HistoryEntry]:
        """The latest entries, newest first."""
        with self._index.read() as db:
            return select_entries(db, check_model_name(model), limit)

    def entry(self, model: str, seq: int) -> HistoryEntry:
        """One entry of the history. Raises NotFound."""
        with self._index.read() as db:
            return select_entry(db, check_model_name(model), seq)

    def verify_history(self, model: str) -> int:
        """Check the chain and that rollout and versions are its outcome; return its length."""
        with self._index.read() as db:
            entries = select_entries(db, check_model_name(model))[::-1]
            rollout, versions = select_rollout(db, model), select_versions(db, model)
        check_chain(model, entries)
        check_outcome(entries, rollout, versions, self._history_trust)
        return len(entries)

    def close(self) -> None:
        """Close the index; safe to call twice."""
        self._index.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _change(
        self,
        db: sqlite3.Connection,
        before: Rollout,
        action: Action,
        plan: RolloutPlan,
        actor: str,
        reason: str,
        detail: Mapping[str, str],
    ) -> Rollout:
        after = Rollout(before.model, before.revision + 1, plan, self._now(), actor, reason)
        replace_rollout(db, after)
        self._append(
            db, before.model, action, actor, before.champion, plan.champion, reason, change_detail(plan, detail)
        )
        return after

    def _append(
        self,
        db: sqlite3.Connection,
        model: str,
        action: Action,
        actor: str,
        from_version: int | None,
        to_version: int | None,
        reason: str,
        detail: dict[str, str],
    ) -> HistoryEntry:
        last = select_entries(db, model, limit=1)
        blank = HistoryEntry(
            model=model,
            at=self._now(),
            actor=actor,
            action=action,
            from_version=from_version,
            to_version=to_version,
            revision=select_rollout(db, model).revision,
            reason=reason,
            detail=detail,
        )
        entry = next_entry(last[0] if last else None, blank, self._signer)
        insert_entry(db, entry)
        return entry

    def _bytes(self, info: VersionInfo) -> bytes:
        path = self.path_of(info)
        try:
            data = read_regular(path, MAX_ARTIFACT_BYTES + 1, follow_links=False)
        except OSError as error:
            raise ArtifactCorrupt(f"The file of {info.name} cannot be read: {path}: {error.strerror}.") from error
        return check_digest(info, data if len(data) <= MAX_ARTIFACT_BYTES else b"")

    def _artifacts(self, model: str) -> Path:
        return self.folder / "artifacts" / model

    def _now(self) -> str:
        return timestamp(self._clock())
