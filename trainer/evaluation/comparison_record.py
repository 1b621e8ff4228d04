"""What triggers are compared with: the records of baselines and controls, counted on the same rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from triggers.metrics import Counts

System = Literal[
    "adv_post", "adv_in", "threshold", "threshold_matched", "constant", "random", "shrink", "black", "strength_zero"
]
SYSTEM_NAMES: Mapping[str, str] = {
    "adv_post": "AdvPost",
    "adv_in": "AdvIN",
    "threshold": "threshold",
    "threshold_matched": "threshold",
    "constant": "constant",
    "random": "random trigger",
    "shrink": "shrunk only",
    "black": "black trigger",
    "strength_zero": "utility only",
}
"""The systems as tables name them."""

MEANS = ("random",)
"""Systems whose records are repetitions: tables show their mean."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """One system in one setting: its counts per split ("val", "test"), and the seconds that it took to get there.

    `strength` and `step` are those of a training; for `threshold_matched`, the strength of the trigger that it matches.
    `chosen`: validation prefers it to the other settings of its system, by the rule that chooses among triggers.
    """

    system: System
    setting: str
    counts: Mapping[str, Counts]
    seconds: float
    strength: float | None = None
    step: int | None = None
    chosen: bool = False


def counts_as_json(counts: Counts) -> list[list[str | int | None]]:
    """Counts as JSON: [group, label, prediction, n], sorted."""
    rows = sorted(counts.items(), key=lambda item: (item[0][0], -1 if item[0][1] is None else item[0][1], item[0][2]))
    return [[*cell, n] for cell, n in rows]


def short_rows(comparisons: Iterable[Comparison]) -> list[tuple[str, Sequence[Comparison], bool]]:
    """The rows of a short table: a name, the records to show the mean figures of, and is it one that was chosen.

    Of baselines every strength, of repetitions the mean, of other systems what validation chose.
    """
    rows: list[tuple[str, Sequence[Comparison], bool]] = []
    for system, found in groupby(comparisons, key=lambda one: one.system):
        own = list(found)
        if system in MEANS:
            rows.append((f"{SYSTEM_NAMES[system]}, mean of {len(own)}", own, False))
        elif system in ("adv_post", "adv_in"):
            rows += [(f"{SYSTEM_NAMES[system]} {one.strength:g}", [one], one.chosen) for one in own]
        else:
            rows += [(f"{SYSTEM_NAMES[system]}, {one.setting}", [one], False) for one in own if one.chosen]
    return rows
