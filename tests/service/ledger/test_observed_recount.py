"""Exactness of observations: whatever is told twice, out of order, or to a replica that dies, counts once.

RECOUNT_STEPS=20000 makes it long: `RECOUNT_STEPS=20000 pytest tests/service/ledger/test_observed_recount.py`.
"""

from __future__ import annotations

import os
import pickle
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from service.engine.observation_log import CountedObservation, ObservationLog, ObservedPrediction
from service.ledger.backend import LedgerStore, Observation, StoredObservation
from service.ledger.events import Cell
from service.ledger.ledger import Ledger
from service.ledger.prediction_id import PredictionIdCodec
from service.ledger.time_buckets import Level
from service.telemetry.metrics import Metrics
from tests.artifacts import artifact_for
from tests.service.counted import NEVER
from tests.service.stores import Where
from triggers.errors import StoreUnavailable
from triggers.model.classifier import FrozenClassifier
from triggers.store.file_store import FileStore

STEPS = int(os.environ.get("RECOUNT_STEPS", "120"))
CODEC = PredictionIdCodec([b"k" * 32])
START = time.time() // 3600 * 3600
MOST = 10**9


class Replica:
    """An observation log on a ledger of its own, before a network that loses answers."""

    def __init__(self, where: Where, model: FrozenClassifier, store: FileStore, draw: random.Random) -> None:
        self.ledger, self._draw = where.open(), draw
        self._deliver = self.ledger._store.observe
        self.ledger._store.observe = self._observe  # type: ignore[method-assign]
        self.log = ObservationLog(model, store, self.ledger, CODEC, Metrics(), on=True, most=MOST)

    def _observe(self, items: Sequence[Observation], now: float, most: int) -> list[StoredObservation | None]:
        fate = self._draw.random()
        if fate < 0.1:
            raise StoreUnavailable("lost on the way there")
        part = items[: self._draw.randrange(1, len(items) + 1)] if fate < 0.2 else items  # Redis counts some hundred
        stored = self._deliver(part, now, most)
        if fate < 0.3:
            raise StoreUnavailable("lost on the way back")
        return stored


def observations(draw: random.Random, n: int) -> list[ObservedPrediction]:
    """Of some days, with and without labels, groups, twins and times."""
    return [
        ObservedPrediction(
            f"o{place}",
            version := draw.choice((None, 1)),
            prediction=draw.randrange(2),
            baseline=draw.choice((None, 0, 1)) if version else None,
            group=draw.choice((None, "a", "b")),
            label=draw.choice((None, 0, 1)),
            time=datetime.fromtimestamp(START - draw.randrange(3 * 86400), UTC),
        )
        for place in range(n)
    ]


