"""Records of baselines and controls, counted on the same rows as the triggers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from torch import Tensor

from triggers.artifact.selection_record import SelectionRecord
from triggers.metrics import Counts

System = Literal[
    "adv_post",
    "adv_in",
    "threshold",
    "threshold_matched",
    "constant",
    "random",
    "shrink",
    "black",
    "strength_zero",
    "hardt",
    "oxonfair",
    "frappe",
    "linear_post",
    "faap",
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
    "hardt": "Hardt",
    "oxonfair": "OxonFair",
    "frappe": "FRAPPE",
    "linear_post": "LinearPost",
    "faap": "FAAP",
}
"""Names of the systems in tables."""

MEANS = ("random",)
"""Systems whose records are repetitions: tables show their mean."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """One system in one setting: its counts per split ("val", "test"), and the seconds that it took.

    `strength` and `step` are those of a training; for `threshold_matched`, the strength of the trigger that it matches.
    `shift` is what a threshold system adds to the positive logit.
    `val` predicts the validation rows (N,), in their order, where that is known; `selection` is what validation says of
    it, where it was tested.
    `chosen`: validation prefers it to the other settings of its system, by the rule that chooses among triggers.
    """

    system: System
    setting: str
    counts: Mapping[str, Counts]
    seconds: float
    strength: float | None = None
    step: int | None = None
    chosen: bool = False
    val: Tensor | None = None
    shift: float | None = None
    selection: SelectionRecord | None = None


def counts_as_json(counts: Counts) -> list[list[str | int | None]]:
    """Counts as JSON: [group, label, prediction, n], sorted."""
    rows = sorted(counts.items(), key=lambda item: (item[0][0], -1 if item[0][1] is None else item[0][1], item[0][2]))
    return [[*cell, n] for cell, n in rows]


def short_rows(comparisons: Iterable[Comparison]) -> list[tuple[str, Sequence[Comparison], bool]]:
    """Rows of a short table: name, records whose mean figures are shown, whether it is a chosen baseline.

    All strengths of baselines, the mean of repetitions, and of other systems the setting that validation chose.
    """
    rows: list[tuple[str, Sequence[Comparison], bool]] = []
    for system, found in groupby(comparisons, key=lambda one: one.system):
        own = list(found)
        if system in MEANS:
            rows.append((f"{SYSTEM_NAMES[system]}, mean of {len(own)}", own, False))
        elif system in ("adv_post", "adv_in", "faap"):
            rows += [(f"{SYSTEM_NAMES[system]} {one.strength:g}", [one], one.chosen) for one in own]
        else:
            rows += [(f"{SYSTEM_NAMES[system]}, {one.setting}", [one], False) for one in own if one.chosen]
    return rows
