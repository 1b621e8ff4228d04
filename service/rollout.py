"""Follows the store's rollout of one model: load, check, try out, and only then swap.

A thread polls the store, and is woken by a store that tells of changes; a change made here is applied at once. A plan
is applied as a whole: if any of its versions cannot be served it is refused, the plan of before stays, the refusal goes
into the history once, and `status` says why until another plan takes over. What is served here is reported to the
store, for everybody to see.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial

from service.batcher import Overloaded
from service.beacon import Beacon
from service.residents import Serving, Triggers
from triggers.errors import ArtifactError, InputError, NotFound, RevisionConflict, StoreError, StoreUnavailable
from triggers.plan import Plan
from triggers.records import CHANGES, HistoryEntry, check_decided, last_change, plan_before
from triggers.signature import ANYBODY, Trust
from triggers.store import Replica, Rollout, Store, version_name

logger = logging.getLogger(__name__)

ACTOR = "service"
WAIT_POLL_SECONDS = 0.02
SAME_MOMENT_READS = 5
"""How often rollout and history are read again because another decision came between."""
NEW_VERSIONS_SECONDS = 10.0
"""How often `on_versions` is called without any other reason."""


@dataclass(frozen=True)
class Refusal:
    """Why the plan that the store asks for is not served here, and the version at fault."""

    version: int | None
    revision: int
    reason: str


@dataclass(frozen=True)
class Status:
    """What the store wants (`desired`) and why this replica may be behind."""

    desired: Rollout
    refusal: Refusal | None = None
    store_error: str | None = None
    head: HistoryEntry | None = None
    """The last entry of the history when the rollout was followed."""


class _Unservable(Exception):
    """A plan cannot be served because of one of its versions."""

    def __init__(self, version: int | None, reason: str) -> None:
        super().__init__(reason)
        self.version = version


class Follower:
    """Keeps a predictor at the store's rollout. `on_swap` hears `applied` or `refused`.

    `on_versions` is called when there may be versions that were not there before; on any thread.
    """

    def __init__(
        self,
        store: Store,
        predictor: Triggers,
        *,
        poll_seconds: float,
        replica: str,
        heartbeat_seconds: float = 5.0,
        on_swap: Callable[[str], None] = lambda result: None,
        trust: Trust = ANYBODY,
    ) -> None:
        self.model = predictor.name
        self._store, self._predictor, self._poll_seconds, self._on_swap = store, predictor, poll_seconds, on_swap
        self._trust = trust
        self._witnessed: HistoryEntry | None = None
        self._status = Status(Rollout(self.model))
        self._settled = -1  # the last revision that was applied or refused
        self._beacon = Beacon(store, self.model, replica, heartbeat_seconds)
        self._others: list[Replica] | None = None  # all replicas, as the thread last read them
        self._syncing = threading.Lock()
        self._stopping, self._wake = threading.Event(), threading.Event()
        self._unwatch: Callable[[], None] = lambda: None
        self.on_versions: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=self._follow, name=f"rollout-{self.model}", daemon=True)

    @property
    def status(self) -> Status:
        """The latest news from the store."""
        return self._status

    @property
    def replica(self) -> str:
        """The name under which this process reports what it serves."""
        return self._beacon.name

    def start(self) -> None:
        """Apply the present rollout, or the last good one if that is refused, then follow."""
        self.sync()
        if self._status.refusal:
            try:
                self._serve_the_last_good()
            except StoreError as error:
                self._trouble(error)
        self._tell()
        self._read_replicas()
        self._unwatch = self._store.watch(self.model, self.look)
        self._thread.start()

    def look(self) -> None:
        """Let the thread ask the store now; on any thread, the event loop's too."""
        self._wake.set()

    def stop(self) -> None:
        """End the thread and leave the list of replicas."""
        self._unwatch()
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
            self._beacon.leave()

    def change(
        self, plan: Plan, *, if_revision: int, actor: str, reason: str, detail: Mapping[str, str] | None = None
    ) -> Rollout:
        """Prove that a plan can be served, then decide it; it is applied here before this returns.

        `detail`, such as the evidence for the decision, goes into the history.
        Raises InputError, NotFound, ArtifactError (recorded; nothing changed), RevisionConflict or StoreUnavailable.
        """
        self._expect(if_revision)
        with self._admitted(plan, actor):
            decide = partial(self._store.set_rollout, self.model, plan, if_revision=if_revision)
            new = decide(actor=actor, reason=reason, detail=detail)
            self.sync()
        return new

    def roll_back(
        self, *, if_revision: int, actor: str, reason: str, detail: Mapping[str, str] | None = None
    ) -> Rollout:
        """Return to the plan before the present one, under the same checks as `change`.

        Raises StoreError if there was none, and what `change` raises.
        """
        self._expect(if_revision)
        try:
            plan = plan_before(self.model, reversed(self._store.history(self.model, limit=None)))
        except NotFound as error:
            raise StoreError(str(error)) from error
        with self._admitted(plan, actor):
            roll_back = partial(self._store.rollback, self.model, if_revision=if_revision)
            new = roll_back(actor=actor, reason=reason, detail=detail)
            self.sync()
        return new

    def replicas(self) -> list[Replica]:
        """All running replicas of the model, this one among them. Raises StoreUnavailable."""
        return self._beacon.all(self._here())

    @property
    def known_replicas(self) -> list[Replica] | None:
        """All running replicas as they were last read, this one as it is; waits for nothing. None: the store failed."""
        found = self._others
        if found is None:
            return None
        here = self._here()
        return [replace(here, seen_at=each.seen_at) if each.name == here.name else each for each in found]

    def wait_for_all(self, revision: int, seconds: float) -> list[Replica]:
        """Wait until every running replica serves `revision` or a later one; return those that do not by then.

        Does not wait for one that has refused it. Raises StoreUnavailable.
        """
        deadline = time.monotonic() + seconds
        while True:
            behind = [each for each in self.replicas() if each.revision < revision]
            waiting = [each for each in behind if (each.refused_revision or 0) < revision]
            if not waiting or time.monotonic() >= deadline or self._stopping.is_set():
                return behind
            time.sleep(WAIT_POLL_SECONDS)

    @contextmanager
    def _admitted(self, plan: Plan, actor: str) -> Iterator[None]:
        """Hold all versions of a plan in memory. Raises InputError if old and new plan may not fit side by side."""
        if 2 * len(plan.versions) > self._predictor.max_versions:
            raise InputError("too_many_versions", _too_many(plan, self._predictor.max_versions))
        with ExitStack() as held:
            for version in plan.versions:
                held.enter_context(self.admit(version, actor=actor))
            yield

    def _expect(self, revision: int) -> None:
        """Refuse a stale change before anything is loaded for it; the store checks again when it writes."""
        now = self._store.rollout(self.model).revision
        if now != revision:
            raise RevisionConflict(f"The rollout of {self.model!r} is at revision {now}, not {revision}: read it.")

    @contextmanager
    def admit(self, version: int, *, actor: str) -> Iterator[Serving]:
        """Hold a version in memory while it is needed. A version that is refused goes into the history."""
        self.on_versions()
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
                return
            try:
                desired, head, change = self._told()
                self._witness(head)
            except StoreError as error:
                self._trouble(error)
                return
            self._settle(desired, change)
            self._status = replace(self._status, head=head)
            self._wake.set()

    def _told(self) -> tuple[Rollout, HistoryEntry | None, HistoryEntry | None]:
        """The rollout, the history's last entry, and its last decision, all as of one moment. Raises StoreError."""
        for _ in range(SAME_MOMENT_READS):
            desired, entries = self._store.rollout(self.model), self._store.history(self.model)
            change = last_change(entries)
            if change is None and entries:
                change = last_change(self._store.history(self.model, limit=None))
            if change is None or change.revision <= desired.revision:
                break  # else it was decided between the two
        return desired, entries[0] if entries else None, change

    def _witness(self, head: HistoryEntry | None) -> None:
        """Log and count it if the history does not go on from what this process saw of it."""
        seen, self._witnessed = self._witnessed, head
        if seen is None:
            return
        entries = self._store.history(self.model, limit=max(1, head.seq - seen.seq + 1)) if head else []
        if not any((entry.seq, entry.hash) == (seen.seq, seen.hash) for entry in entries):
            logger.error(
                "model %s: its history was rewritten or replaced: entry %d was %s when it was seen here, and is gone",
                self.model, seen.seq, seen.hash,
            )  # fmt: skip
            self._on_swap("history_rewritten")

    def _follow(self) -> None:
        look_at = time.monotonic() + NEW_VERSIONS_SECONDS
        while not self._stopping.is_set():
            asked = self._wake.wait(self._poll_seconds)
            self._wake.clear()
            try:
                if time.monotonic() >= look_at:
                    look_at = time.monotonic() + NEW_VERSIONS_SECONDS
                    self.on_versions()
                self.sync()
                self._tell()
                if asked:
                    self._read_replicas()
            except Exception as error:  # the thread boundary: the next poll tries again
                logger.exception("model %s: following the rollout failed", self.model)
                self._status = replace(self._status, store_error=f"Unexpected: {error!r}; see the log.")

    def _tell(self) -> None:
        self._beacon.tell(self._here())

    def _read_replicas(self) -> None:
        try:
            self._others = self.replicas()
        except StoreError:
            self._others = None

    def _here(self) -> Replica:
        """What this replica serves."""
        refusal, snapshot = self._status.refusal, self._predictor.snapshot
        reason, refused = (refusal.reason, refusal.revision) if refusal else (None, None)
        return Replica(self.replica, snapshot.revision, snapshot.champion, reason, refused)

    def _settle(self, desired: Rollout, change: HistoryEntry | None) -> None:
        self.on_versions()
        try:
            self._check(desired, change)
            self._promote(desired.plan, desired.revision)
        except (StoreUnavailable, Overloaded) as error:  # passing: the next poll tries again
            self._trouble(error)
            return
        except _Unservable as error:
            logger.error("model %s: revision %d refused: %s", self.model, desired.revision, error)
            self._status = Status(desired, Refusal(error.version, desired.revision, str(error)))
            self._on_swap("refused")
        else:
            champion = version_name(desired.champion)
            told = f"history entry {change.seq} {change.hash}" if change else "nothing decided yet"
            logger.info("model %s: serves %s, revision %d, %s", self.model, champion, desired.revision, told)
            self._status = Status(desired)
            self._on_swap("applied")
        self._settled = desired.revision

    def _check(self, desired: Rollout, change: HistoryEntry | None) -> None:
        """Raises _Unservable for a rollout that the history did not decide."""
        try:
            check_decided(desired, change, self._trust)
        except StoreError as error:
            raise _Unservable(None, f"{error} It is not followed: somebody wrote to the store directly.") from error

    def _promote(self, plan: Plan, revision: int) -> None:
        """Raises _Unservable for good, StoreUnavailable or Overloaded for the moment."""
        if 2 * len(plan.versions) > self._predictor.max_versions:
            raise _Unservable(None, _too_many(plan, self._predictor.max_versions))
        with ExitStack() as held:
            for version in plan.versions:
                try:
                    held.enter_context(self.admit(version, actor=ACTOR))
                except (ArtifactError, NotFound) as error:
                    raise _Unservable(version, str(error)) from error
            self._predictor.promote(plan, revision)

    def _serve_the_last_good(self) -> None:
        """At start there is no plan of before in memory, so look for it in the history."""
        refused = self._status.desired
        changes = [each for each in self._store.history(self.model, limit=None) if each.action in CHANGES]
        for entry in changes:
            if (entry.revision, entry.plan) == (refused.revision, refused.plan):
                continue
            try:
                self._check(Rollout(self.model, entry.revision, entry.plan), entry)
                self._promote(entry.plan, entry.revision)
            except _Unservable:
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


def _too_many(plan: Plan, limit: int) -> str:
    return (
        f"The rollout names {len(plan.versions)} versions, and {limit} are kept in memory: a swap holds those before "
        "and those after it, so name fewer, or raise max_versions."
    )
