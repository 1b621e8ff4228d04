"""The controller that keeps one model at the store's rollout: load, check, try out, and only then swap.

A thread polls the store, and the store's notifications wake it; a change made here is applied at once. A plan is
applied as a whole: if any of its versions cannot be served, the plan is refused, the previous plan stays, the refusal
is recorded in the history once, and `status` says why until another plan takes over. The replica reports to the store
what it serves.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial

from service.config import Settings
from service.errors import Overloaded
from service.rollout.replica_heartbeat import ReplicaHeartbeat
from service.rollout.trigger_host import TriggerHost
from triggers.artifact.artifact import check_certified
from triggers.artifact.signature import TRUST_ANYONE, Trust
from triggers.errors import ArtifactError, InputError, NotFound, RevisionConflict, StoreError, StoreUnavailable
from triggers.rollout import RolloutPlan
from triggers.rollout.rollout_history import (
    CHANGES,
    HistoryEntry,
    check_decided,
    deciding_entry,
    last_change,
    plan_before,
)
from triggers.store import Store, open_store
from triggers.store.store import Replica, Rollout, version_name

logger = logging.getLogger(__name__)

SERVICE_ACTOR = "service"
WAIT_POLL_SECONDS = 0.02
SAME_MOMENT_READS = 5
"""Most reads of rollout and history until both are as of the same decision."""
NEW_VERSIONS_SECONDS = 10.0
"""Seconds between calls of `on_versions` while the rollout does not change."""


@dataclass(frozen=True)
class Refusal:
    """Why the store's desired plan is not served here, and the version at fault, if it is one."""

    version: int | None
    revision: int
    reason: str


@dataclass(frozen=True)
class Status:
    """The store's `desired` rollout, and why this replica may be behind it."""

    desired: Rollout
    refusal: Refusal | None = None
    store_error: str | None = None
    head: HistoryEntry | None = None
    """The last entry of the history when the rollout was followed."""


class _UnservablePlan(Exception):
    """A plan cannot be served because of one of its versions."""

    def __init__(self, version: int | None, reason: str) -> None:
        super().__init__(reason)
        self.version = version


