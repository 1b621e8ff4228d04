"""What readers other than admins may know of the counts; docs/ledger.md has the proof, and what it does not cover.

Time is cut into periods (an hour, or a day). When a period is over and late labels had `wait_hours` to come, it is
disclosed: one table for each group of each version, all at once, written down and never changed. Every prediction is in
one cell of one table, and every figure that is not for admins is made from these tables alone, so that windows,
versions, groups, totals and later looks have nothing to subtract that was not disclosed by itself.

With `epsilon`, each cell gets its own geometric noise, and a group is left out unless its noisy total is larger than an
absent group's could be by chance (a stability-based histogram: Korolova et al., WWW 2009; Bun, Nissim & Stemmer, ITCS
2016). What is disclosed is then (epsilon, DELTA)-differentially private for one prediction, also towards somebody who
made all the others; which periods, versions and groups there are is covered too.

Without, a group is disclosed in the finest detail (label, prediction, bare prediction; without the bare one; the
prediction only) in which every count is zero or at least `k_min` in all margins, or it is left out. That hides nobody
from somebody who made the other predictions of the group.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from service.event import Cell
from service.ledger import Ledger
from service.ledger_store import Release
from service.noise import geometric, largest_sum
from service.periods import RELEASE_DAYS, Level

SEAL_SECONDS = 90
"""A period is sealed so long after its end: by then every replica has written its counts."""
LOOK_BACK_DAYS = 8
"""Periods that ended longer ago than this before they could be disclosed are not disclosed any more."""
DELTA = 1e-6
"""With noise: probability that a table shows that a group with a single prediction was there at all."""
MOST_CELLS = 1024
"""With noise: a model whose labels make more cells than this has its predictions disclosed without their labels."""
DETAILS = ((0, 1, 2), (0, 1), (1,))
"""Which of label, prediction and bare prediction are disclosed, the finest first."""
Part = tuple[int | None, str]  # version, group
Combination = tuple[int | None, int | None, int | None]  # label, prediction, bare prediction
Table = Mapping[Combination, int]
Tables = Mapping[Part, Table]


@dataclass(frozen=True)
class Rule:
    """How much is disclosed: see the module. `key` makes the noise; it must be the same for all replicas."""

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
    """Discloses periods once they are sealed, and adds them up. `labels` gives how many labels a model has.

    Its methods wait for the ledger's store and may be called from any thread.
    """

    def __init__(self, ledger: Ledger, rule: Rule, labels: Callable[[str], int]) -> None:
        self._ledger, self._rule, self._labels = ledger, rule, labels
        self._size = rule.level.minutes
        self._disclosed_until: dict[str, int] = {}

    @property
    def terms(self) -> dict[str, Any]:
        """What a reader has to know to read the figures: no word of what was left out."""
        rule = self._rule
        return {
            "k_min": rule.k_min,
            "period_minutes": self._size,
            "wait_hours": rule.wait_hours,
            "epsilon": rule.epsilon,
            "delta": DELTA if rule.epsilon else None,
        }

    def allows(self, minutes: int | None) -> bool:
        """Whether a window of so many minutes is made of whole periods."""
        return minutes is None or minutes % self._size == 0

    def sealed_until(self, now: float) -> int:
        """The first minute that is not in a period that can be disclosed at `now` (seconds since 1970)."""
        return int((now - SEAL_SECONDS) // 60 - self._rule.wait_hours * 60) // self._size * self._size

    def counts(self, model: str, since: int, until: int, now: float) -> dict[Cell, int]:
        """What may be known of the sealed minutes [since, until), by cell (minute 0)."""
        total = Counter[Cell]()
        for cell, n in self.series(model, since, until, now).items():
            total[cell._replace(minute=0)] += n
        return {cell: n for cell, n in total.items() if n > 0}

    def series(self, model: str, since: int, until: int, now: float) -> dict[Cell, int]:
        """The same period by period: a cell's minute is the first of its period. With noise, n may be negative."""
        self._disclose(model, self.sealed_until(now))
        since = max(since, until - RELEASE_DAYS * Level.DAY.minutes)
        found: dict[Cell, int] = {}
        for minute, release in self._ledger.releases(model, self._size, since, until).items():
            for (version, group), table in _parse(release.text).items():
                for (label, prediction, bare), n in table.items():
                    assert prediction is not None
                    found[Cell(model, minute, version, group, label, prediction, bare)] = n
        return found

    def _disclose(self, model: str, until: int) -> None:
        """Write down the periods before `until` that were not written down yet: nearly always none, or one."""
        since, oldest = self._disclosed_until.get(model, 0), until - LOOK_BACK_DAYS * Level.DAY.minutes
        if since == until:
            return
        if not oldest <= since < until:  # the first look, one after a long pause, or the clock was put back
            since = oldest
        exact = _by_period(self._ledger.series(model, self._rule.level, since, until))
        done = self._ledger.releases(model, self._size, since, until)
        days = self._days_of_other_length(model, since, until)
        for minute, tables in exact.items():
            if minute not in done and minute // Level.DAY.minutes not in days:
                self._ledger.release(model, self._size, minute, Release(1, _text(self._tables(model, minute, tables))))
        self._disclosed_until[model] = until

    def _days_of_other_length(self, model: str, since: int, until: int) -> set[int]:
        """Days of which something was disclosed in hours where it would be days now, or the other way round.

        Subtracting one from the other would show who was left out.
        """
        other, day = (Level.DAY if self._rule.level is Level.HOUR else Level.HOUR).minutes, Level.DAY.minutes
        found = self._ledger.releases(model, other, since // day * day, until)
        return {minute // day for minute, release in found.items() if _parse(release.text)}

    def _tables(self, model: str, minute: int, exact: Tables) -> Tables:
        """What is disclosed of each part of a period; parts of which nothing is are missing."""
        rule, found = self._rule, {}
        for part, table in exact.items():
            if rule.epsilon is None:
                found[part] = finest_safe(table, rule.k_min)
            else:
                place = [model, self._size, minute, *part]
                found[part] = with_noise(table, self._labels(model), rule, place)
        return {part: table for part, table in found.items() if table}


def with_noise(exact: Table, labels: int, rule: Rule, place: list[Any]) -> Table:
    """The counts of one group by label and prediction, each with its noise; {} where there are too few.

    Labels are left out where their noisy total is no larger than it could be by chance if there were none.
    """
    epsilon = rule.epsilon or 1.0
    told = (None, *range(labels)) if (labels + 1) * labels <= MOST_CELLS else (None,)
    keys: list[Combination] = [(label, prediction, None) for label in told for prediction in range(labels)]
    counts = coarsened(exact, (0, 1) if len(told) > 1 else (1,))
    true = [counts.get(key, 0) for key in keys]
    drawn = geometric(rule.key, json.dumps([*place, true]), epsilon, len(keys))
    noisy = {key: n + noise for key, n, noise in zip(keys, true, drawn, strict=True)}
    if sum(noisy.values()) < max(rule.k_min, 1 + largest_sum(len(keys), epsilon, DELTA)):
        return {}
    labelled = [n for (label, _, _), n in noisy.items() if label is not None]
    if labelled and sum(labelled) < largest_sum(len(labelled), epsilon, DELTA):
        noisy = coarsened(noisy, (1,))
    return {key: n for key, n in noisy.items() if n}


def finest_safe(exact: Table, k_min: int) -> Table:
    """The counts of one group in the finest detail that is safe; {} where none is."""
    tables = (coarsened(exact, axes) for axes in DETAILS)
    return next((table for table in tables if is_safe(table, k_min)), {})


def coarsened(table: Table, axes: Iterable[int]) -> dict[Combination, int]:
    """The same counts with only some of label, prediction and bare prediction told."""
    kept, total = set(axes), Counter[Combination]()
    for (label, prediction, bare), n in table.items():
        total[
            label if 0 in kept else None,
            prediction if 1 in kept else None,
            bare if 2 in kept else None,
        ] += n
    return dict(total)


def is_safe(table: Table, k_min: int) -> bool:
    """Whether every count is zero or at least `k_min`, in every margin."""
    return all(
        n == 0 or n >= k_min
        for size in range(4)
        for axes in combinations(range(3), size)
        for n in coarsened(table, axes).values()
    )


def _by_period(series: Mapping[Cell, int]) -> dict[int, Tables]:
    periods: dict[int, dict[Part, dict[Combination, int]]] = {}
    for cell, n in series.items():
        parts = periods.setdefault(cell.minute, {})
        parts.setdefault((cell.version, cell.group), {})[cell.label, cell.prediction, cell.bare] = n
    return {minute: dict(parts) for minute, parts in periods.items()}


def _text(tables: Tables) -> str:
    rows = [[*part, [[[*key, n] for key, n in table.items()]]] for part, table in tables.items()]
    return json.dumps(rows, separators=(",", ":"))


def _parse(text: str) -> Tables:
    """The tables of a release. Each part has a list, whose last counts: earlier versions disclosed a period often."""
    return {
        (version, group): {(y, h, bare): n for y, h, bare, n in tables[-1]}
        for version, group, tables in json.loads(text)
    }
