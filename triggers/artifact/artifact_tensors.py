"""The tensors of an artifact: from a trigger to its file's bytes and back, and whether they fit a classifier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast, get_args

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from triggers.artifact.manifest import Manifest
from triggers.artifact.manifest_checks import check_bounds
from triggers.errors import ArtifactCorrupt, ArtifactMismatch, ModelError
from triggers.fingerprint import tensors_digest
from triggers.model import FrozenClassifier, Trigger
from triggers.trigger import ImageTrigger, TextTrigger
from triggers.trigger.text import Position

TENSOR_DTYPES = {"keep": "F32", "delta": "F32", "embeddings": "F32", "token_ids": "I64"}


def checked_digest(trigger: Trigger, manifest: Manifest) -> str:
    """The digest of a trigger that fits its manifest. Raises ArtifactCorrupt if it does not."""
    check_bounds(trigger, manifest)
    return artifact_digest(trigger, manifest)


def artifact_digest(trigger: Trigger, manifest: Manifest) -> str:
    """`sha256:` over the tensors and the manifest without provenance."""
    return tensors_digest(_tensors(trigger), manifest.content())


def tensor_bytes(trigger: Trigger, metadata: Mapping[str, str]) -> bytes:
    """The safetensors file of a trigger."""
    return save(_tensors(trigger), dict(metadata))


def from_bytes(data: bytes, header: Mapping[str, Any], manifest: Manifest, stated: str) -> Trigger:
    """The trigger in a file whose header and manifest were read. Raises ArtifactCorrupt."""
    trigger = _trigger(manifest, _load_tensors(data, header, manifest))
    actual = artifact_digest(trigger, manifest)
    if actual != stated:
        raise ArtifactCorrupt(f"The content has digest {actual}, the file states {stated}: it was altered.")
    check_bounds(trigger, manifest)
    return trigger


def check_shape(trigger: Trigger, classifier: FrozenClassifier) -> None:
    """Raise ArtifactMismatch unless the tensors fit the network; a hard trigger's embeddings are those of its words."""
    if isinstance(trigger, ImageTrigger):
        spec = classifier.spec.image
        wanted = spec.pixel_shape if spec else ()
        if tuple(trigger.keep.shape) != wanted:
            raise ArtifactMismatch(f"The trigger is {tuple(trigger.keep.shape)}, {classifier.name!r} takes {wanted}.")
        return
    try:
        classifier.check_position(trigger.position)
        classifier.check_length(len(trigger.embeddings))
    except ModelError as error:
        raise ArtifactMismatch(f"The trigger does not fit. {error}") from error
    matrix = classifier.embedding_matrix
    words, dim = matrix.shape
    if trigger.embeddings.shape[1] != dim:
        raise ArtifactMismatch(f"The trigger's embeddings have width {trigger.embeddings.shape[1]}, the model's {dim}.")
    if trigger.token_ids:
        if max(trigger.token_ids) >= words:
            raise ArtifactMismatch(f"Token id {max(trigger.token_ids)} is beyond the model's {words} words.")
        rows = matrix[list(trigger.token_ids)].detach().float().cpu()
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


def _load_tensors(data: bytes, header: Mapping[str, Any], manifest: Manifest) -> dict[str, Tensor]:
    names = set(header) - {"__metadata__"}
    wanted = {"keep", "delta"} if manifest.modality == "image" else {"embeddings", *(names & {"token_ids"})}
    if names != wanted:
        raise ArtifactCorrupt(f"The file holds tensors {sorted(names)}; this kind has {sorted(wanted)}.")
    for name in names:
        dtype = header[name].get("dtype") if isinstance(header[name], dict) else None
        if dtype != TENSOR_DTYPES[name]:
            raise ArtifactCorrupt(f"Tensor {name} is {dtype!r}, not {TENSOR_DTYPES[name]}.")
    try:
        return load(data)
    except SafetensorError as error:
        raise ArtifactCorrupt(f"The tensors cannot be read: {error}") from error


def _trigger(manifest: Manifest, tensors: Mapping[str, Tensor]) -> Trigger:
    """Build the trigger; `check_bounds` checks it afterwards."""
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
