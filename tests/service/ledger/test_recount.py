"""Exactness: whatever replicas, networks and restarts do, counts equal a plain recount of the event log.

RECOUNT_STEPS=20000 makes it long: `RECOUNT_STEPS=20000 pytest tests/service/ledger/test_recount.py`.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from service.ledger.events import Cell, Feedback, PredictionEvent
from service.ledger.ledger import Ledger
from service.ledger.time_buckets import Level
from tests.service.counted import MINUTE, everything, prediction
from tests.service.stores import Where, make_unreliable
from triggers.errors import StoreUnavailable

STEPS = int(os.environ.get("RECOUNT_STEPS", "300"))
REPLICAS, REPEATED = 4, 0.3


@dataclass
class Log:
    """Everything that happened, and where each prediction belongs in the end."""

    events: list[PredictionEvent] = field(default_factory=list)
    belongs: dict[bytes, Cell] = field(default_factory=dict)

    def predicted(self, event: PredictionEvent) -> None:
        self.events.append(event)
        self.belongs[event.nonce] = event.cell()

    def learned(self, said: Feedback) -> None:
        old = self.belongs[said.event.nonce]
        label = old.label if said.label is None else said.label
        self.belongs[said.event.nonce] = said.event.cell(label, said.group or old.group)


class Replicas:
    """Four ledgers on one store, each behind an unreliable network."""

    def __init__(self, where: Where, draw: random.Random) -> None:
        self._where, self._draw = where, draw
        self.all = [self._fresh() for _ in range(REPLICAS)]

    def _fresh(self) -> Ledger:
        ledger = self._where.open()
        make_unreliable(ledger, self._draw, REPEATED)
        return ledger

    def any(self) -> Ledger:
        return self._draw.choice(self.all)

    def restart(self) -> None:
        place = self._draw.randrange(REPLICAS)
        flush(self.all[place])
        self.all[place].close()
        self.all[place] = self._fresh()

    def close(self) -> None:
        for each in self.all:
            flush(each)
            each.close()


def flush(ledger: Ledger) -> None:
    """Until it is through."""
    while ledger._cells or ledger._batch:
        with suppress(StoreUnavailable):
            ledger.flush()


def teach(ledger: Ledger, said: Feedback) -> None:
    """As a client does: the same again until there is an answer."""
    while True:
        with suppress(StoreUnavailable):
            ledger.feedback([said])
            return


def step(replicas: Replicas, log: Log, draw: random.Random) -> None:
    action = draw.choices(("predict", "learn", "flush", "restart"), (60, 30, 9, 1))[0]
    if action == "predict":
        late = draw.random() < 0.3
        group = "unknown" if late else draw.choice("abc")
        minute = MINUTE + draw.randrange(200)
        event = prediction(draw.randrange(2), group, draw.choice((None, 1, 2)), draw.choice((None, 0, 1)), minute)
        log.predicted(event)
        replicas.any().record(event)
    elif action == "learn" and log.events:
        said = Feedback(draw.choice(log.events), draw.choice((None, 0, 1)), draw.choice((None, "a", "b")))
        log.learned(said)
        for _ in range(2 if draw.random() < REPEATED else 1):
            teach(replicas.any(), said)
    elif action == "flush":
        with suppress(StoreUnavailable):
            replicas.any().flush()
    elif action == "restart":
        replicas.restart()


@pytest.mark.parametrize("seed", range(2))
def test_counts_equal_a_recount_of_the_log(where: Where, seed: int) -> None:
    draw, log = random.Random(seed), Log()
    replicas = Replicas(where, draw)
    for _ in range(STEPS):
        step(replicas, log, draw)
    replicas.close()
    truth = Counter(log.belongs.values())
    assert truth.total() > STEPS / 2
    with where.open() as fresh:
        assert fresh.series("m", Level.MINUTE, 0, 2**31) == truth
        assert everything(fresh) == Counter(each[2:] for each in truth.elements())
        for since, until in ((MINUTE + 7, MINUTE + 160), (MINUTE + 60, MINUTE + 120)):
            inside = Counter(each[2:] for each in truth.elements() if since <= each.minute < until)
            assert {cell[2:]: n for cell, n in fresh.counts("m", since, until).items()} == inside
        assert fresh.possible_loss(0, 2**40) == []
