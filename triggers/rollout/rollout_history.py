"""Records of a store: versions, the rollout, replicas, and a tamper-evident history.

Each history entry carries the hash of the one before: hash = sha256(canonical JSON of the entry without its own hash).
Changing, dropping or inserting an entry breaks every later hash; `check_chain` finds the first break. A writer of the
store can compute all hashes anew, but cannot sign. With a key, an entry carries a signature in its detail: over all of
the entry but signature and hash, and so, by the previous hash, over all earlier entries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from triggers.artifact.manifest import Manifest, ObjectiveRecord
from triggers.artifact.selection_record import SelectionRecord
from triggers.artifact.signature import HISTORY_PREFIX, TRUST_ANYONE, Signature, Signer, Trust
from triggers.errors import FairtriggerError, NotFound, RevisionConflict, StoreError
from triggers.fingerprint import json_digest
from triggers.rollout.rollout_plan import RolloutPlan

Action = Literal["publish", "activate", "adjust", "rollback", "refuse"]
CHANGES = ("activate", "adjust", "rollback")
"""Actions that make a revision of the rollout; `adjust` keeps the champion and changes the rest of the plan."""
PLAN_KEY = "rollout"
"""Key, in an entry's detail, of the whole plan; without it the plan is a champion only."""
GENESIS = "sha256:" + "0" * 64
SIGNATURE = "signature"
"""Key, in an entry's detail, of its signature: the key's id, a colon, and the signature."""


@dataclass(frozen=True)
class VersionInfo:
    """One published version, without its tensors. `bytes` and `file_sha256` are those of the artifact's file."""

    model: str
    version: int
    digest: str
    file_sha256: str
    bytes: int
    created_at: str
    created_by: str
    manifest: Manifest

    @property
    def name(self) -> str:
        """Model and version for people: `faces v7`."""
        return f"{self.model} {version_name(self.version)}"

    @property
    def kind(self) -> str:
        """Kind of the trigger: border, patch, hard, ..."""
        return self.manifest.kind

    @property
    def objective(self) -> ObjectiveRecord:
        """The objective it was trained for."""
        return self.manifest.objective

    @property
    def selection(self) -> SelectionRecord | None:
        """Whether validation proved that it costs no more than its budget; None for earlier releases' artifacts."""
        return self.manifest.selection


@dataclass(frozen=True)
class Rollout:
    """The plan that a model is served by, and its author. Revision 0: no decision yet."""

    model: str
    revision: int = 0
    plan: RolloutPlan = field(default_factory=RolloutPlan)
    updated_at: str | None = None
    updated_by: str | None = None
    reason: str = ""

    @property
    def champion(self) -> int | None:
        """The version that serves; None is the bare model."""
        return self.plan.champion


@dataclass(frozen=True)
class Replica:
    """A running service: the rollout revision that it serves and, after a refusal, the refused one and the reason."""

    name: str
    revision: int
    champion: int | None = None
    refusal: str | None = None
    refused_revision: int | None = None
    seen_at: str = ""


@dataclass(frozen=True)
class HistoryEntry:
    """One change or refusal. `from_version` and `to_version` are champions, or the published or refused version."""

    model: str
    at: str
    actor: str
    action: Action
    from_version: int | None
    to_version: int | None
    revision: int
    reason: str
    detail: Mapping[str, str]
    seq: int = 0
    prev_hash: str = ""
    hash: str = ""

    def to_dict(self) -> dict[str, object]:
        """JSON-ready, with the keys `from` and `to`."""
        return {
            "model": self.model,
            "seq": self.seq,
            "at": self.at,
            "actor": self.actor,
            "action": self.action,
            "from": self.from_version,
            "to": self.to_version,
            "revision": self.revision,
            "reason": self.reason,
            "detail": dict(self.detail),
            "prev_hash": self.prev_hash,
            "hash": self.hash,
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, object]) -> HistoryEntry:
        """The inverse of `to_dict`; a missing or unknown key is a TypeError or KeyError."""
        renamed = dict(fields)
        renamed["from_version"], renamed["to_version"] = renamed.pop("from"), renamed.pop("to")
        return cls(**renamed)  # type: ignore[arg-type]

    @property
    def plan(self) -> RolloutPlan:
        """The plan that a change decided. Raises StoreError if it cannot be read."""
        if PLAN_KEY not in self.detail:
            return RolloutPlan(self.to_version)
        try:
            return RolloutPlan.from_json(self.detail[PLAN_KEY])
        except (FairtriggerError, ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"History of {self.model!r}: entry {self.seq} has no readable rollout: {error}."
            ) from error

    def expected_hash(self) -> str:
        """The hash this entry must have."""
        fields = self.to_dict()
        del fields["hash"]
        return json_digest(fields)


def check_chain(model: str, entries: Sequence[HistoryEntry]) -> None:
    """Raise StoreError at the first entry, oldest first, that does not continue the chain."""
    previous = GENESIS
    for number, entry in enumerate(entries, start=1):
        if entry.model != model or entry.seq != number:
            raise StoreError(f"History of {model!r}: entry {number} is missing or out of place (found {entry.seq}).")
        if entry.prev_hash != previous or entry.hash != entry.expected_hash():
            raise StoreError(f"History of {model!r}: entry {number} was altered, or the one before it.")
        previous = entry.hash


