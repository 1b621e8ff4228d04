"""Rows of every part of the data by group and label."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from trainer.data import DataLoader
from trainer.evaluation.counts import ConfusionCounts
from trainer.evaluation.selection import RecallCell, recalls
from triggers.metrics import FairnessReport, evaluate_counts
from triggers.metrics.overlapping_groups import groups_of
from triggers.metrics.rates import CountTable

PART_ORDER = ("base", "tuning", "val", "test")


@dataclass(frozen=True, eq=False)
class PartRows:
    """Counts {(cell, label): n} of every part; a cell is a group, or where they overlap the groups of some rows."""

    counts: Mapping[str, Mapping[tuple[str, int], int]]
    label_names: tuple[str, ...]
    pos_label: int
    overlapping: bool

    @classmethod
    def of(cls, loader: DataLoader, pos_label: int, *, overlapping: bool) -> PartRows:
        """The rows of all parts of a loader."""
        counts = {part: loader.counts(part) for part in PART_ORDER}
        return cls(counts, loader.label_names, pos_label, overlapping)

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """The groups that rows of any part belong to, in the order of the data's own."""
        cells = dict.fromkeys(cell for counts in self.counts.values() for cell, _ in counts)
        return tuple(dict.fromkeys(group for cell in cells for group in self._groups_of(cell)))

    def size(self, part: str) -> int:
        """Rows of a part."""
        return sum(self.counts[part].values())

    def share(self, label: int, part: str) -> float:
        """Share of a label among the rows of a part."""
        return self.rows(part).get((label, None), 0) / max(self.size(part), 1)

    def rows(self, *parts: str) -> dict[RecallCell, int]:
        """Rows of some parts by label and group; group None: of all."""
        found: dict[RecallCell, int] = {}
        for part in parts:
            for cell, (_, n) in recalls(self.answered_rightly(part), overlapping=self.overlapping).items():
                found[cell] = found.get(cell, 0) + n
        return found

    def table(self, part: str) -> CountTable:
        """The rows of a part as if every label were predicted."""
        return self.count_table(self.answered_rightly(part))

    def count_table(self, counts: ConfusionCounts) -> CountTable:
        """Counts of predictions on these rows as a table."""
        return CountTable.of(counts, len(self.label_names), overlapping=self.overlapping)

    def report(self, counts: ConfusionCounts) -> FairnessReport:
        """Figures of counts of predictions on these rows."""
        labels = len(self.label_names)
        return evaluate_counts(counts, pos_label=self.pos_label, labels=labels, overlapping=self.overlapping)

    def answered_rightly(self, part: str) -> ConfusionCounts:
        """The rows of a part as counts of a model that is always right."""
        return {(cell, label, label): n for (cell, label), n in self.counts[part].items()}

    def _groups_of(self, cell: str) -> tuple[str, ...]:
        return groups_of(cell) if self.overlapping else (cell,)
