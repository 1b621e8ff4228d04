"""A trigger as one file: safetensors in canonical form, with a JSON manifest in the metadata. Never pickle.

    tensors    image: keep, delta (C, S, S)      text: embeddings (T, D), for a hard trigger token_ids (T)
    metadata   {"fairtrigger": {"digest": "sha256:...", "manifest": {...}}}     one key: equal artifacts, equal bytes

The digest covers the tensors and the manifest without `provenance`: the same training gives the same digest on any day.
A signed artifact also has `"signature": {"key": ..., "value": ...}` beside the digest (triggers/signature.py).
Loading trusts nothing: sizes, header, manifest, digest, shapes and bounds are checked before anybody sees a tensor.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast, get_args

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors import torch as safetensors_torch
from torch import Tensor

from triggers.bounds import check_bounds
from triggers.classifier import FrozenClassifier, Trigger
from triggers.durable import write_whole
from triggers.errors import ArtifactCorrupt, ArtifactMismatch, ArtifactUnsupported, ConfigError, NotFound
from triggers.fingerprint import canonical_json, tensors_digest
from triggers.image import ImageTrigger
from triggers.manifest import FORMAT, Manifest, check_model_name
from triggers.regular_file import read_regular
from triggers.signature import Signature
from triggers.text import Position, TextTrigger

MAX_BYTES = 64 * 1024 * 1024
MAX_HEADER_BYTES = 4 * 1024 * 1024
METADATA_KEY = "fairtrigger"
DTYPES = {"keep": "F32", "delta": "F32", "embeddings": "F32", "token_ids": "I64"}


@dataclass(frozen=True, eq=False)
class TriggerArtifact:
    """A trigger with its papers. `digest` ("sha256:...") is what is compared; make one with `seal`.

    A `signature` is carried, and judged by whoever knows trusted keys.
    """

    trigger: Trigger
    manifest: Manifest
    digest: str
    signature: Signature | None = None


def seal(trigger: Trigger, manifest: Manifest) -> TriggerArtifact:
    """Check that trigger and manifest agree and compute the digest. Raises ArtifactCorrupt."""
    check_bounds(trigger, manifest)
    return TriggerArtifact(trigger, manifest, digest_of(trigger, manifest))


def digest_of(trigger: Trigger, manifest: Manifest) -> str:
    """`sha256:` over the tensors and the manifest without provenance."""
    return tensors_digest(_tensors(trigger), manifest.content())


def dump(artifact: TriggerArtifact) -> bytes:
    """The bytes of an artifact's file; equal artifacts give equal bytes."""
    papers: dict[str, Any] = {"digest": artifact.digest, "manifest": artifact.manifest.model_dump(mode="json")}
    if artifact.signature:
        papers["signature"] = asdict(artifact.signature)
    metadata = {METADATA_KEY: canonical_json(papers).decode()}
    return safetensors_torch.save(_tensors(artifact.trigger), metadata)


def save_artifact(artifact: TriggerArtifact, path: Path | str) -> None:
    """Write an artifact's file in one step, whole or not at all."""
    write_whole(Path(path), dump(artifact))


def load_artifact(source: Path | str | bytes) -> TriggerArtifact:
    """Read and check an artifact.

    Raises NotFound (no such file), ArtifactUnsupported (unknown format) or ArtifactCorrupt (anything else).
    """
    data = source if isinstance(source, bytes) else read_limited(Path(source))
    header = _header(data)
    _check_length(data, header)
    stated_digest, manifest, signature = _papers(header)
    tensors = _load_tensors(data, header, manifest)
    trigger = _trigger(manifest, tensors)
    actual = digest_of(trigger, manifest)
    if actual != stated_digest:
        raise ArtifactCorrupt(f"The content has digest {actual}, the file states {stated_digest}: it was altered.")
    check_bounds(trigger, manifest)
    return TriggerArtifact(trigger, manifest, actual, signature)


def claimed_model(data: bytes) -> str | None:
    """The model that a file says it is for, however wrong the rest of it is; None if it does not say. For messages."""
    try:
        papers = _json(_header(data)["__metadata__"][METADATA_KEY], "metadata")
        return check_model_name(papers["manifest"]["model"])
    except (ArtifactCorrupt, ConfigError, KeyError, TypeError):
        return None


def check_compatible(artifact: TriggerArtifact, classifier: FrozenClassifier) -> None:
    """Raise ArtifactMismatch, naming both sides, unless the trigger was made for this model and preprocessing."""
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
            raise ArtifactMismatch(f"The trigger was made for {name} {ours}, but {classifier.name!r} has {theirs}.")
    _check_shape(artifact.trigger, classifier)


