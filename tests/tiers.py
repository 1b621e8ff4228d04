"""The tiers of the tests by their markers, and a check that `make quick` runs none that starts a process."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from typing import Any

import pytest

LONG = ("slow", "process", "redis", "soak")
"""Markers of what `make quick` leaves out."""
PROGRAMS = (os.path.basename(sys.executable), "redis-server")


class Tiers:
    """A plugin that refuses to let a test without one of the markers LONG start Python or Redis."""

    def __init__(self) -> None:
        self._quick = False
        sys.addaudithook(self._see)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Know the tier of the test that runs, its fixtures included."""
        self._quick = not any(item.get_closest_marker(name) for name in LONG)
        try:
            return (yield)
        finally:
            self._quick = False

    def _see(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "subprocess.Popen" and self._quick and os.path.basename(os.fsdecode(arguments[0])) in PROGRAMS:
            raise AssertionError(f"A test that starts {arguments[0]} needs a marker: one of {', '.join(LONG)}.")
