"""Integrity checks of an artifact's file, the same in every store: stored hash, index entry and signature."""

from __future__ import annotations

import hashlib

from triggers.artifact.artifact import TriggerArtifact, load_artifact
from triggers.artifact.signature import Trust
from triggers.errors import ArtifactCorrupt
from triggers.rollout.rollout_history import VersionInfo


def file_digest(data: bytes) -> str:
    """`sha256:` and the hexadecimal hash of a file's bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def check_digest(info: VersionInfo, data: bytes) -> bytes:
    """The bytes, if they are those that were stored. Raises ArtifactCorrupt."""
    found = file_digest(data)
    if found != info.file_sha256:
        raise ArtifactCorrupt(f"The file of {info.name} was altered: {found}, but {info.file_sha256} was stored.")
    return data


def open_verified(info: VersionInfo, data: bytes, trust: Trust) -> TriggerArtifact:
    """The artifact in the bytes, checked against itself, its entry and the trusted keys. Raises ArtifactError."""
    artifact = load_artifact(data)
    if (artifact.digest, artifact.manifest) != (info.digest, info.manifest):
        raise ArtifactCorrupt(f"The file of {info.name} is not the one in the index.")
    trust.check(artifact.digest, artifact.signature)
    return artifact
