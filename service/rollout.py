"""Follows the store's rollout of one model: load, check, try out, and only then swap.

A thread polls the store; a change made here is applied at once. What cannot be served is refused: the champion of
before stays, the refusal goes into the history once, and `status` says why until another version takes over.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from service.batcher import Overloaded
from triggers.errors import ArtifactError, NotFound, RevisionConflict, StoreError, StoreUnavailable
from triggers.records import champion_before
from triggers.store import Rollout, Store, version_name

logger = logging.getLogger(__name__)

ACTOR = "service"
CHANGES = ("activate", "rollback")


@dataclass(frozen=True)
class Refusal:
    """Why the champion that the store asks for is not served here."""

    version: int
    revision: int
    reason: str


@dataclass(frozen=True)
class Status:
    """What the store wants (`desired`) and why this replica may be behind."""

    desired: Rollout
    refusal: Refusal | None = None
    store_error: str | None = None


class Serving(Protocol):
    """A trigger in memory."""

    @property
    def version(self) -> int | None: ...

    @property
    def digest(self) -> str | None: ...


class Applied(Protocol):
    """What is applied of a rollout."""

    @property
    def champion(self) -> int | None: ...

    @property
    def revision(self) -> int: ...


class Triggers(Protocol):
    """The triggers of one model in memory: `predictor.Predictor`, or the inference process's seen from here."""

    @property
    def name(self) -> str:
        """The model's name."""
        ...

    @property
    def snapshot(self) -> Applied:
        """What the next batch will use."""
        ...

    @property
    def champion(self) -> Serving:
        """The trigger that serves whoever does not choose one."""
        ...

    @property
    def groups_overlap(self) -> bool:
        """Whether a trigger in memory was made on groups that overlap."""
        ...

    def lease(self, version: int) -> AbstractContextManager[Serving]:
        """Hold a version in memory, loading it first if needed."""
        ...

    def pin(self, version: int) -> bool:
        """Hold a version until `unpin`, if that needs no waiting."""
        ...

    def unpin(self, version: int) -> None:
        """Let go of what `pin` held."""
        ...

    def promote(self, version: int | None, revision: int) -> None:
        """Make a version (None: no trigger) the champion of every batch that starts from now on."""
        ...

    def warm(self) -> None:
        """Make the first request as fast as the others."""
        ...


