"""A trigger as one file: safetensors in canonical form, with a JSON manifest in the metadata. Never pickle.

    tensors    image: keep, delta (C, H, W)      text: embeddings (T, D), for a hard trigger token_ids (T)
    metadata   {"fairtrigger": {"digest": "sha256:...", "manifest": {...}}}     one key: equal artifacts, equal bytes

The digest covers the tensors and the manifest without `provenance`: the same training gives the same digest on any day.
A signed artifact also has `"signature": {"key": ..., "value": ...}` beside the digest (triggers/artifact/signature.py).
Loading trusts nothing: sizes, header, manifest, digest, shapes and bounds are checked before a tensor is returned.
The code for tensors, triggers/artifact/artifact_tensors.py, is imported on use: listing versions needs no torch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from triggers.artifact.manifest import MANIFEST_FORMAT, Manifest, check_model_name
from triggers.artifact.scoring_words import scoring_difference
from triggers.artifact.signature import Signature
from triggers.errors import (
    ArtifactCorrupt,
    ArtifactMismatch,
    ArtifactUncertified,
    ArtifactUnsupported,
    ConfigError,
    NotFound,
)
from triggers.fingerprint import canonical_json
from triggers.storage import write_atomically
from triggers.storage.regular_file import read_regular

if TYPE_CHECKING:
    from triggers.model import FrozenClassifier, Trigger

MAX_ARTIFACT_BYTES = 64 * 1024 * 1024
MAX_HEADER_BYTES = 4 * 1024 * 1024
METADATA_KEY = "fairtrigger"


@dataclass(frozen=True, eq=False)
class TriggerArtifact:
    """A trigger with its manifest. `digest` ("sha256:...") identifies it; make one with `make_artifact`.

    A `signature` is carried unverified: `Trust.check` verifies it.
    """

    trigger: Trigger
    manifest: Manifest
    digest: str
    signature: Signature | None = None


def make_artifact(trigger: Trigger, manifest: Manifest) -> TriggerArtifact:
    """Check that trigger and manifest agree and compute the digest. Raises ArtifactCorrupt."""
    from triggers.artifact.artifact_tensors import checked_digest

    return TriggerArtifact(trigger, manifest, checked_digest(trigger, manifest))


def to_bytes(artifact: TriggerArtifact) -> bytes:
    """The bytes of an artifact's file; equal artifacts give equal bytes."""
    from triggers.artifact.artifact_tensors import tensor_bytes

    papers: dict[str, Any] = {"digest": artifact.digest, "manifest": artifact.manifest.model_dump(mode="json")}
    if artifact.signature:
        papers["signature"] = asdict(artifact.signature)
    metadata = {METADATA_KEY: canonical_json(papers).decode()}
    return tensor_bytes(artifact.trigger, metadata)


def save_artifact(artifact: TriggerArtifact, path: Path | str) -> None:
    """Write an artifact's file atomically."""
    write_atomically(Path(path), to_bytes(artifact))


def load_artifact(source: Path | str | bytes) -> TriggerArtifact:
    """Read and check an artifact.

    Raises NotFound (no such file), ArtifactUnsupported (unknown format) or ArtifactCorrupt (anything else).
    """
    from triggers.artifact.artifact_tensors import from_bytes

    data = source if isinstance(source, bytes) else read_limited(Path(source))
    header = _header(data)
    _check_length(data, header)
    digest, manifest, signature = _metadata(header)
    return TriggerArtifact(from_bytes(data, header, manifest, digest), manifest, digest, signature)


def stated_model(data: bytes) -> str | None:
    """The model that a file states, even if the rest of the file is invalid; None if it states none. For messages."""
    try:
        papers = _json(_header(data)["__metadata__"][METADATA_KEY], "metadata")
        return check_model_name(papers["manifest"]["model"])
    except (ArtifactCorrupt, ConfigError, KeyError, TypeError):
        return None


def check_compatible(artifact: TriggerArtifact, classifier: FrozenClassifier) -> None:
    """Raise ArtifactMismatch, naming both sides, unless the trigger was made for this model and preprocessing."""
    from triggers.artifact.artifact_tensors import check_shape

    manifest = artifact.manifest
    sides = {
        "modality": (manifest.modality, classifier.modality),
        "model fingerprint": (manifest.model_fingerprint, classifier.fingerprint),
        "preprocessing fingerprint": (manifest.preprocessing_fingerprint, classifier.preprocessing_fingerprint),
        "labels": (manifest.labels, classifier.labels),
        "pos_label": (manifest.pos_label, classifier.pos_label),
    }
    for name, (ours, theirs) in sides.items():
        if ours != theirs:
            message = f"The trigger was made for {name} {ours}, but {classifier.name!r} has {theirs}."
            raise ArtifactMismatch(message + _changed_scoring(manifest, classifier))
    check_shape(artifact.trigger, classifier)


