"""The guard itself through drawn traffic: how often it rolls back where nothing is wrong, and how soon where it is.

The tables of `python -m benchmarks.statistics --only guard`.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np

from benchmarks.draws import ALPHA, LOOKS, ROWS, heads, random, row, short
from service.guard import Guard
from service.guard.observations import ServingState
from service.guard.sequential_tests import Evidence
from service.ledger import Cell, Level
from triggers.rollout import GuardRules
from triggers.rollout.guard_rules import LIMIT_FIELDS


@dataclass
class Trial:
    """A `GuardTarget` with a challenger, whose minutes are drawn; it counts rollbacks instead of making them."""

    rules: GuardRules
    now: float = 0.0
    pos_label: int = 1
    rolled_back: list[tuple[float, Evidence]] = field(default_factory=list)
    minutes: dict[Level, list[dict[Cell, int]]] = field(default_factory=dict)

    def serving_state(self) -> ServingState:
        """Champion v1 with twins, challenger v2, from the beginning on."""
        return ServingState(1 + len(self.rolled_back), 0.0, 1, 2, challenged=True, twins=True, rules=self.rules)

    def withdraw(self, stand: ServingState, evidence: Evidence) -> str:
        """Note when."""
        self.rolled_back.append((self.now, evidence))
        return "rolled back"

    def read(
        self, model: str, level: Level, since_minute: int, until_minute: int, made_since: int = 0
    ) -> dict[Cell, int]:
        """`Ledger.series` of what was drawn."""
        return {
            cell: n for minute in range(since_minute, until_minute) for cell, n in self.minutes[level][minute].items()
        }


def guard(repeats: int) -> None:
    """How often the guard itself - its reading, joining, weighing, acting - rolls back in LOOKS minutes."""
    logging.disable()
    gc.freeze()  # every repeat makes a hundred thousand small objects: let nobody look through what was imported
    print(f"\nRollbacks by the guard at alpha = {ALPHA} in {LOOKS} minutes, {repeats} repeats\n")
    print(heads("rules", "champion", "challenger", "rolled back", "requests until then (median)"))
    for limits, new, wrong in GUARDED:
        disparity, worse, loss = limits
        rules = GuardRules(max_disparity=disparity, worse_by=worse, accuracy_loss=loss)
        ends = [guarded(rules, new, wrong, repeat) for repeat in range(repeats)]
        middle = float(np.median(ends))
        found = "-" if middle == np.inf else f"{middle * 4 * ROWS:.0f}"
        names = ", ".join(
            f"{name} {limit:g}" for name, limit in zip(LIMIT_FIELDS, limits, strict=True) if limit is not None
        )
        rates, errors = short(new), f"wrong {wrong:g}"
        share = f"{100 * np.isfinite(ends).mean():.1f} %"
        print(row(names, "0.3 x 2, wrong 0.1", f"{rates}, {errors}", share, found), flush=True)
    gc.unfreeze()


GUARDED: list[tuple[tuple[float | None, float | None, float | None], tuple[float, float], float]] = [
    ((0.0, 0.0, 0.0), (0.3, 0.3), 0.1), ((0.1, 0.05, 0.02), (0.3, 0.3), 0.1), ((None, 0.1, 0.02), (0.3, 0.4), 0.12),
    ((0.1, 0.05, 0.02), (0.2, 0.4), 0.1), ((None, 0.05, None), (0.2, 0.4), 0.1), ((None, None, 0.02), (0.3, 0.3), 0.2),
]  # fmt: skip
"""Limits, selection rates of the challenger's two groups, its errors; the first three are true null hypotheses."""
LOOK_AFTER = [*range(10, 100, 10), *range(100, LOOKS + 1, 100)]
"""Minutes after which is looked: the guard weighs every minute before as if it had looked after each."""


def guarded(rules: GuardRules, new: Sequence[float], wrong: float, repeat: int) -> float:
    """The minute until which the evidence was read that rolled the challenger or champion back; infinite if none."""
    trial = Trial(rules, minutes=traffic(random(repeat), new, wrong))
    watching = Guard({"m": trial}, trial.read, seal_seconds=0, every_seconds=60, clock=lambda: trial.now)
    for minute in LOOK_AFTER:
        trial.now = 60.0 * (minute + 1)
        watching.check("m")
        if trial.rolled_back:
            return float(minute)
    return np.inf


LATE = 7
"""Minutes until a label comes."""


OUTCOMES = list(product((0, 1), repeat=3))
"""Label, prediction, bare prediction."""


def traffic(each: np.random.Generator, new: Sequence[float], wrong: float) -> dict[Level, list[dict[Cell, int]]]:
    """ROWS requests per minute, version and group, by their minute and by that of their label."""
    minutes = LOOKS + LATE + 2
    made, labelled = ([dict[Cell, int]() for _ in range(minutes + LATE)] for _ in range(2))
    for version, rates, errors in ((1, (0.3, 0.3), 0.1), (2, new, wrong)):
        for group, rate in zip("fm", rates, strict=True):
            odds = [_outcome(rate, errors, *outcome) for outcome in OUTCOMES]
            for minute, drawn in enumerate(each.multinomial(ROWS, odds, size=minutes).tolist()):
                for outcome, n in zip(OUTCOMES, drawn, strict=True):
                    if n:
                        made[minute][Cell("m", minute, version, group, *outcome)] = n
                        labelled[minute + LATE][Cell("m", minute + LATE, version, group, *outcome)] = n
    return {Level.MINUTE: made, Level.ARRIVAL: labelled}


def _outcome(rate: float, wrong: float, label: int, prediction: int, bare: int) -> float:
    """Its probability; a twelfth of the answers are not the bare model's, which selects at the same rate."""
    selected = rate if prediction else 1 - rate
    differs = 1 / 24 / selected
    return selected * (wrong if label != prediction else 1 - wrong) * (differs if bare != prediction else 1 - differs)
