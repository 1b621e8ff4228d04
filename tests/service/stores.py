"""All backing stores of the ledger for tests, and a network that loses answers and delivers twice."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.ledger.backend import CountBatch, LedgerStore
from service.ledger.ledger import Ledger
from tests.service.counted import NEVER
from triggers.errors import StoreUnavailable


@dataclass(frozen=True)
class Where:
    """An address and a folder, where the ledgers of one service can be opened."""

    address: str
    runs: Path

    def open(self, **options: Any) -> Ledger:
        """One replica's ledger, flushed by the test alone."""
        return Ledger(self.address, runs=self.runs, **({"flush_interval": NEVER, "busy_seconds": 2.0} | options))


def make_unreliable(ledger: Ledger, draw: random.Random, share: float) -> None:
    """Let a share of the batches be delivered twice, and a share be lost before or after they are counted."""
    store: LedgerStore = ledger._store
    deliver = store.apply

    def apply(run: str, batch: CountBatch) -> None:
        fate = draw.random() / share
        if fate < 1 / 4:
            raise StoreUnavailable("lost on the way there")
        deliver(run, batch)
        if fate < 1:
            deliver(run, batch)
        if fate < 1 / 2:
            raise StoreUnavailable("lost on the way back")

    store.apply = apply  # type: ignore[method-assign]
