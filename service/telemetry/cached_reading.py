"""A value that a thread reads periodically, for callers that must not wait for it, such as a scrape."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")
LEAST_PAUSE = 20
"""Shortest pause after a reading, as a multiple of its duration: it takes a twentieth of a core at most."""
STOP_SECONDS = 2.0
logger = logging.getLogger(__name__)


class CachedReading(Generic[T]):
    """The latest result of `read`, made every `every_seconds`; None before the first. `value` never waits.

    A reading that fails is logged, and the last value stays. One that hangs blocks only its own thread.
    """

    def __init__(self, what: str, read: Callable[[], T], every_seconds: float) -> None:
        self._what, self._read, self._every_seconds = what, read, every_seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep_reading, name=f"reading {what}", daemon=True)
        self.value: T | None = None

    def start(self) -> None:
        """Start the thread, which reads at once and then periodically."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread; waits for a reading in progress, STOP_SECONDS at most."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)

    def _keep_reading(self) -> None:
        failing = False
        while not self._stopping.is_set():
            started = time.monotonic()
            try:
                self.value, failing = self._read(), False
            except Exception as error:  # the thread boundary: the next round tries again
                if not failing and not self._stopping.is_set():
                    logger.error("%s cannot be read: %s", self._what, error)
                failing = True
            self._stopping.wait(max(self._every_seconds, LEAST_PAUSE * (time.monotonic() - started)))