def check_certified(artifact: TriggerArtifact) -> None:
    """Raise ArtifactUncertified unless the trigger's selection certified it."""
    found = artifact.manifest.selection
    if found is None or found.status != "certified":
        standing = found.sentence.rstrip(".") if found else "of a release that recorded no selection"
        remedy = "Run it as a shadow, certify one on more validation rows, or switch require_certified off."
        raise ArtifactUncertified(f"Only certified triggers may answer, and this one is {standing}. {remedy}")


def _changed_scoring(manifest: Manifest, classifier: FrozenClassifier) -> str:
    changed = scoring_difference(manifest.scoring, classifier.spec.fingerprint_fields())
    if changed is None:
        return ""
    return f" Its way from outputs to a label is another: {changed}. Train a trigger for it, or restore model.json."


def read_limited(path: Path) -> bytes:
    """The bytes of a file that may be an artifact. Raises NotFound, or ArtifactCorrupt for one that is too big."""
    try:
        data = read_regular(path, MAX_ARTIFACT_BYTES + 1)
    except OSError as error:
        raise NotFound(f"The artifact {path} cannot be read: {error.strerror}.") from error
    if len(data) > MAX_ARTIFACT_BYTES:
        raise ArtifactCorrupt(f"{path} has {path.stat().st_size} bytes; an artifact has at most {MAX_ARTIFACT_BYTES}.")
    return data


def _header(data: bytes) -> dict[str, Any]:
    """The safetensors header. Raises ArtifactCorrupt with the reason where it is malformed."""
    if len(data) > MAX_ARTIFACT_BYTES:
        raise ArtifactCorrupt(f"The artifact has {len(data)} bytes; at most {MAX_ARTIFACT_BYTES} are accepted.")
    length = int.from_bytes(data[:8], "little")
    if length > MAX_HEADER_BYTES:
        raise ArtifactCorrupt(f"The header claims {length} bytes (at most {MAX_HEADER_BYTES}): no safetensors file.")
    if len(data) < 8 + length:
        raise ArtifactCorrupt(f"The file is cut short: {len(data)} bytes, the header alone needs {8 + length}.")
    return _json(data[8 : 8 + length], "header")


def _check_length(data: bytes, header: Mapping[str, Any]) -> None:
    stored = len(data) - 8 - int.from_bytes(data[:8], "little")
    needed = max((_end_of(entry) for name, entry in header.items() if name != "__metadata__"), default=0)
    if stored < needed:
        raise ArtifactCorrupt(f"The file is cut short: {stored} bytes of tensors, {needed} are announced.")


def _end_of(entry: object) -> int:
    """End offset of a tensor's bytes; 0 for malformed entries, which the safetensors library refuses."""
    offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
    return offsets[1] if isinstance(offsets, list) and len(offsets) == 2 and isinstance(offsets[1], int) else 0


def _json(text: str | bytes, part: str) -> dict[str, Any]:
    """A JSON object without repeated keys, NaN or Infinity."""
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise ArtifactCorrupt(f"The {part} is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise ArtifactCorrupt(f"The {part} is a JSON {type(value).__name__}, not an object.")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is repeated")
    return found


def _finite(number: str) -> float:
    """A JSON number, which Python would also read from NaN, Infinity or 1e999."""
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{number} is not a finite number")
    return value


def _metadata(header: Mapping[str, Any]) -> tuple[str, Manifest, Signature | None]:
    """The stated digest, the manifest and the signature, if there is one."""
    metadata = header.get("__metadata__")
    if not isinstance(metadata, dict) or not isinstance(metadata.get(METADATA_KEY), str):
        raise ArtifactCorrupt(f"The metadata has no {METADATA_KEY!r} entry, so this is no trigger artifact.")
    papers = _json(metadata[METADATA_KEY], "metadata")
    manifest, digest = papers.get("manifest"), papers.get("digest")
    if not isinstance(manifest, dict) or not isinstance(digest, str):
        raise ArtifactCorrupt("The metadata must hold a manifest and its digest.")
    signature = _signature(papers.get("signature"))
    version = manifest.get("format")
    if type(version) is not int:
        raise ArtifactCorrupt(f"The manifest's format is {version!r}, not a number.")
    if version != MANIFEST_FORMAT:
        raise ArtifactUnsupported(f"The artifact has format {version}, this release reads {MANIFEST_FORMAT}: upgrade.")
    try:
        return digest, Manifest.model_validate_json(json.dumps(manifest), strict=True), signature
    except ValidationError as error:
        where = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'manifest'}: {e['msg']}" for e in error.errors()[:3])
        raise ArtifactCorrupt(f"The manifest is wrong: {where}.") from error


def _signature(fields: object) -> Signature | None:
    """The signature's two short texts, unverified."""
    if fields is None:
        return None
    if not isinstance(fields, dict) or set(fields) != {"key", "value"}:
        raise ArtifactCorrupt("The signature must hold a key and a value.")
    if not all(isinstance(text, str) and len(text) <= 128 for text in fields.values()):
        raise ArtifactCorrupt("The signature's key and value must be short texts.")
    return Signature(**fields)
