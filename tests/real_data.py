"""The real data that a few tests read; it cannot be part of the project, so it lies in `../shared`, if anywhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


def need(*paths: str) -> None:
    """Skip a test, with the reason, where the data is not there; in CI (CI=true) fail instead."""
    missing = [str(SHARED / path) for path in paths if not (SHARED / path).exists()]
    if not missing:
        return
    text = (
        f"This test reads real data, and {', '.join(missing)} is not there. The README of each example says where it"
        " is to be had and in which layout to put it there."
    )
    if os.environ.get("CI"):
        pytest.fail(text)
    pytest.skip(text)
