"""Disclosure control of the counts for readers other than admins; docs/ledger.md has the proof and its limits.

Time is cut into periods (an hour, or a day). `wait_hours` after its end, which is the time for late labels, a period is
disclosed: one table for each group of each version, all at once, stored and never changed. Every prediction is in one
cell of one table, and every figure that is not for admins is computed from these tables alone, so that differences of
windows, versions, groups, totals or later readings reveal nothing that was not itself disclosed.

With `epsilon`, each cell gets its own geometric noise, and a group is left out unless its noisy total is larger than an
absent group's could be by chance (a stability-based histogram: Korolova et al., WWW 2009; Bun, Nissim & Stemmer, ITCS
2016). The tables are then (epsilon, DELTA)-differentially private for one prediction, also towards a reader who made
all the others; the existence of periods, versions and groups is covered too.

Without, a group is disclosed in the finest detail (label, prediction, bare prediction; without the bare one; the
prediction only) in which every count is zero or at least `k_min` in all margins, or it is left out. This gives no
protection against a reader who made the other predictions of the group.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import orjson

from service.fairness.privacy_noise import geometric_noise, largest_sum
from service.ledger import Cell, Ledger, Level
from service.ledger.backend import Release
from service.ledger.time_buckets import RELEASE_DAYS

SEAL_SECONDS = 90
"""Seconds from a period's end to its sealing, by when every replica has written its counts."""
LOOK_BACK_DAYS = 8
"""Periods that were due for disclosure longer ago than this are never disclosed."""
DELTA = 1e-6
"""With noise: probability that a table reveals the existence of a group with a single prediction."""
MOST_CELLS = 1024
"""With noise: a model whose labels make more cells than this has its predictions disclosed without their labels."""
DETAIL_LEVELS = ((0, 1, 2), (0, 1), (1,))
"""Axes (0 label, 1 prediction, 2 bare prediction) of disclosed tables, the finest first."""
VersionGroup = tuple[int | None, str]  # version, group
OutcomeKey = tuple[int | None, int | None, int | None]  # label, prediction, bare prediction
OutcomeTable = Mapping[OutcomeKey, int]
Tables = Mapping[VersionGroup, OutcomeTable]


@dataclass(frozen=True)
class DisclosureRule:
    """Parameters of disclosure, see the module. `key` seeds the noise and must be the same for all replicas."""

    k_min: int = 11
    hours: int = 1
    epsilon: float | None = None
    wait_hours: int = 24
    key: bytes = b""

    @property
    def level(self) -> Level:
        """The level whose periods are disclosed one by one."""
        return Level.HOUR if self.hours == 1 else Level.DAY


