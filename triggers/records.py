"""What a store keeps beside the artifacts: versions, the rollout, and a history that cannot be rewritten unseen.

Each history entry carries the hash of the one before: hash = sha256(canonical JSON of the entry without its own hash).
Changing, dropping or inserting an entry breaks every later hash; `check_chain` finds the first break. Whoever may write
the store can work out all hashes anew, but cannot sign. Where there is a key, an entry carries a signature in its
detail: over everything in it but that and its hash, and so, by the hash before, over all that came before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from triggers.errors import FairtriggerError, NotFound, RevisionConflict, StoreError
from triggers.fingerprint import json_digest
from triggers.manifest import Manifest, ObjectiveRecord
from triggers.plan import Plan
from triggers.signature import ANYBODY, HISTORY_PREFIX, Signature, Signer, Trust

Action = Literal["publish", "activate", "adjust", "rollback", "refuse"]
CHANGES = ("activate", "adjust", "rollback")
"""Actions that make a revision of the rollout; `adjust` leaves the champion and changes what goes on beside it."""
PLAN = "rollout"
"""Key of an entry's detail under which a change keeps the whole plan; without it there was only a champion."""
GENESIS = "sha256:" + "0" * 64
SIGNATURE = "signature"
"""Key of an entry's detail under which it is signed: the key's id, a colon, and the signature."""


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
        """What it was trained for."""
        return self.manifest.objective


@dataclass(frozen=True)
class Rollout:
    """The plan that a model is served by, and who decided it. Revision 0: nobody has decided yet."""

    model: str
    revision: int = 0
    plan: Plan = field(default_factory=Plan)
    updated_at: str | None = None
    updated_by: str | None = None
    reason: str = ""

    @property
    def champion(self) -> int | None:
        """The version that serves; None is the bare model."""
        return self.plan.champion


@dataclass(frozen=True)
class Replica:
    """A running service: the rollout revision that it serves, and why not the newest, if it refused that one."""

    name: str
    revision: int
    champion: int | None = None
    refusal: str | None = None
    refused_revision: int | None = None
    seen_at: str = ""


@dataclass(frozen=True)
class HistoryEntry:
    """One change or refusal. `from_version` and `to_version` are champions, or what was published or refused."""

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
    def plan(self) -> Plan:
        """The plan that a change decided. Raises StoreError if it cannot be read."""
        if PLAN not in self.detail:
            return Plan(self.to_version)
        try:
            return Plan.from_json(self.detail[PLAN])
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
    """What is signed of an entry."""
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


def check_decided(rollout: Rollout, change: HistoryEntry | None, trust: Trust = ANYBODY) -> None:
    """Raise StoreError unless a rollout is what the last decision in its history says, whole and by a trusted key."""
    told = (change.revision, change.plan) if change else (0, Plan())
    if told != (rollout.revision, rollout.plan):
        found = f"revision {rollout.revision} with {_plan_name(rollout.plan)}"
        wanted = f"revision {told[0]} with {_plan_name(told[1])}"
        raise StoreError(f"The rollout of {rollout.model!r} is at {found}, its history says {wanted}.")
    if change:
        if change.hash != change.expected_hash():
            raise StoreError(f"History of {change.model!r}: entry {change.seq} was altered.")
        check_signed(change, trust)


def check_outcome(
    entries: Sequence[HistoryEntry], rollout: Rollout, versions: Sequence[VersionInfo], trust: Trust = ANYBODY
) -> None:
    """Raise StoreError unless rollout and versions are what the history, oldest first, says. Finds a cut-off end."""
    check_decided(rollout, last_change(reversed(entries)), trust)
    published = [(entry.to_version, entry.detail.get("digest")) for entry in entries if entry.action == "publish"]
    if published != [(info.version, info.digest) for info in versions]:
        raise StoreError(f"The versions of {rollout.model!r} are not those that its history published.")


def plan_before(model: str, entries: Iterable[HistoryEntry]) -> Plan:
    """Where a rollback leads, from the history oldest first. A second rollback goes further back."""
    stack = [Plan()]
    for entry in entries:
        if entry.action == "rollback":
            stack.pop()
        elif entry.action in CHANGES and entry.plan != stack[-1]:
            stack.append(entry.plan)
    if len(stack) < 2:
        raise NotFound(f"Model {model!r} had no other rollout before, so there is nothing to roll back to.")
    return stack[-2]


def change_of(before: Plan, after: Plan) -> Action:
    """What to call a change in the history."""
    return "adjust" if before.champion == after.champion and before != after else "activate"


def at_revision(rollout: Rollout, wanted: int | None) -> Rollout:
    """The rollout, unless it is at another revision than is wanted: then RevisionConflict."""
    if wanted is not None and wanted != rollout.revision:
        raise RevisionConflict(
            f"The rollout of {rollout.model!r} is at revision {rollout.revision}, not {wanted}: read it and try again."
        )
    return rollout


def change_detail(plan: Plan, detail: Mapping[str, str]) -> dict[str, str]:
    """The detail of a change in the history: what was given, and the plan unless the champion says all."""
    kept = {key: text for key, text in detail.items() if key != PLAN}
    return kept if plan.simple else kept | {PLAN: plan.to_json()}


def no_version(model: str, version: int, count: int) -> NotFound:
    """That there is no such version, and which there are."""
    there = f"it has v1 to v{count}" if count else "nothing was published for it"
    return NotFound(f"Model {model!r} has no trigger {version_name(version)}; {there}.")


def _plan_name(plan: Plan) -> str:
    return version_name(plan.champion) if plan.simple else plan.to_json()


def version_name(version: int | None) -> str:
    """`v7`, or `none` for the bare model."""
    return "none" if version is None else f"v{version}"


def timestamp(now: datetime) -> str:
    """UTC time to the microsecond, sortable as text."""
    return now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