def next_entry(last: HistoryEntry | None, entry: HistoryEntry, signer: Signer | None = None) -> HistoryEntry:
    """Link a new entry behind the last one: number it, sign it if there is a key, and seal it with its hash."""
    detail = {key: text for key, text in entry.detail.items() if key != SIGNATURE}
    linked = replace(entry, seq=last.seq + 1 if last else 1, prev_hash=last.hash if last else GENESIS, detail=detail)
    if signer:
        signature = signer.sign(_unsigned(linked), HISTORY_PREFIX)
        linked = replace(linked, detail=detail | {SIGNATURE: f"{signature.key}:{signature.value}"})
    return replace(linked, hash=linked.expected_hash())


def _unsigned(entry: HistoryEntry) -> str:
    """The digest that is signed: of an entry without signature and hash."""
    detail = {key: text for key, text in entry.detail.items() if key != SIGNATURE}
    return replace(entry, detail=detail, hash="").expected_hash()


def check_signed(entry: HistoryEntry, trust: Trust) -> None:
    """Raise StoreError unless one of the keys signed the entry; without keys there is nothing to check."""
    if not trust.keys:
        return
    key, _, value = entry.detail.get(SIGNATURE, "").partition(":")
    if trust.vouched(_unsigned(entry), Signature(key, value), HISTORY_PREFIX) is None:
        what = f"is signed by {key or 'nobody'}, whose word does not count here, or the signature is forged"
        raise StoreError(f"History of {entry.model!r}: entry {entry.seq} {what}. Decide it again with a trusted key.")


def last_change(entries: Iterable[HistoryEntry]) -> HistoryEntry | None:
    """The last decision in a history, newest first."""
    return next((entry for entry in entries if entry.action in CHANGES), None)


def deciding_entry(head: HistoryEntry, entry_at: Callable[[int], HistoryEntry]) -> HistoryEntry | None:
    """The decision behind the revision of a history's last entry, by some log2(length) calls of `entry_at`.

    It is the first entry of that revision, as revisions only grow. None if there was none, or if it is none.
    """
    if head.revision == 0:
        return None
    first, last = 1, head.seq
    while first < last:
        middle = (first + last) // 2
        if entry_at(middle).revision < head.revision:
            first = middle + 1
        else:
            last = middle
    found = entry_at(first)
    return found if found.action in CHANGES else None


def check_decided(rollout: Rollout, change: HistoryEntry | None, trust: Trust = TRUST_ANYONE) -> None:
    """Raise StoreError unless a rollout equals the last decision in its history, unaltered and by a trusted key."""
    told = (change.revision, change.plan) if change else (0, RolloutPlan())
    if told != (rollout.revision, rollout.plan):
        found = f"revision {rollout.revision} with {_plan_name(rollout.plan)}"
        wanted = f"revision {told[0]} with {_plan_name(told[1])}"
        raise StoreError(f"The rollout of {rollout.model!r} is at {found}, its history says {wanted}.")
    if change:
        if change.hash != change.expected_hash():
            raise StoreError(f"History of {change.model!r}: entry {change.seq} was altered.")
        check_signed(change, trust)


def check_outcome(
    entries: Sequence[HistoryEntry], rollout: Rollout, versions: Sequence[VersionInfo], trust: Trust = TRUST_ANYONE
) -> None:
    """Raise StoreError unless rollout and versions match the history, oldest first. Detects a truncated history."""
    check_decided(rollout, last_change(reversed(entries)), trust)
    published = [(entry.to_version, entry.detail.get("digest")) for entry in entries if entry.action == "publish"]
    if published != [(info.version, info.digest) for info in versions]:
        raise StoreError(f"The versions of {rollout.model!r} are not those that its history published.")


def plan_before(model: str, entries: Iterable[HistoryEntry]) -> RolloutPlan:
    """The plan that a rollback restores, from the history, oldest first. A second rollback goes further back."""
    stack = [RolloutPlan()]
    for entry in entries:
        if entry.action == "rollback":
            stack.pop()
        elif entry.action in CHANGES and entry.plan != stack[-1]:
            stack.append(entry.plan)
    if len(stack) < 2:
        raise NotFound(f"Model {model!r} had no other rollout before, so there is nothing to roll back to.")
    return stack[-2]


def change_of(before: RolloutPlan, after: RolloutPlan) -> Action:
    """The action of a change in the history."""
    return "adjust" if before.champion == after.champion and before != after else "activate"


def check_revision(rollout: Rollout, wanted: int | None) -> Rollout:
    """The rollout, if it is at the wanted revision (None: any). Raises RevisionConflict."""
    if wanted is not None and wanted != rollout.revision:
        raise RevisionConflict(
            f"The rollout of {rollout.model!r} is at revision {rollout.revision}, not {wanted}: read it and try again."
        )
    return rollout


def change_detail(plan: RolloutPlan, detail: Mapping[str, str]) -> dict[str, str]:
    """The detail of a change in the history: `detail`, and the plan unless that is a champion only."""
    kept = {key: text for key, text in detail.items() if key != PLAN_KEY}
    return kept if plan.simple else kept | {PLAN_KEY: plan.to_json()}


def no_version(model: str, version: int, count: int) -> NotFound:
    """The error for an unknown version, which names those there are."""
    there = f"it has v1 to v{count}" if count else "nothing was published for it"
    return NotFound(f"Model {model!r} has no trigger {version_name(version)}; {there}.")


def _plan_name(plan: RolloutPlan) -> str:
    return version_name(plan.champion) if plan.simple else plan.to_json()


def version_name(version: int | None) -> str:
    """`v7`, or `none` for the bare model."""
    return "none" if version is None else f"v{version}"


def timestamp(now: datetime) -> str:
    """UTC time to the microsecond, sortable as text."""
    return now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
