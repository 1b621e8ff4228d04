"""What everybody may know of the counts: nothing that a few people could be told apart by.

Time is cut into periods (an hour, or a day). Once a period is sealed, what may be known of it is written down, and all
that anyone but an operator sees is sums of what is written down: subtracting windows, versions, groups or totals from
each other gives nothing that was not disclosed by itself. A group of a version is written down in the finest detail
(label, prediction, bare prediction; without the bare one; the prediction only) in which every count, and every change
from whatever was written down of it before - late labels and corrections change it - is zero or at least `k_min`, in
all margins; else it stays as it was. So a group with too few predictions in a period is missing from it, also from the
totals.

With `epsilon`, noise comes instead of detail that depends on the counts: a period is written down once, when late
labels had `wait_hours` to come, each cell of all known groups with its own geometric noise. A prediction is in one cell
of one period, so all that is ever disclosed is epsilon-differentially private for it; groups below `k_min` after the
noise are left out.
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
from service.noise import geometric
from service.periods import Level
from triggers.fairness import UNKNOWN

SEAL_SECONDS = 90
"""A period is sealed so long after its end: by then every replica has written its counts."""
DETAILS = ((0, 1, 2), (0, 1), (1,))
"""Which of label, prediction and bare prediction are told, the finest first."""
Part = tuple[int | None, str]  # version, group
Combination = tuple[int | None, int | None, int | None]  # label, prediction, bare prediction
Table = Mapping[Combination, int]
Exact = Mapping[Part, Table]
Told = dict[Part, list[Table]]
"""Everything that was ever written down of each part of a period; the last table is what holds now."""


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
    """Writes down what may be known of sealed periods, and adds it up. `labels` gives how many labels a model has."""

    def __init__(self, ledger: Ledger, rule: Rule, labels: Callable[[str], int]) -> None:
        self._ledger, self._rule, self._labels = ledger, rule, labels
        self._size = rule.level.minutes
        self._looked: dict[str, int] = {}  # the minute in which each model's periods were last gone through

    @property
    def terms(self) -> dict[str, Any]:
        """What a reader has to know to read the figures: no word of what was left out."""
        return {"k_min": self._rule.k_min, "period_minutes": self._size, "epsilon": self._rule.epsilon}

    def allows(self, minutes: int | None) -> bool:
        """Whether a window of so many minutes is made of whole periods."""
        return minutes is None or minutes % self._size == 0

    def sealed_until(self, now: float) -> int:
        """The first minute that is not in a sealed period."""
        return int((now - SEAL_SECONDS) // 60) // self._size * self._size

    def counts(self, model: str, since: int, until: int, now: float) -> dict[Cell, int]:
        """What may be known of the sealed minutes [since, until), by cell (minute 0)."""
        total = Counter[Cell]()
        for cell, n in self.series(model, since, until, now).items():
            total[cell._replace(minute=0)] += n
        return dict(total)

    def series(self, model: str, since: int, until: int, now: float) -> dict[Cell, int]:
        """The same period by period: a cell's minute is the first of its period."""
        if self._looked.get(model) != now // 60:
            self._write_down(model, self.sealed_until(now))
            self._looked[model] = int(now // 60)
        found: dict[Cell, int] = {}
        for minute, release in self._ledger.releases(model, self._size, since, until).items():
            for (version, group), tables in _parse(release.text).items():
                for (label, prediction, bare), n in tables[-1].items():
                    assert prediction is not None
                    found[Cell(model, minute, version, group, label, prediction, bare)] = n
        return found

    def _write_down(self, model: str, until: int) -> None:
        """Bring what is written down up to date, for the periods whose minutes can still change."""
        since = until - (Level.MINUTE.kept_days or 0) * Level.DAY.minutes
        exact = _by_period(self._ledger.series(model, self._rule.level, since, until))
        before = self._ledger.releases(model, self._size, since, until)
        for minute, tables in exact.items():
            old = before.get(minute, Release(0, "[]"))
            new = self._next(model, minute, tables, old, until)
            if new is not None:
                self._ledger.release(model, self._size, minute, Release(old.revision + 1, _text(new)))

    def _next(self, model: str, minute: int, exact: Exact, old: Release, until: int) -> Told | None:
        """What to write down for a period now; None to leave it."""
        if self._rule.epsilon is None:
            told = _parse(old.text)
            new = {part: advance(told.get(part, []), table, self._rule.k_min) for part, table in exact.items()}
            new = told | {part: tables for part, tables in new.items() if tables}
            return new if new != told else None
        waited = minute + self._size <= until - self._rule.wait_hours * 60
        return self._noisy(model, minute, exact) if waited and old.revision == 0 else None

    def _noisy(self, model: str, minute: int, exact: Exact) -> Told:
        """Counts by label and prediction, of every version seen and every group known, each with its noise."""
        epsilon, labels = self._rule.epsilon or 1.0, range(self._labels(model))
        groups = sorted({UNKNOWN} | self._ledger.groups(model) | {group for _, group in exact})
        found: Told = {}
        for version, group in ((version, group) for version in {version for version, _ in exact} for group in groups):
            counts = coarsened(exact.get((version, group), {}), (0, 1))
            table: dict[Combination, int] = {}
            for label, prediction in ((y, h) for y in (None, *labels) for h in labels):
                place = json.dumps([model, self._size, minute, version, group, label, prediction])
                key = (label, prediction, None)
                table[key] = max(counts.get(key, 0) + geometric(self._rule.key, place, epsilon), 0)
            if sum(table.values()) >= self._rule.k_min:
                found[version, group] = [{key: n for key, n in table.items() if n}]
        return found


def advance(told: list[Table], exact: Table, k_min: int) -> list[Table]:
    """What was told of a group and then `exact`, in the finest detail that gives no few people away; or just `told`.

    Whoever looks often has all tables and can subtract any two, so a new one must be safe beside each. Detail that was
    told is not taken back.
    """
    for axes in DETAILS:
        new = coarsened(exact, axes)
        if told and (new == told[-1] or coarsened(told[-1], axes) != told[-1]):
            return told
        if is_safe({}, new, k_min) and all(is_safe(old, new, k_min) for old in told):
            return [*told, new]
    return told


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


def is_safe(told: Table, new: Table, k_min: int) -> bool:
    """Whether every count of `new`, and every change from `told`, is zero or at least `k_min`, in every margin."""
    change = {key: new.get(key, 0) - told.get(key, 0) for key in {*new, *told}}
    return all(
        n == 0 or abs(n) >= k_min
        for table in (new, change)
        for size in range(4)
        for axes in combinations(range(3), size)
        for n in coarsened(table, axes).values()
    )


def _by_period(series: Mapping[Cell, int]) -> dict[int, Exact]:
    periods: dict[int, dict[Part, dict[Combination, int]]] = {}
    for cell, n in series.items():
        parts = periods.setdefault(cell.minute, {})
        parts.setdefault((cell.version, cell.group), {})[cell.label, cell.prediction, cell.bare] = n
    return {minute: dict(parts) for minute, parts in periods.items()}


def _text(told: Told) -> str:
    rows = [[*part, [[[*key, n] for key, n in table.items()] for table in tables]] for part, tables in told.items()]
    return json.dumps(rows, separators=(",", ":"))


def _parse(text: str) -> Told:
    return {
        (version, group): [{(y, h, bare): n for y, h, bare, n in table} for table in tables]
        for version, group, tables in json.loads(text)
    }
