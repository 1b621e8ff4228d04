"""A month of live counts at 1,000 predictions a second, in a file and in a Redis server of its own: what is left, and
what writing and reading it costs.

    python -m benchmarks.ledger_month                         # 30 days after 60 of hours and days only; minutes
    python -m benchmarks.ledger_month --days 2 --before 1 --stores redis
    python -m benchmarks.ledger_month --record                # writes docs/results/performance/ledger_month.json

The clock is simulated, all else is the service's own: the ledger counts, flushes, labels, deletes what expired and
discloses each hour. Eight groups, four versions, two labels or none and two predictions are 192 cells, all of them
counted in each minute; a flush a minute instead of one a second leaves the same rows. Of 2,592,000,000 counts none may
be missing at the end. Redis expires keys by its own clock, so that the benchmark deletes those whose time has come.
"""

from __future__ import annotations

import argparse
import itertools
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from benchmarks.own_redis import own_redis
from benchmarks.performance_record import write_record
from service.fairness import Disclosure, DisclosureRule, FairnessMonitor, TimeWindows
from service.fairness.fairness_series import remembered_point
from service.ledger import Cell, Ledger, Level
from service.ledger.events import Feedback, PredictionEvent
from service.ledger.time_buckets import SLACK_DAYS

MODEL, GROUPS, VERSIONS, PER_MINUTE = "m", 8, (1, 2, 3, 4), 60_000
KEPT_MINUTES = (Level.MINUTE.kept_days or 0) + SLACK_DAYS
DAY = 1440
START = 20_000 * DAY
"""The first minute of the simulated time, since 1970."""
GROUP_NAMES = tuple(f"group {g}" for g in range(GROUPS))
KEYS = tuple(itertools.product(VERSIONS, GROUP_NAMES, (None, 0, 1), (0, 1)))


@dataclass
class Clock:
    """Seconds since 1970, set by hand."""

    now: float = START * 60.0

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class Labels:
    """Labels of the only model."""

    labels: tuple[str, ...] = ("no", "yes")
    pos_label: int = 1


