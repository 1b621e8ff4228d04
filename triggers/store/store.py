"""The interface of trigger stores, and `open_store`, which opens one by its URL."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, Self
from urllib.parse import unquote, urlsplit

from triggers.artifact.artifact import TriggerArtifact
from triggers.artifact.signature import TRUST_ANYONE, Signer, Trust
from triggers.errors import ConfigError, NotFound
from triggers.rollout import RolloutPlan
from triggers.rollout.rollout_history import HistoryEntry, Replica, Rollout, VersionInfo, version_name
from triggers.rollout.rollout_plan import Challenger, Shadow
from triggers.storage import without_password
from triggers.storage.url_utils import without_parameter
from triggers.store.file_store import FileStore

__all__ = [
    "Challenger",
    "HistoryEntry",
    "Replica",
    "Rollout",
    "RolloutPlan",
    "Shadow",
    "Store",
    "VersionInfo",
    "open_store",
    "version_name",
]


class Store(Protocol):
    """Artifacts by (model, version), one rollout per model, and a history of every change.

    Synchronous (not on the event loop) and thread-safe. Versions are 1, 2, 3, ... per model and never overwritten. A
    model's name is checked (ConfigError); an unknown model has no versions, revision 0 and an empty history.
    Any method may raise StoreUnavailable; trying again is safe for all of them but `record_refusal`, which would
    record twice, and unconditional changes of the rollout, which would happen twice.
    """

    url: str

    def publish(self, artifact: TriggerArtifact, *, actor: str, reason: str = "") -> int:
        """Store a sound artifact and return its version; the same digest again returns the version it already has.

        Raises ArtifactCorrupt if the artifact does not survive the same checks as loading.
        """
        ...

    def models(self) -> list[str]:
        """Names of all models with a version or a history, sorted."""
        ...

    def versions(self, model: str, limit: int | None = None, before: int | None = None) -> list[VersionInfo]:
        """The latest `limit` versions of a model, oldest first; None: all. `before`: only those with lower numbers."""
        ...

    def version(self, model: str, version: int) -> VersionInfo:
        """One version without its tensors. Raises NotFound."""
        ...

    def get(self, model: str, version: int) -> TriggerArtifact:
        """One artifact, checked in full. Raises NotFound, ArtifactCorrupt or ArtifactUnsupported."""
        ...

    def get_bytes(self, model: str, version: int) -> bytes:
        """The bytes of its file, checked against the hash they were stored with. Raises NotFound or ArtifactCorrupt."""
        ...

    def rollout(self, model: str) -> Rollout:
        """The rollout of the model."""
        ...

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
        """Replace the whole plan; a version alone (None: the bare model) is a plan with that champion only.

        Only at revision `if_revision`, unless that is None. `detail` goes into the history with the reason. Every
        call makes a new revision. Raises NotFound (no such version) or RevisionConflict.
        """
        ...

    def rollback(
        self,
        model: str,
        *,
        if_revision: int | None,
        actor: str,
        reason: str,
        detail: Mapping[str, str] | None = None,
    ) -> Rollout:
        """Return to the whole plan before the current one. Raises NotFound if there was none, or RevisionConflict."""
        ...

    def watch(self, model: str, wake: Callable[[], None]) -> Callable[[], None]:
        """Call `wake` soon after a model's rollout changed, on a thread of the store; returns a function that ends it.

        A hint that a store may omit, lose, or send without a change: the caller must poll as well.
        """
        ...

    def report(self, model: str, replica: Replica, *, ttl_seconds: float) -> None:
        """Record which revision a running service serves; it counts as running for `ttl_seconds` after a report."""
        ...

    def withdraw(self, model: str, name: str) -> None:
        """Delete a replica that stops; an unknown one is no error."""
        ...

    def replicas(self, model: str) -> list[Replica]:
        """The running services of a model, by name."""
        ...

    def record_refusal(
        self, model: str, version: int | None, *, actor: str, reason: str, detail: dict[str, str] | None = None
    ) -> HistoryEntry:
        """Write into the history that a version, or a file that never became one (None), was refused, and why."""
        ...

    def history(self, model: str, limit: int | None = 100) -> list[HistoryEntry]:
        """The latest entries, newest first; all of them with limit None."""
        ...

    def entry(self, model: str, seq: int) -> HistoryEntry:
        """One entry of the history, by its number from 1 on. Raises NotFound."""
        ...

    def verify_history(self, model: str) -> int:
        """Check the hash chain, and that rollout and versions are its outcome; return its length. Raises StoreError."""
        ...

    def close(self) -> None:
        """Release connections; safe to call twice."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


def open_store(
    url: str | Path,
    *,
    create: bool = True,
    trust: Trust = TRUST_ANYONE,
    signer: Signer | None = None,
    history_trust: Trust = TRUST_ANYONE,
) -> Store:
    """Open a store by its address.

        file:///dir or a folder     made when missing unless `create` is False (then NotFound)
        redis://host:6379/0         and the other URLs of triggers/storage/redis_client.py
        redis://...?artifacts=s3://bucket/prefix     files there (or at any fsspec URL) and the rest in Redis

    Artifacts are published and handed out only if `trust` accepts their signatures. Entries of histories are signed by
    `signer`; `verify_history` wants the last decision signed by one of `history_trust`. Raises ConfigError for
    an unsupported address, StoreUnavailable if the store cannot be opened.
    """
    if urlsplit(str(url)).scheme.partition("+")[0] in ("redis", "rediss", "unix"):
        return _redis_store(str(url), trust, signer, history_trust)
    folder = _folder(str(url))
    if not create and not folder.is_dir():
        raise NotFound(f"There is no trigger store at {folder}.")
    return FileStore(folder, trust=trust, signer=signer, history_trust=history_trust)


def _redis_store(url: str, trust: Trust, signer: Signer | None, history_trust: Trust) -> Store:
    from triggers.store.artifact_files import CloudFiles
    from triggers.store.redis_store import RedisStore

    server, place = without_parameter(url, "artifacts")
    files = None if place is None else CloudFiles(place)
    return RedisStore(server, files=files, trust=trust, signer=signer, history_trust=history_trust)


def _folder(url: str) -> Path:
    if "://" not in url:
        if not url.strip():
            raise ConfigError("The store's URL is empty; give a folder, for instance ./fairtrigger-store.")
        return Path(url)
    parts = urlsplit(url)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost") or not parts.path:
        raise ConfigError(
            f"Unknown store {without_password(url)!r}: use file:///absolute/folder, a plain folder path, redis://, "
            "redis+sentinel:// or redis+cluster://."
        )
    return Path(unquote(parts.path))
