"""What the ledger tests share: predictions to count, and all counts at one glance."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service.event import Event
from service.ledger import Ledger

NEVER = 3600.0  # a flush interval that leaves flushing to the test
MINUTE = int(time.time() // 3600) * 60 - 120  # kept at every level


def prediction(
    h: int = 1, group: str = "a", version: int | None = 1, bare: int | None = None, minute: int = MINUTE
) -> Event:
    return Event("m", minute, version, h, group, bare)


def everything(ledger: Ledger) -> dict[tuple[int | None, str, int | None, int, int | None], int]:
    """All counts of model m: (version, group, label, prediction, bare) -> n."""
    return counts_of_model(ledger, "m")


def counts_of_model(ledger: Ledger, model: str) -> dict[tuple[int | None, str, int | None, int, int | None], int]:
    """All counts of a model: (version, group, label, prediction, bare) -> n."""
    return {cell[2:]: n for cell, n in ledger.counts(model, 0, 2**31).items()}


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Somebody else holds the file for writing."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()
