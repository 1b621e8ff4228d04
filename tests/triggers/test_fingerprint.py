"""Digests of tensors."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from triggers.fingerprint import PIECE_BYTES, canonical_json, tensors_digest

LARGE = PIECE_BYTES * 3


@pytest.fixture(scope="module")
def large() -> Tensor:
    """A matrix (R, 96) of several pieces."""
    return torch.arange(251, dtype=torch.uint8).repeat(LARGE // 251 + 1)[:LARGE].view(-1, 96)


@pytest.mark.parametrize(
    "view",
    [
        lambda large: large,
        lambda large: large[:, :50],
        lambda large: torch.tensor(3.5),
        lambda large: torch.empty(0, 4),
        lambda large: large.view(1, -1),
    ],
    ids=["contiguous", "strided", "scalar", "empty", "one row"],
)
def test_a_digest_is_of_all_bytes_however_they_are_read(large: Tensor, view: Callable[[Tensor], Tensor]) -> None:
    tensor = view(large)
    head = canonical_json(["x", str(tensor.dtype), list(tensor.shape)])
    whole = hashlib.sha256(canonical_json({}) + head + tensor.contiguous().numpy().tobytes()).hexdigest()
    assert tensors_digest({"x": tensor}) == f"sha256:{whole}"