def _check_shape(trigger: Trigger, classifier: FrozenClassifier) -> None:
    """The tensors must fit the network, and a hard trigger's embeddings must be those of its words."""
    if isinstance(trigger, ImageTrigger):
        spec = classifier.spec.image
        wanted = (spec.channels, spec.size, spec.size) if spec else ()
        if tuple(trigger.keep.shape) != wanted:
            raise ArtifactMismatch(f"The trigger is {tuple(trigger.keep.shape)}, {classifier.name!r} takes {wanted}.")
        return
    words, dim = classifier.embedding_matrix.shape
    if trigger.embeddings.shape[1] != dim:
        raise ArtifactMismatch(f"The trigger's embeddings have width {trigger.embeddings.shape[1]}, the model's {dim}.")
    if trigger.token_ids:
        if max(trigger.token_ids) >= words:
            raise ArtifactMismatch(f"Token id {max(trigger.token_ids)} is beyond the model's {words} words.")
        rows = classifier.embedding_matrix[list(trigger.token_ids)].detach().float().cpu()
        if trigger.kind == "hard" and not torch.allclose(rows, trigger.embeddings, atol=1e-6, rtol=0):
            raise ArtifactMismatch("The hard trigger's embeddings are not the model's embeddings of its words.")


def _tensors(trigger: Trigger) -> dict[str, Tensor]:
    if isinstance(trigger, ImageTrigger):
        tensors = {"keep": trigger.keep, "delta": trigger.delta}
    else:
        tensors = {"embeddings": trigger.embeddings}
        if trigger.token_ids is not None:
            tensors["token_ids"] = torch.tensor(trigger.token_ids, dtype=torch.int64)
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def read_limited(path: Path) -> bytes:
    """The bytes of a file that may be an artifact. Raises NotFound, or ArtifactCorrupt for one that is too big."""
    try:
        data = read_regular(path, MAX_BYTES + 1)
    except OSError as error:
        raise NotFound(f"The artifact {path} cannot be read: {error.strerror}.") from error
    if len(data) > MAX_BYTES:
        raise ArtifactCorrupt(f"{path} has {path.stat().st_size} bytes; an artifact has at most {MAX_BYTES}.")
    return data


def _header(data: bytes) -> dict[str, Any]:
    """The safetensors header, with the reason where it is not one."""
    if len(data) > MAX_BYTES:
        raise ArtifactCorrupt(f"The artifact has {len(data)} bytes; at most {MAX_BYTES} are accepted.")
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
    """Where a tensor's bytes end. Anything malformed is left to the safetensors library."""
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


def _papers(header: Mapping[str, Any]) -> tuple[str, Manifest, Signature | None]:
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
    if version != FORMAT:
        raise ArtifactUnsupported(f"The artifact has format {version}, this release reads {FORMAT}: upgrade.")
    try:
        return digest, Manifest.model_validate_json(json.dumps(manifest), strict=True), signature
    except ValidationError as error:
        where = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'manifest'}: {e['msg']}" for e in error.errors()[:3])
        raise ArtifactCorrupt(f"The manifest is wrong: {where}.") from error


def _signature(fields: object) -> Signature | None:
    """The signature's two short texts; its truth is judged elsewhere."""
    if fields is None:
        return None
    if not isinstance(fields, dict) or set(fields) != {"key", "value"}:
        raise ArtifactCorrupt("The signature must hold a key and a value.")
    if not all(isinstance(text, str) and len(text) <= 128 for text in fields.values()):
        raise ArtifactCorrupt("The signature's key and value must be short texts.")
    return Signature(**fields)


def _load_tensors(data: bytes, header: Mapping[str, Any], manifest: Manifest) -> dict[str, Tensor]:
    names = set(header) - {"__metadata__"}
    wanted = {"keep", "delta"} if manifest.modality == "image" else {"embeddings", *(names & {"token_ids"})}
    if names != wanted:
        raise ArtifactCorrupt(f"The file holds tensors {sorted(names)}; this kind has {sorted(wanted)}.")
    for name in names:
        dtype = header[name].get("dtype") if isinstance(header[name], dict) else None
        if dtype != DTYPES[name]:
            raise ArtifactCorrupt(f"Tensor {name} is {dtype!r}, not {DTYPES[name]}.")
    try:
        return safetensors_torch.load(data)
    except SafetensorError as error:
        raise ArtifactCorrupt(f"The tensors cannot be read: {error}") from error


def _trigger(manifest: Manifest, tensors: Mapping[str, Tensor]) -> Trigger:
    """Put the trigger together; `check_bounds` judges it afterwards."""
    geometry = manifest.geometry
    if manifest.modality == "image":
        inner = geometry.get("inner")
        if type(inner) is not int:
            raise ArtifactCorrupt(f"The manifest's geometry states inner = {inner!r}, not a number of pixels.")
        return ImageTrigger(cast(Any, manifest.kind), inner, tensors["keep"], tensors["delta"])
    position = geometry.get("position")
    if position not in get_args(Position):
        raise ArtifactCorrupt(f"The manifest's geometry states position = {position!r}.")
    ids = tuple(tensors["token_ids"].reshape(-1).tolist()) if "token_ids" in tensors else None
    return TextTrigger(cast(Any, manifest.kind), cast(Any, position), tensors["embeddings"], ids, manifest.words)