@dataclass
class Simulation:
    """A ledger under simulated traffic. `size` returns the bytes that its store takes."""

    ledger: Ledger
    clock: Clock
    size: Callable[[], int]
    expire: Callable[[int], None]
    labels_a_minute: int
    counted: int = 0
    first: int = START
    sizes: list[int] = field(default_factory=list)
    draw: random.Random = field(default_factory=lambda: random.Random(0))

    def __post_init__(self) -> None:
        disclosure = Disclosure(self.ledger, DisclosureRule(), lambda model: 2)
        self.windows = TimeWindows(self.ledger, disclosure, self.clock)
        self.monitor = FairnessMonitor(self.ledger, {MODEL: Labels()}, windows=self.windows, clock=self.clock)

    def count(self, minute: int, predictions: int) -> None:
        """Count so many predictions of a minute over all cells, in memory."""
        each, more = divmod(predictions, len(KEYS))
        with self.ledger._memory:
            for place, (version, group, label, prediction) in enumerate(KEYS):
                cell = Cell(MODEL, minute, version, group, label, prediction, None)
                self.ledger._cells[cell] += each + (place < more)
                self.ledger._new_groups.add((MODEL, group))
            self.ledger._presence.recorded(self.clock.now)
        self.counted += predictions

    def label(self, minute: int) -> None:
        """Late labels of predictions of the last hour."""
        items = []
        for _ in range(self.labels_a_minute):
            made = max(minute - self.draw.randrange(1, 60), self.first)
            version, group = self.draw.choice(VERSIONS), self.draw.choice(GROUP_NAMES)
            event = PredictionEvent(MODEL, made, version, self.draw.randrange(2), group, None, self.draw.randbytes(12))
            items.append(Feedback(event, self.draw.randrange(2)))
        if items:
            self.ledger.feedback(items)

    def earlier(self, days: int) -> None:
        """Days before the month, of which minutes expired long ago: one minute of each hour stands for it."""
        for hour in range(days * 24):
            minute = int(self.clock.now // 60)
            self.count(minute, PER_MINUTE * 60)
            self.ledger.flush()
            self.clock.now += 3600
            if hour % 24 == 23:
                self.ledger._refresh()
                self.windows.read(MODEL, "24h", exact=False)  # its hours are disclosed

    def month(self, days: int) -> None:
        """Minute by minute."""
        self.first = int(self.clock.now // 60)
        for day in range(days):
            for _ in range(DAY):
                minute = int(self.clock.now // 60)
                self.count(minute, PER_MINUTE)
                self.label(minute)
                self.ledger.flush()
                self.ledger._refresh()
                if minute % 60 == 30:
                    self.windows.read(MODEL, "24h", exact=False)  # the first reader of an hour writes its release
                self.clock.now += 60
            self.expire(int(self.clock.now // 60))
            self.sizes.append(self.size())
            print(f"  day {day + 1}: {self.sizes[-1] / 1e6:,.0f} MB", file=sys.stderr, flush=True)

    def figures(self, repeats: int) -> dict[str, Any]:
        """What writing and reading cost now, in the middle of an hour: then a window of a day has most minutes."""
        self.clock.now += 30.5 * 60
        flushes, minutes = [], []
        for _ in range(max(repeats, 5) * 6):
            self.clock.now += 1
            self.count(int(self.clock.now // 60), PER_MINUTE // 60)
            flushes.append(_ms(self.ledger.flush))
        for _ in range(max(repeats, 5)):
            self.clock.now += 60
            minutes.append(_ms(self.ledger._refresh))
        found = {"flush_ms": statistics.median(flushes), "flush_p95_ms": statistics.quantiles(flushes, n=20)[-1]}
        found |= {"minutely_ms": statistics.median(minutes), "mb": self.size() / 1e6}
        for window in ("1h", "24h", "7d", "30d", "90d", "all"):
            for name, exact in (("window", True), ("disclosed", False)):
                took = [_ms(lambda w=window, e=exact: self.windows.read(MODEL, w, exact=e)) for _ in range(repeats + 1)]  # type: ignore[misc]
                found[f"{name}_{window}_ms"] = statistics.median(took[1:])
                found |= {} if exact else {f"disclosed_{window}_first_ms": took[0]}
        found["report_24h_ms"] = _ms(lambda: self.monitor.fairness_report(MODEL, "24h"))
        found["report_90d_ms"] = _ms(lambda: self.monitor.fairness_report(MODEL, "90d"))
        remembered_point.cache_clear()
        found["series_90d_first_ms"] = _ms(lambda: self.monitor.fairness_series(MODEL, "90d"))
        found["series_90d_ms"] = _ms(lambda: self.monitor.fairness_series(MODEL, "90d"))
        found |= self._growth()
        return found

    def _growth(self) -> dict[str, Any]:
        total = sum(self.windows.read(MODEL, "all", exact=True).cells.values())
        if total != self.counted:
            raise SystemExit(f"{self.counted - total} of {self.counted} counts are missing.")
        week = self.sizes[-8] if len(self.sizes) > 8 else self.sizes[0]
        return {
            "counts": total,
            "last_week_growth": (self.sizes[-1] - week) / self.sizes[-1],
            "mb_by_day": [round(size / 1e6, 1) for size in self.sizes],
        }


def _ms(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1e3


@contextmanager
def sqlite(folder: Path, labels: int) -> Iterator[Simulation]:
    """A simulation on a file."""
    clock, path = Clock(), folder / "ledger.sqlite"
    with Ledger(path, flush_interval=1e6, busy_seconds=60, clock=clock) as ledger:
        yield Simulation(ledger, clock, lambda: path.stat().st_size, lambda minute: None, labels)


@contextmanager
def redis_server(folder: Path, labels: int) -> Iterator[Simulation]:
    """A simulation on a Redis server that is started for it."""
    clock = Clock()
    with (
        own_redis(folder) as (url, client),
        Ledger(url, runs=folder / "runs", flush_interval=1e6, busy_seconds=60, clock=clock) as ledger,
    ):
        yield Simulation(ledger, clock, lambda: _used(client), lambda minute: _expire(client, minute), labels)


def _used(client: redis.Redis) -> int:
    memory: Any = client.info("memory")
    return int(memory["used_memory"])


def _expire(client: redis.Redis, minute: int) -> None:
    """Delete the minutes of the day that expired by the simulated clock, each of which must have a time to live."""
    last = minute - KEPT_MINUTES * DAY
    names = [f"fairtrigger:{{{MODEL}}}:{level}:{each}" for level in "ma" for each in range(last - DAY, last)]
    pipeline = client.pipeline(transaction=False)
    for name in names:
        pipeline.ttl(name)
    for_ever = [name for name, ttl in zip(names, pipeline.execute(), strict=True) if ttl == -1]
    if for_ever:
        raise SystemExit(f"{len(for_ever)} keys never expire, as {for_ever[0]}.")
    client.delete(*names)


STORES = {"sqlite": sqlite, "redis": redis_server}


def table(found: dict[str, dict[str, Any]]) -> str:
    """A Markdown table of all figures."""
    heads = list(found)
    names = [name for name in found[heads[0]] if name != "mb_by_day"]
    rows = [f"| | {' | '.join(heads)} |", f"| --- |{' ---: |' * len(heads)}"]
    rows += [f"| {name} | {' | '.join(f'{found[head][name]:,.4g}' for head in heads)} |" for name in names]
    return "\n".join(rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Simulate, measure, print, and record if asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ledger_month")
    parser.add_argument("--days", type=int, default=30, help="counted minute by minute")
    parser.add_argument("--before", type=int, default=60, help="days before them, of hours and days only")
    parser.add_argument("--labels", type=int, default=20, help="late labels a minute")
    parser.add_argument("--repeats", type=int, default=9, help="of each reading; the median counts")
    parser.add_argument("--stores", nargs="+", choices=list(STORES), default=list(STORES))
    parser.add_argument("--record", action="store_true", help="write docs/results/performance/ledger_month.json")
    words = list(sys.argv[1:] if arguments is None else arguments)
    chosen = parser.parse_args(words)
    found: dict[str, dict[str, Any]] = {}
    for name in chosen.stores:
        with tempfile.TemporaryDirectory() as folder, STORES[name](Path(folder), chosen.labels) as simulation:
            began = time.perf_counter()
            simulation.earlier(chosen.before)
            simulation.month(chosen.days)
            print(f"{name}: {simulation.counted:,} counts in {time.perf_counter() - began:.0f} s", file=sys.stderr)
            found[name] = simulation.figures(chosen.repeats)
    print(table(found))
    if chosen.record:
        print(write_record("ledger_month", ["benchmarks.ledger_month", *words], found))


if __name__ == "__main__":
    main()