def truth(items: Sequence[ObservedPrediction], series: str = "faces") -> Counter[Cell]:
    """Each observation once, in the minute that it states."""
    found = Counter[Cell]()
    for item in items:
        assert item.time
        numbers = [each if each is None else int(each) for each in (item.label, item.prediction, item.baseline)]
        label, prediction, bare = numbers
        assert prediction is not None
        minute = int(item.time.timestamp() // 60)
        found[Cell(series, minute, item.version, item.group or "unknown", label, prediction, bare)] += 1
    return found


def check(ledger: Ledger, items: Sequence[ObservedPrediction], trusted: Sequence[ObservedPrediction]) -> None:
    for series, known in (("faces", items), ("faces/guard", trusted)):
        expected = truth(known, series)
        assert ledger.series(series, Level.MINUTE, 0, 2**31) == expected
        hours = Counter[int]()
        for cell, n in expected.items():
            hours[cell.minute // 60 * 60] += n
        by_hour = Counter[int]()
        for cell, n in ledger.series(series, Level.HOUR, 0, 2**31).items():
            by_hour[cell.minute] += n
        assert by_hour == hours
        arrived = sum(ledger.series(series, Level.ARRIVAL, 0, 2**31).values())
        assert arrived == sum(n for cell, n in expected.items() if cell.label is not None)


@pytest.mark.parametrize("seed", range(2))
def test_counts_equal_a_recount_of_distinct_observations(
    where: Where, seed: int, tmp_path: Path, image_model: FrozenClassifier
) -> None:
    draw = random.Random(seed)
    items = observations(draw, STEPS)
    of_desk = {item.observation_id for item in items if draw.random() < 0.5}
    receipts: dict[str, str] = {}
    with FileStore(tmp_path / "store") as store:
        store.publish(artifact_for(image_model, "border"), actor="test")
        replicas = [Replica(where, image_model, store, draw) for _ in range(2)]
        waiting = set(range(STEPS))
        while waiting:  # as a client does: again and again, in any order and company, until there is an answer
            trusted = draw.random() < 0.5
            mine = [n for n in range(STEPS) if (items[n].observation_id in of_desk) == trusted]
            chosen = [draw.choice(mine) for _ in range(draw.randrange(1, 12))]
            if retried := sorted(waiting.intersection(mine)):
                chosen += draw.sample(retried, min(4, len(retried)))
            try:
                told = draw.choice(replicas).log.observe([items[n] for n in chosen], trusted=trusted)
            except StoreUnavailable:
                continue
            for n, outcome in zip(chosen, told, strict=True):
                assert isinstance(outcome, CountedObservation)
                known = receipts.setdefault(items[n].observation_id, outcome.prediction_id)
                assert known == outcome.prediction_id
                waiting.discard(n)
        check(replicas[0].ledger, items, [item for item in items if item.observation_id in of_desk])
        for replica in replicas:
            replica.ledger.close()


WRITER = """
import sys
from pathlib import Path
from tests.service.ledger.test_observed_recount import tell_everything
tell_everything(Path(sys.argv[1]))
"""


def tell_everything(folder: Path) -> None:
    """Tell observations of a pickled list, seven at a time, with a line after each seven; after 200 of these, wait."""
    where, classifier, items = pickle.loads((folder / "work.pickle").read_bytes())
    with FileStore(folder / "store") as store, where.open() as ledger:
        log = ObservationLog(classifier, store, ledger, CODEC, Metrics(), on=True, most=MOST)
        for first in range(0, len(items), 7):
            log.observe(items[first : first + 7], trusted=True)
            sys.stdout.write("told\n")
            sys.stdout.flush()
            if first == 200 * 7:
                sys.stdin.read()


@pytest.mark.process
@pytest.mark.parametrize("where", ["file", pytest.param("redis", marks=pytest.mark.redis)], indirect=True)
def test_processes_that_are_killed_leave_nothing_doubled(
    where: Where, tmp_path: Path, image_model: FrozenClassifier
) -> None:
    draw = random.Random(5)
    items = observations(draw, 3000)
    with FileStore(tmp_path / "store") as store, where.open() as ledger, ExitStack() as stack:
        store.publish(artifact_for(image_model, "border"), actor="test")
        (tmp_path / "work.pickle").write_bytes(pickle.dumps((where, Described(image_model), items)))
        command = [sys.executable, "-c", WRITER, str(tmp_path)]
        popen = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        writers = [stack.enter_context(each) for each in popen]
        for n, writer in enumerate(writers, 1):
            for _ in range(20 * n):
                assert writer.stdout and writer.stdout.readline() == "told\n"
            writer.kill()
            writer.wait()
        log = ObservationLog(image_model, store, ledger, CODEC, Metrics(), on=True, most=MOST)
        draw.shuffle(items)
        outcomes = log.observe(items, trusted=True)
        before = sum(isinstance(each, CountedObservation) and not each.fresh for each in outcomes)
        assert 40 * 7 <= before < len(items), "the writers were to be killed in the middle"
        check(ledger, items, items)


class Described:
    """What an observation log asks of a model, without its network, which another process need not load."""

    def __init__(self, model: FrozenClassifier) -> None:
        self.name, self.labels, self.decision = model.name, model.labels, model.decision
        self.fingerprint = model.fingerprint


def test_an_id_is_forgotten_when_its_time_is_over(where: Where, tmp_path: Path, image_model: FrozenClassifier) -> None:
    """In a file by the clock that is believed; in Redis by its expiry, counted from the last id of a day."""
    with FileStore(tmp_path / "store") as store, where.open() as ledger:
        log = ObservationLog(image_model, store, ledger, CODEC, Metrics(), on=True, most=MOST)
        log.observe([ObservedPrediction("a", None, prediction=1)])
        kept: LedgerStore = ledger._store
        if hasattr(kept, "_redis"):
            (key,) = kept._redis.scan_iter("fairtrigger:{faces}:observed:*")
            assert 8 * 86400 < kept._redis.ttl(key) <= 9 * 86400
            return
        now = time.time() + 11 * 86400
        with Ledger(where.address, runs=where.runs, flush_interval=NEVER, clock=lambda: now) as later:

            def tell(observation_id: str, days: int = 0) -> bool:
                """Whether it counts, told `days` before the later time."""
                when = now - days * 86400
                told = ObservationLog(
                    image_model, store, later, CODEC, Metrics(), on=True, most=MOST, clock=lambda: when
                ).observe([ObservedPrediction(observation_id, None, prediction=1)])
                return isinstance(told[0], CountedObservation) and told[0].fresh

            kept.reap_dead_runs(now)
            assert not tell("a"), "a clock that jumps forgets nothing"
            assert [tell(f"day {days}", days) for days in range(3)] == [True] * 3
            kept.reap_dead_runs(now)
            assert tell("a")
