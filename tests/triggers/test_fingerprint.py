"""Digests of tensors."""

from __future__ import annotations

import hashlib

import pytest
import torch
from torch import Tensor

from triggers.fingerprint import PIECE_BYTES, canonical_json, tensors_digest

LARGE = torch.arange(PIECE_BYTES * 3).remainder(251).to(torch.uint8).view(-1, 96)


@pytest.mark.parametrize("tensor", [LARGE, LARGE[:, :50], torch.tensor(3.5), torch.empty(0, 4), LARGE.view(1, -1)])
def test_a_digest_is_of_all_bytes_however_they_are_read(tensor: Tensor) -> None:
    head = canonical_json(["x", str(tensor.dtype), list(tensor.shape)])
    whole = hashlib.sha256(canonical_json({}) + head + tensor.contiguous().numpy().tobytes()).hexdigest()
    assert tensors_digest({"x": tensor}) == f"sha256:{whole}"
