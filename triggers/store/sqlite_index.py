"""The SQLite index of the embedded store: tables, and functions that write and read their rows."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from pydantic import ValidationError

from triggers.artifact.manifest import Manifest
from triggers.errors import FairtriggerError, NotFound, StoreError
from triggers.rollout import RolloutPlan
from triggers.rollout.rollout_history import HistoryEntry, Replica, Rollout, VersionInfo, no_version, version_name
from triggers.storage import SqliteFile

INDEX_SCHEMA_VERSION = 2  # 1 had no plans and no replicas
INDEX_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS versions (
        model TEXT, version INTEGER, digest TEXT, file_sha256 TEXT, bytes INTEGER, created_at TEXT, created_by TEXT,
        manifest TEXT, PRIMARY KEY (model, version), UNIQUE (model, digest)) STRICT""",
    """CREATE TABLE IF NOT EXISTS rollouts (
        model TEXT PRIMARY KEY, revision INTEGER, champion INTEGER, updated_at TEXT, updated_by TEXT,
        reason TEXT) STRICT""",
    "CREATE TABLE IF NOT EXISTS history (model TEXT, seq INTEGER, entry TEXT, PRIMARY KEY (model, seq)) STRICT",
    "CREATE TABLE IF NOT EXISTS plans (model TEXT PRIMARY KEY, plan TEXT NOT NULL) STRICT",
    """CREATE TABLE IF NOT EXISTS replicas (
        model TEXT, name TEXT, revision INTEGER, champion INTEGER, refusal TEXT, refused_revision INTEGER,
        seen_at TEXT, expires REAL, PRIMARY KEY (model, name)) STRICT""",
)
BUSY_SECONDS = 30.0