class RolloutController:
    """Keeps a model at the store's rollout. `on_swap` gets `applied`, `refused` or `history_rewritten`.

    `on_versions` is called, on any thread, when the store may have new versions.
    """

    def __init__(
        self,
        store: Store,
        backend: TriggerHost,
        *,
        poll_seconds: float,
        replica: str,
        heartbeat_seconds: float,
        on_swap: Callable[[str], None] = lambda result: None,
        trust: Trust = TRUST_ANYONE,
        require_certified: bool = False,
    ) -> None:
        self.model = backend.name
        self._store, self._backend, self._poll_seconds, self._on_swap = store, backend, poll_seconds, on_swap
        self._trust, self._require_certified = trust, require_certified
        self._witnessed: HistoryEntry | None = None
        self._status = Status(Rollout(self.model))
        self._handled_revision = -1  # the last revision that was applied or refused
        self._heartbeat = ReplicaHeartbeat(store, self.model, replica, heartbeat_seconds)
        self._others: list[Replica] | None = None  # all replicas, as the thread last read them
        self._syncing = threading.Lock()
        self._stopping, self._wake = threading.Event(), threading.Event()
        self._unwatch: Callable[[], None] = lambda: None
        self.on_versions: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=self._reconcile_forever, name=f"rollout-{self.model}", daemon=True)

    @property
    def status(self) -> Status:
        """The store's rollout as last read, and why it may not be applied."""
        return self._status

    @property
    def fault(self) -> str | None:
        """Why what was decided is not what answers here; None where it is. Memory only: on any thread."""
        status, champion = self._status, self._backend.state.champion
        serving = "the bare model" if champion is None else version_name(champion)
        if refusal := status.refusal:
            return f"Revision {refusal.revision} of the rollout is refused, {serving} answers: {refusal.reason}"
        if status.store_error and self._handled_revision < 0:
            return f"The rollout could not be read yet, {serving} answers: {status.store_error}"
        return None

    @property
    def replica(self) -> str:
        """The name under which this process reports what it serves."""
        return self._heartbeat.name

    def start(self) -> None:
        """Apply the present rollout, or the last good one if that is refused, then follow. Not on the event loop."""
        self.reconcile_once()
        if self._status.refusal:
            try:
                self._serve_the_last_good()
            except StoreError as error:
                self._note_store_error(error)
        self._report()
        self._read_replicas()
        self._unwatch = self._store.watch(self.model, self.wake)
        self._thread.start()

    def wake(self) -> None:
        """Make the thread read the store now. On any thread, the event loop's too."""
        self._wake.set()

    def stop(self) -> None:
        """End the thread and deregister the replica. Waits for the store: not on the event loop."""
        self._unwatch()
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
            self._heartbeat.deregister()

    def change(
        self, plan: RolloutPlan, *, if_revision: int, actor: str, reason: str, detail: Mapping[str, str] | None = None
    ) -> Rollout:
        """Prove that a plan can be served, then write it to the store; it is applied here before this returns.

        `detail`, such as the evidence for the decision, goes into the history. Not on the event loop.
        Raises InputError, NotFound, ArtifactError (recorded; nothing changed), RevisionConflict or StoreUnavailable.
        """
        decide = partial(self._store.set_rollout, self.model, plan, reason=reason, detail=detail)
        self._expect(if_revision)
        return self._decide(plan, decide, if_revision, actor)

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
        decide = partial(self._store.rollback, self.model, reason=reason, detail=detail)
        return self._decide(plan, decide, if_revision, actor)

    def replicas(self) -> list[Replica]:
        """All running replicas of the model, this one too. Raises StoreUnavailable. Not on the event loop."""
        return self._heartbeat.list_all(self._replica_state())

    @property
    def known_replicas(self) -> list[Replica] | None:
        """All running replicas as last read, this one up to date; None if the store failed. Never waits."""
        found = self._others
        if found is None:
            return None
        here = self._replica_state()
        return [replace(here, seen_at=each.seen_at) if each.name == here.name else each for each in found]

    def wait_for_all(self, revision: int, seconds: float) -> list[Replica]:
        """Wait until every running replica serves `revision` or a later one; return those that do not by then.

        A replica that has refused it is not waited for. Raises StoreUnavailable. Not on the event loop.
        """
        deadline = time.monotonic() + seconds
        while True:
            behind = [each for each in self.replicas() if each.revision < revision]
            waiting = [each for each in behind if (each.refused_revision or 0) < revision]
            if not waiting or time.monotonic() >= deadline or self._stopping.is_set():
                return behind
            time.sleep(WAIT_POLL_SECONDS)

    def _decide(self, plan: RolloutPlan, decide: Callable[..., Rollout], revision: int, actor: str) -> Rollout:
        """Decide with all versions of the plan in memory. Raises InputError if old and new may not fit together."""
        if 2 * len(plan.versions) > self._backend.state.max_versions:
            raise InputError("too_many_versions", _too_many(plan, self._backend.state.max_versions))
        with ExitStack() as held:
            for version in plan.versions:
                held.enter_context(self.hold(version, actor=actor, answers=version in plan.answering))
            new = decide(if_revision=revision, actor=actor)
            self.reconcile_once()
        return new

    def _expect(self, revision: int) -> None:
        """Refuse a stale change before anything is loaded for it; the store checks again when it writes."""
        now = self._store.rollout(self.model).revision
        if now != revision:
            raise RevisionConflict(f"The rollout of {self.model!r} is at revision {now}, not {revision}: read it.")

    @contextmanager
    def hold(self, version: int, *, actor: str, answers: bool = False) -> Iterator[None]:
        """Hold a version in memory for the block; a refusal is recorded in the history. Not on the event loop.

        With `answers`, it shall answer people, and is refused if it must be certified for that and is not.
        """
        self.on_versions()
        with ExitStack() as stack:
            try:
                stack.enter_context(self._backend.hold(version))
                if answers and self._require_certified:
                    check_certified(self._store.get(self.model, version))
            except ArtifactError as error:
                self.record_refusal(version, str(error), actor)
                raise
            yield

    def reconcile_once(self) -> None:
        """Read the store's rollout and apply it, once. Waits for the store: not on the event loop."""
        with self._syncing:
            try:
                desired = self._store.rollout(self.model)
            except StoreError as error:
                self._note_store_error(error)
                return
            if desired.revision == self._handled_revision:
                self._status = replace(self._status, store_error=None)
                return
            try:
                desired, head, change = self._read_rollout()
                self._witness(head)
            except StoreError as error:
                self._note_store_error(error)
                return
            self._apply(desired, change)
            self._status = replace(self._status, head=head)
            self._wake.set()

    def _read_rollout(self) -> tuple[Rollout, HistoryEntry | None, HistoryEntry | None]:
        """The rollout, the history's last entry, and its last decision, all as of one moment. Raises StoreError."""
        for _ in range(SAME_MOMENT_READS):
            desired, entries = self._store.rollout(self.model), self._store.history(self.model)
            change = last_change(entries)
            if change is None and entries:  # nothing but publishes and refusals since
                change = deciding_entry(entries[0], partial(self._store.entry, self.model))
            if change is None or change.revision <= desired.revision:
                break  # else the decision came between the two reads
        return desired, entries[0] if entries else None, change

    def _witness(self, head: HistoryEntry | None) -> None:
        """Log and count a history that does not continue the one that this process saw before."""
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

    def _reconcile_forever(self) -> None:
        look_at = time.monotonic() + NEW_VERSIONS_SECONDS
        while not self._stopping.is_set():
            asked = self._wake.wait(self._poll_seconds)
            self._wake.clear()
            try:
                if time.monotonic() >= look_at:
                    look_at = time.monotonic() + NEW_VERSIONS_SECONDS
                    self.on_versions()
                self.reconcile_once()
                self._report()
                if asked:
                    self._read_replicas()
            except Exception as error:  # the thread boundary: the next poll tries again
                logger.exception("model %s: following the rollout failed", self.model)
                self._status = replace(self._status, store_error=f"Unexpected: {error!r}; see the log.")

    def _report(self) -> None:
        self._heartbeat.report(self._replica_state())

    def _read_replicas(self) -> None:
        try:
            self._others = self.replicas()
        except StoreError:
            self._others = None

    def _replica_state(self) -> Replica:
        """What this replica serves."""
        refusal, state = self._status.refusal, self._backend.state
        reason, refused = (refusal.reason, refusal.revision) if refusal else (None, None)
        return Replica(self.replica, state.revision, state.champion, reason, refused)

    def _apply(self, desired: Rollout, change: HistoryEntry | None) -> None:
        self.on_versions()
        try:
            self._check(desired, change)
            self._activate(desired.plan, desired.revision)
        except (StoreUnavailable, Overloaded) as error:  # transient: the next poll tries again
            self._note_store_error(error)
            return
        except _UnservablePlan as error:
            logger.error("model %s: revision %d refused: %s", self.model, desired.revision, error)
            self._status = Status(desired, Refusal(error.version, desired.revision, str(error)))
            self._on_swap("refused")
        else:
            champion = version_name(desired.champion)
            told = f"history entry {change.seq} {change.hash}" if change else "nothing decided yet"
            logger.info("model %s: serves %s, revision %d, %s", self.model, champion, desired.revision, told)
            self._status = Status(desired)
            self._on_swap("applied")
        self._handled_revision = desired.revision

    def _check(self, desired: Rollout, change: HistoryEntry | None) -> None:
        """Check that the history decided this rollout. Raises _UnservablePlan."""
        try:
            check_decided(desired, change, self._trust)
        except StoreError as error:
            raise _UnservablePlan(None, f"{error} It is not followed: somebody wrote to the store directly.") from error

    def _activate(self, plan: RolloutPlan, revision: int) -> None:
        """Load and activate a plan. Raises _UnservablePlan for good, StoreUnavailable or Overloaded for now."""
        if 2 * len(plan.versions) > self._backend.state.max_versions:
            raise _UnservablePlan(None, _too_many(plan, self._backend.state.max_versions))
        with ExitStack() as held:
            for version in plan.versions:
                try:
                    answers = version in plan.answering
                    held.enter_context(self.hold(version, actor=SERVICE_ACTOR, answers=answers))
                except (ArtifactError, NotFound) as error:
                    raise _UnservablePlan(version, str(error)) from error
            self._backend.activate_plan(plan, revision)

    def _serve_the_last_good(self) -> None:
        """Activate the latest servable plan of the history: at start no previous plan is in memory."""
        refused = self._status.desired
        changes = [each for each in self._store.history(self.model, limit=None) if each.action in CHANGES]
        for entry in changes:
            if (entry.revision, entry.plan) == (refused.revision, refused.plan):
                continue
            try:
                self._check(Rollout(self.model, entry.revision, entry.plan), entry)
                self._activate(entry.plan, entry.revision)
            except _UnservablePlan:
                continue
            logger.warning("model %s: serves %s instead", self.model, version_name(entry.to_version))
            return

    def _note_store_error(self, error: Exception) -> None:
        if self._status.store_error is None:
            logger.error("model %s: the rollout cannot be followed: %s", self.model, error)
        self._status = replace(self._status, store_error=str(error))

    def record_refusal(self, version: int | None, reason: str, actor: str) -> None:
        """Record a refusal in the history, unless it is there for this revision already. Not on the event loop."""
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
            name = version_name(version)
            logger.error("model %s: the refusal of %s could not be recorded: %s", self.model, name, error)


def follower_of(
    backend: TriggerHost, store: Store, settings: Settings, replica: str, on_swap: Callable[[str], None]
) -> RolloutController:
    """The RolloutController of a model under these settings."""
    return RolloutController(
        store,
        backend,
        poll_seconds=settings.poll_seconds,
        replica=replica,
        heartbeat_seconds=settings.heartbeat_seconds,
        trust=settings.history_trust(),
        require_certified=settings.require_certified,
        on_swap=on_swap,
    )


def open_trigger_store(settings: Settings) -> Store:
    """Open the store with the keys of the settings. Raises ConfigError or StoreUnavailable."""
    signer, trusted = settings.history_signer(), settings.history_trust()
    return open_store(settings.store, trust=settings.trust(), signer=signer, history_trust=trusted)


def _too_many(plan: RolloutPlan, limit: int) -> str:
    return (
        f"The rollout names {len(plan.versions)} versions, and {limit} are kept in memory: a swap holds those before "
        "and those after it, so name fewer, or raise max_versions."
    )