class Follower:
    """Keeps a predictor at the store's rollout. `on_swap` hears `applied` or `refused`."""

    def __init__(
        self,
        store: Store,
        predictor: Triggers,
        *,
        poll_seconds: float,
        on_swap: Callable[[str], None] = lambda result: None,
    ) -> None:
        self.model = predictor.name
        self._store, self._predictor, self._poll_seconds, self._on_swap = store, predictor, poll_seconds, on_swap
        self._status = Status(Rollout(self.model))
        self._settled = -1  # the last revision that was applied or refused
        self._syncing = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name=f"rollout-{self.model}", daemon=True)

    @property
    def status(self) -> Status:
        """The latest news from the store."""
        return self._status

    def start(self) -> None:
        """Apply the present rollout, or the last good one if that is refused, then follow."""
        self.sync()
        if self._status.refusal:
            try:
                self._serve_the_last_good()
            except StoreError as error:
                self._trouble(error)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def change(self, champion: int | None, *, if_revision: int, actor: str, reason: str) -> Rollout:
        """Prove that a version can be served, then make it the champion, here before this returns.

        Raises NotFound, ArtifactError (recorded; nothing changed), RevisionConflict or StoreUnavailable.
        """
        self._expect(if_revision)
        with ExitStack() as stack:
            if champion is not None:
                stack.enter_context(self.admit(champion, actor=actor))
            new = self._store.set_rollout(self.model, champion, if_revision=if_revision, actor=actor, reason=reason)
            self.sync()
        return new

    def roll_back(self, *, if_revision: int, actor: str, reason: str) -> Rollout:
        """Return to the champion before the present one, under the same checks as `change`.

        Raises StoreError if there was none, and what `change` raises.
        """
        self._expect(if_revision)
        try:
            target = champion_before(self.model, reversed(self._store.history(self.model, limit=None)))
        except NotFound as error:
            raise StoreError(str(error)) from error
        with ExitStack() as stack:
            if target is not None:
                stack.enter_context(self.admit(target, actor=actor))
            new = self._store.rollback(self.model, if_revision=if_revision, actor=actor, reason=reason)
            self.sync()
        return new

    def _expect(self, revision: int) -> None:
        """Refuse a stale change before anything is loaded for it; the store checks again when it writes."""
        now = self._store.rollout(self.model).revision
        if now != revision:
            raise RevisionConflict(f"The rollout of {self.model!r} is at revision {now}, not {revision}: read it.")

    @contextmanager
    def admit(self, version: int, *, actor: str) -> Iterator[Serving]:
        """Hold a version in memory while it is needed. A version that is refused goes into the history."""
        with ExitStack() as stack:
            try:
                resident = stack.enter_context(self._predictor.lease(version))
            except ArtifactError as error:
                self._record(version, str(error), actor)
                raise
            yield resident

    def sync(self) -> None:
        """Ask the store and follow it, once."""
        with self._syncing:
            try:
                desired = self._store.rollout(self.model)
            except StoreError as error:
                self._trouble(error)
                return
            if desired.revision == self._settled:
                self._status = replace(self._status, store_error=None)
            else:
                self._settle(desired)

    def _follow(self) -> None:
        while not self._stopping.wait(self._poll_seconds):
            try:
                self.sync()
            except Exception as error:  # the thread boundary: the next poll tries again
                logger.exception("model %s: following the rollout failed", self.model)
                self._status = replace(self._status, store_error=f"Unexpected: {error!r}; see the log.")

    def _settle(self, desired: Rollout) -> None:
        try:
            self._promote(desired.champion, desired.revision)
        except (StoreUnavailable, Overloaded) as error:  # passing: the next poll tries again
            self._trouble(error)
            return
        except (ArtifactError, NotFound) as error:
            logger.error("model %s: v%s refused: %s", self.model, desired.champion, error)
            refusal = Refusal(desired.champion or 0, desired.revision, str(error))
            self._status = Status(desired, refusal)
            self._on_swap("refused")
        else:
            logger.info(
                "model %s: serves %s, revision %d", self.model, version_name(desired.champion), desired.revision
            )
            self._status = Status(desired)
            self._on_swap("applied")
        self._settled = desired.revision

    def _promote(self, champion: int | None, revision: int) -> None:
        if champion is None:
            self._predictor.promote(None, revision)
            return
        with self.admit(champion, actor=ACTOR):
            self._predictor.promote(champion, revision)

    def _serve_the_last_good(self) -> None:
        """At start there is no champion of before in memory, so look for it in the history."""
        refused = self._status.desired.revision
        changes = [each for each in self._store.history(self.model, limit=None) if each.action in CHANGES]
        for entry in changes:
            if entry.revision == refused:
                continue
            try:
                self._promote(entry.to_version, entry.revision)
            except (ArtifactError, NotFound):
                continue
            logger.warning("model %s: serves %s instead", self.model, version_name(entry.to_version))
            return

    def _trouble(self, error: Exception) -> None:
        if self._status.store_error is None:
            logger.error("model %s: the rollout cannot be followed: %s", self.model, error)
        self._status = replace(self._status, store_error=str(error))

    def _record(self, version: int, reason: str, actor: str) -> None:
        """Into the history, unless this refusal at this revision is there already, perhaps from another replica."""
        try:
            revision = self._store.rollout(self.model).revision
            for entry in self._store.history(self.model):
                if (entry.action, entry.to_version, entry.revision, entry.reason) == (
                    "refuse",
                    version,
                    revision,
                    reason,
                ):
                    return
            self._store.record_refusal(self.model, version, actor=actor, reason=reason)
        except StoreError as error:
            logger.error("model %s: the refusal of v%d could not be recorded: %s", self.model, version, error)
