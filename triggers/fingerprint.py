"""Fingerprints: SHA-256 digests of JSON values and tensors, by which a trigger names its model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

PIECE_BYTES = 16 * 2**20


def canonical_json(value: object) -> bytes:
    """One byte string per value: sorted keys, no blanks, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def json_digest(value: object) -> str:
    """`sha256:` over the canonical JSON."""
    return "sha256:" + hashlib.sha256(canonical_json(value)).hexdigest()


def _pieces(tensor: Tensor) -> Sequence[Tensor]:
    """The tensor in rows of bounded size, so that a large one need not be copied as a whole to be read."""
    if not tensor.ndim or tensor.numel() == 0:
        return [tensor]
    rows = max(1, PIECE_BYTES * len(tensor) // tensor.nbytes)
    return [tensor[start : start + rows] for start in range(0, len(tensor), rows)]


def tensors_digest(tensors: Mapping[str, Tensor], extra: Mapping[str, Any] | None = None) -> str:
    """`sha256:` over name, dtype, shape and bytes of every tensor in name order, and `extra` as canonical JSON."""
    from torch import uint8

    digest = hashlib.sha256(canonical_json(dict(extra or {})))
    for name in sorted(tensors):
        tensor = tensors[name].detach()
        digest.update(canonical_json([name, str(tensor.dtype), list(tensor.shape)]))
        for piece in _pieces(tensor):
            digest.update(piece.cpu().contiguous().reshape(-1).view(uint8).numpy().data)
    return "sha256:" + digest.hexdigest()