class SqliteIndex(SqliteFile):
    """An open index file. The functions below work on the connection that `read` or `write` lends."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, INDEX_SCHEMA, INDEX_SCHEMA_VERSION, busy_seconds=BUSY_SECONDS)


def insert_version(db: sqlite3.Connection, info: VersionInfo) -> None:
    """Insert a new version."""
    row = (info.model, info.version, info.digest, info.file_sha256, info.bytes, info.created_at, info.created_by)
    db.execute("INSERT INTO versions VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*row, info.manifest.model_dump_json()))


def select_versions(
    db: sqlite3.Connection, model: str, limit: int | None = None, before: int | None = None
) -> list[VersionInfo]:
    """The latest `limit` versions of a model before number `before`, oldest first; by default all."""
    statement = "SELECT * FROM versions WHERE model = ? AND version < ? ORDER BY version DESC LIMIT ?"
    rows = db.execute(statement, (model, 2**62 if before is None else before, -1 if limit is None else limit))
    return [_info(*row) for row in rows][::-1]


def select_known(db: sqlite3.Connection, model: str, digest: str) -> tuple[int | None, int]:
    """The version that a digest has, None if it is new, and the last version (0: none). Reads two index entries."""
    row = db.execute("SELECT version FROM versions WHERE model = ? AND digest = ?", (model, digest)).fetchone()
    (last,) = db.execute("SELECT max(version) FROM versions WHERE model = ?", (model,)).fetchone()
    return (row[0] if row else None), last or 0


def select_version(db: sqlite3.Connection, model: str, version: int) -> VersionInfo:
    """One version. Raises NotFound naming those there are."""
    row = db.execute("SELECT * FROM versions WHERE model = ? AND version = ?", (model, version)).fetchone()
    if row:
        return _info(*row)
    (last,) = db.execute("SELECT max(version) FROM versions WHERE model = ?", (model,)).fetchone()
    raise no_version(model, version, last or 0)


def _info(
    model: str, version: int, digest: str, sha256: str, size: int, created_at: str, created_by: str, text: str
) -> VersionInfo:
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError as error:
        raise StoreError(f"The index row of {model} {version_name(version)} was altered: {error}") from error
    return VersionInfo(model, version, digest, sha256, size, created_at, created_by, manifest)


def select_models(db: sqlite3.Connection) -> list[str]:
    """Every model with a version or a history, sorted; one step along each index for each, as DISTINCT reads all."""
    found = set[str]()
    for table in ("versions", "history"):
        next_model = f"SELECT min(model) FROM {table} WHERE model > ?"  # nosec B608
        name = ""
        while (name := db.execute(next_model, (name,)).fetchone()[0]) is not None:
            found.add(name)
    return sorted(found)


def select_rollout(db: sqlite3.Connection, model: str) -> Rollout:
    """The rollout, at revision 0 if there is none. Raises StoreError if its plan cannot be read."""
    statement = """SELECT revision, champion, updated_at, updated_by, reason, plan
        FROM rollouts LEFT JOIN plans USING (model) WHERE model = ?"""
    row = db.execute(statement, (model,)).fetchone()
    if not row:
        return Rollout(model)
    revision, champion, *origin, text = row
    try:
        plan = RolloutPlan(champion) if text is None else RolloutPlan.from_json(text)
    except (FairtriggerError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"The rollout of {model!r} cannot be read, so it was altered: {error}.") from error
    if plan.champion != champion:
        raise StoreError(f"The rollout of {model!r} names two champions, so it was altered.")
    return Rollout(model, revision, plan, *origin)


def replace_rollout(db: sqlite3.Connection, rollout: Rollout) -> None:
    """Set the rollout."""
    row = (rollout.model, rollout.revision, rollout.champion, rollout.updated_at, rollout.updated_by, rollout.reason)
    db.execute("INSERT OR REPLACE INTO rollouts VALUES (?, ?, ?, ?, ?, ?)", row)
    db.execute("INSERT OR REPLACE INTO plans VALUES (?, ?)", (rollout.model, rollout.plan.to_json()))


def replace_replica(db: sqlite3.Connection, model: str, replica: Replica, now: float, expires: float) -> None:
    """Store a heartbeat, and delete expired replicas."""
    db.execute("DELETE FROM replicas WHERE expires <= ?", (now,))
    facts = (replica.name, replica.revision, replica.champion, replica.refusal, replica.refused_revision)
    row = (model, *facts, replica.seen_at, expires)
    db.execute("INSERT OR REPLACE INTO replicas VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)


def select_replicas(db: sqlite3.Connection, model: str, now: float) -> list[Replica]:
    """Replicas that have not expired, by name."""
    columns = "name, revision, champion, refusal, refused_revision, seen_at"
    statement = f"SELECT {columns} FROM replicas WHERE model = ? AND expires > ? ORDER BY name"  # nosec B608
    return [Replica(*row) for row in db.execute(statement, (model, now))]


def delete_replica(db: sqlite3.Connection, model: str, name: str) -> None:
    """Delete a replica that stopped."""
    db.execute("DELETE FROM replicas WHERE model = ? AND name = ?", (model, name))


def insert_entry(db: sqlite3.Connection, entry: HistoryEntry) -> None:
    """Append to the history."""
    db.execute("INSERT INTO history VALUES (?, ?, ?)", (entry.model, entry.seq, json.dumps(entry.to_dict())))


def select_entries(db: sqlite3.Connection, model: str, limit: int | None = None) -> list[HistoryEntry]:
    """The latest entries, newest first. Raises StoreError for one that cannot be read."""
    statement = "SELECT seq, entry FROM history WHERE model = ? ORDER BY seq DESC LIMIT ?"
    return [_entry(model, *row) for row in db.execute(statement, (model, -1 if limit is None else limit))]


def select_entry(db: sqlite3.Connection, model: str, seq: int) -> HistoryEntry:
    """One entry. Raises NotFound, and StoreError for one that cannot be read."""
    row = db.execute("SELECT entry FROM history WHERE model = ? AND seq = ?", (model, seq)).fetchone()
    if row is None:
        raise NotFound(f"The history of {model!r} has no entry {seq}.")
    return _entry(model, seq, row[0])


def _entry(model: str, seq: int, text: str) -> HistoryEntry:
    try:
        return HistoryEntry.from_dict(json.loads(text))
    except (ValueError, TypeError, KeyError) as error:
        raise StoreError(f"History of {model!r}: entry {seq} cannot be read, so it was altered: {error}.") from error
