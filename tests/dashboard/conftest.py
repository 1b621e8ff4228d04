"""One browser for all tests, and the service of the guard's tests, whose clock can be moved."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.dashboard.chromium import browser
from tests.service.guard.test_guard import ahead

__all__ = ["ahead"]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A headless Chromium."""
    with browser() as opened:
        yield opened