class Disclosure:
    """Disclosure of sealed periods, and sums over them. `labels` returns a model's number of labels.

    On any thread; `counts` and `series` wait for the store: not on the event loop.
    """

    def __init__(self, ledger: Ledger, rule: DisclosureRule, labels: Callable[[str], int]) -> None:
        self._ledger, self._rule, self._labels = ledger, rule, labels
        self._size = rule.level.minutes
        self._disclosed_until: dict[str, int] = {}
        self._read: dict[
            str, dict[tuple[int, int], dict[Cell, int]]
        ] = {}  # windows by model, since its last disclosure
        self._reading = threading.Lock()

    @property
    def terms(self) -> dict[str, Any]:
        """Public parameters of the disclosure; they reveal nothing about what was left out."""
        rule = self._rule
        return {
            "k_min": rule.k_min,
            "period_minutes": self._size,
            "wait_hours": rule.wait_hours,
            "epsilon": rule.epsilon,
            "delta": DELTA if rule.epsilon else None,
        }

    def allows(self, minutes: int | None) -> bool:
        """Whether a window of this many minutes consists of whole periods."""
        return minutes is None or minutes % self._size == 0

    def sealed_until(self, now: float) -> int:
        """The first minute that is not in a period that can be disclosed at `now` (seconds since 1970)."""
        return int((now - SEAL_SECONDS) // 60 - self._rule.wait_hours * 60) // self._size * self._size

    def counts(self, model: str, since: int, until: int, now: float) -> dict[Cell, int]:
        """Disclosed counts of the sealed minutes [since, until), by cell (minute 0).

        What was disclosed stays as it is: until the next period is, a window is read from the store once.
        """
        self._disclose(model, self.sealed_until(now))
        key = (since, until)
        with self._reading:
            known = self._read.setdefault(model, {})
        if key not in known:
            total = _summed(release.text for release in self._releases(model, since, until).values())
            known[key] = {
                _cell(model, 0, part, outcome): n
                for part, table in total.items()
                for outcome, n in table.items()
                if n > 0
            }
        return dict(known[key])

    def series(self, model: str, since: int, until: int, now: float) -> dict[Cell, int]:
        """Disclosed counts by period: a cell's minute is the first of its period. With noise, n may be negative."""
        self._disclose(model, self.sealed_until(now))
        return {
            _cell(model, minute, part, outcome): n
            for minute, release in self._releases(model, since, until).items()
            for part, table in _parse(release.text).items()
            for outcome, n in table.items()
        }

    def _releases(self, model: str, since: int, until: int) -> dict[int, Release]:
        since = max(since, until - RELEASE_DAYS * Level.DAY.minutes)
        return self._ledger.releases(model, self._size, since, until)

    def _disclose(self, model: str, until: int) -> None:
        """Store a release for each period before `until` that has none: nearly always none, or one."""
        since, oldest = self._disclosed_until.get(model, 0), until - LOOK_BACK_DAYS * Level.DAY.minutes
        if since == until:
            return
        if not oldest <= since < until:  # the first call, one after a long pause, or the clock was put back
            since = oldest
        exact = _by_period(self._ledger.series(model, self._rule.level, since, until))
        done = self._ledger.releases(model, self._size, since, until)
        days = self._days_of_other_length(model, since, until)
        for minute, tables in exact.items():
            if minute not in done and minute // Level.DAY.minutes not in days:
                self._ledger.release(model, self._size, minute, Release(1, _text(self._tables(model, minute, tables))))
        with self._reading:
            self._read.pop(model, None)
        self._disclosed_until[model] = until

    def _days_of_other_length(self, model: str, since: int, until: int) -> set[int]:
        """Days that have releases of the other period length (days instead of hours, or the other way round).

        Subtracting one from the other would reveal groups that were left out.
        """
        other, day = (Level.DAY if self._rule.level is Level.HOUR else Level.HOUR).minutes, Level.DAY.minutes
        found = self._ledger.releases(model, other, since // day * day, until)
        return {minute // day for minute, release in found.items() if _parse(release.text)}

    def _tables(self, model: str, minute: int, exact: Tables) -> Tables:
        """Disclosed table of each version and group of a period; those left out are missing."""
        rule, found = self._rule, {}
        for part, table in exact.items():
            if rule.epsilon is None:
                found[part] = finest_safe(table, rule.k_min)
            else:
                place = [model, self._size, minute, *part]
                found[part] = with_noise(table, self._labels(model), rule, place)
        return {part: table for part, table in found.items() if table}


def with_noise(exact: OutcomeTable, labels: int, rule: DisclosureRule, place: list[Any]) -> OutcomeTable:
    """Noisy counts of one group by label and prediction; {} where their total is too small.

    Labels are left out where their noisy total is no larger than it could be by chance if there were none.
    """
    epsilon = rule.epsilon or 1.0
    released = (None, *range(labels)) if (labels + 1) * labels <= MOST_CELLS else (None,)
    keys: list[OutcomeKey] = [(label, prediction, None) for label in released for prediction in range(labels)]
    counts = marginalise(exact, (0, 1) if len(released) > 1 else (1,))
    true = [counts.get(key, 0) for key in keys]
    drawn = geometric_noise(rule.key, json.dumps([*place, true]), epsilon, len(keys))
    noisy = {key: n + noise for key, n, noise in zip(keys, true, drawn, strict=True)}
    if sum(noisy.values()) < max(rule.k_min, 1 + largest_sum(len(keys), epsilon, DELTA)):
        return {}
    labelled = [n for (label, _, _), n in noisy.items() if label is not None]
    if labelled and sum(labelled) < largest_sum(len(labelled), epsilon, DELTA):
        noisy = marginalise(noisy, (1,))
    return {key: n for key, n in noisy.items() if n}


def finest_safe(exact: OutcomeTable, k_min: int) -> OutcomeTable:
    """The counts of one group in the finest detail that is safe; {} where none is."""
    tables = (marginalise(exact, axes) for axes in DETAIL_LEVELS)
    return next((table for table in tables if is_k_anonymous(table, k_min)), {})


def marginalise(table: OutcomeTable, axes: Iterable[int]) -> dict[OutcomeKey, int]:
    """Counts summed over all but `axes` of label, prediction and bare prediction, which become None."""
    kept, total = set(axes), Counter[OutcomeKey]()
    for (label, prediction, bare), n in table.items():
        total[
            label if 0 in kept else None,
            prediction if 1 in kept else None,
            bare if 2 in kept else None,
        ] += n
    return dict(total)


def is_k_anonymous(table: OutcomeTable, k_min: int) -> bool:
    """Whether every count is zero or at least `k_min`, in every margin."""
    return all(
        n == 0 or n >= k_min
        for size in range(4)
        for axes in combinations(range(3), size)
        for n in marginalise(table, axes).values()
    )


def _by_period(series: Mapping[Cell, int]) -> dict[int, Tables]:
    periods: dict[int, dict[VersionGroup, dict[OutcomeKey, int]]] = {}
    for cell, n in series.items():
        parts = periods.setdefault(cell.minute, {})
        parts.setdefault((cell.version, cell.group), {})[cell.label, cell.prediction, cell.bare] = n
    return {minute: dict(parts) for minute, parts in periods.items()}


def _text(tables: Tables) -> str:
    rows = [[*part, [[[*key, n] for key, n in table.items()]]] for part, table in tables.items()]
    return json.dumps(rows, separators=(",", ":"))


def _parse(text: str) -> Tables:
    """The tables of a release: the last of each list, as earlier releases of this package disclosed a period often."""
    return {
        (version, group): {(y, h, bare): n for y, h, bare, n in tables[-1]}
        for version, group, tables in orjson.loads(text)
    }


def _summed(texts: Iterable[str]) -> Tables:
    """The sum of the tables of many releases, of `_parse` each: thousands of periods in a fraction of a second."""
    total: dict[VersionGroup, dict[OutcomeKey, int]] = {}
    for text in texts:
        for version, group, tables in orjson.loads(text):
            table = total.setdefault((version, group), {})
            for label, prediction, bare, n in tables[-1]:
                outcome = label, prediction, bare
                table[outcome] = table.get(outcome, 0) + n
    return total


def _cell(model: str, minute: int, part: VersionGroup, outcome: OutcomeKey) -> Cell:
    (version, group), (label, prediction, bare) = part, outcome
    assert prediction is not None
    return Cell(model, minute, version, group, label, prediction, bare)
