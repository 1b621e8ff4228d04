"""Where the project is, and what a test says that misses a program."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parents[2]


def missing(what: str) -> NoReturn:
    """Skip a test that needs it; in CI (CI=true) fail instead."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is not installed")
    pytest.skip(f"needs {what}")
