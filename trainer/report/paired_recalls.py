"""Paired changes of recalls on the test split, with the trigger minus without, from the paired counts of metrics.json.

Intervals are Newcombe's for two rates of the same rows. Different labels are different rows, so the distances to the
limits of their mean, balanced accuracy, are roots of sums of squares (Zou and Donner, Statistics in Medicine 2008).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot

from trainer.formatting import Json, group_rows
from triggers.metrics.intervals import critical
from triggers.metrics.paired_intervals import change


@dataclass(frozen=True)
class RecallChange:
    """The recall of a label, in a group or (None) over all rows, before and after, and the limits of the change."""

    label: int
    group: str | None
    before: float
    after: float
    low: float
    high: float
    n: int

    @property
    def figure(self) -> dict[str, float]:
        """The change as metrics.json writes one."""
        return {"value": self.after - self.before, "low": self.low, "high": self.high}


def group_recall_changes(summary: Json) -> list[RecallChange]:
    """Changes of every label's recall in every group; all intervals hold together at 95 %."""
    report = summary["bare"]["test"]
    overlapping = bool(report.get("groups_overlap"))
    held = {group: group_rows(summary["paired"], group, overlapping) for group in report["groups"]}
    cells = [(label, group, rows) for group, rows in held.items() for label in sorted({row[1] for row in rows})]
    z = critical(0.95, len(cells))
    return [_recall_change(label, group, rows, z) for label, group, rows in cells]


def balanced_accuracy_change(summary: Json) -> dict[str, float] | None:
    """Change of balanced accuracy with its 95 % interval; None where rows were not predicted in pairs."""
    rows = summary.get("paired")
    if not rows:
        return None
    each = [_recall_change(label, None, rows, critical(0.95)) for label in sorted({row[1] for row in rows})]
    value = sum(one.after - one.before for one in each) / len(each)
    below = hypot(*(one.figure["value"] - one.low for one in each)) / len(each)
    above = hypot(*(one.high - one.figure["value"] for one in each)) / len(each)
    return {"value": value, "low": value - below, "high": value + above}


def _recall_change(label: int, group: str | None, paired: Sequence[Sequence[int]], z: float) -> RecallChange:
    """From paired rows [cell, label, before, after, n]."""
    counted = [0, 0, 0, 0]  # right both times, only before, only after, never
    for _, truth, before, after, n in paired:
        if truth == label:
            counted[2 * (before != label) + (after != label)] += n
    both, broken, mended, _ = counted
    n = sum(counted)
    low, high = change(counted, z)  # of before minus after
    return RecallChange(label, group, (both + broken) / n, (both + mended) / n, -float(high), -float(low), n)
