"""JSON records of the trigger store in Redis. An unreadable record raises StoreError: it was altered."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from triggers.artifact.manifest import Manifest
from triggers.errors import FairtriggerError, StoreError
from triggers.rollout import RolloutPlan
from triggers.rollout.rollout_history import HistoryEntry, Replica, Rollout, VersionInfo, version_name


def write_version(info: VersionInfo) -> str:
    """A version without its model and number, which its key and position give."""
    fields = {name: getattr(info, name) for name in ("digest", "file_sha256", "bytes", "created_at", "created_by")}
    return json.dumps(fields | {"manifest": info.manifest.model_dump(mode="json")})


def read_version(model: str, version: int, text: bytes) -> VersionInfo:
    """The inverse of `write_version`."""
    with _unaltered(f"The entry of {model} {version_name(version)}"):
        fields: dict[str, Any] = json.loads(text)
        manifest = Manifest.model_validate_json(json.dumps(fields.pop("manifest")))
        return VersionInfo(model, version, **fields, manifest=manifest)


def write_rollout(rollout: Rollout) -> str:
    """A rollout without its model."""
    origin = {name: getattr(rollout, name) for name in ("revision", "updated_at", "updated_by", "reason")}
    return json.dumps(origin | {"plan": rollout.plan.to_dict()})


def read_rollout(model: str, text: bytes | None) -> Rollout:
    """The inverse of `write_rollout`; revision 0 if there is none."""
    if not text:
        return Rollout(model)
    with _unaltered(f"The rollout of {model!r}"):
        fields: dict[str, Any] = json.loads(text)
        return Rollout(model, plan=RolloutPlan.from_dict(fields.pop("plan")), **fields)


def write_entry(entry: HistoryEntry) -> str:
    """A history entry."""
    return json.dumps(entry.to_dict())


def read_entry(model: str, text: bytes) -> HistoryEntry:
    """The inverse of `write_entry`."""
    with _unaltered(f"History of {model!r}: an entry"):
        return HistoryEntry.from_dict(json.loads(text))


def write_replica(replica: Replica) -> str:
    """A replica's heartbeat."""
    return json.dumps(asdict(replica))


def read_replica(model: str, text: bytes) -> Replica:
    """The inverse of `write_replica`."""
    with _unaltered(f"A replica of {model!r}"):
        return Replica(**json.loads(text))


@contextmanager
def _unaltered(what: str) -> Iterator[None]:
    try:
        yield
    except (FairtriggerError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{what} cannot be read, so it was altered: {error}.") from error
