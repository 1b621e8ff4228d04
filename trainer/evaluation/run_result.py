"""The result of a training run, for selection, publishing and the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from trainer.evaluation.comparison_record import Comparison
from trainer.evaluation.strength_range import StrengthSearch
from triggers.trigger import ImageTrigger, TextTrigger

ConfusionCounts: TypeAlias = Mapping[tuple[str, int | None, int], int]
"""Confusion counts by (group name, label index, predicted index), as triggers.metrics.fairness_report reads them."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """One trained trigger, the optimiser step it was taken from, and its counts per split ("val", "test")."""

    strength: float
    step: int
    trigger: ImageTrigger | TextTrigger
    counts: Mapping[str, ConfusionCounts]


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """A finished run: one candidate per strength in the order asked for, and the bare model's counts per split."""

    bare: Mapping[str, ConfusionCounts]
    candidates: tuple[Candidate, ...]
    best: int | None  # index into candidates; None: none stays above the accuracy floor
    front: tuple[int, ...]  # candidates above the floor that no other one beats in both accuracy and gap
    data_counts: Mapping[str, Mapping[tuple[str, int], int]]  # per split: examples by (group name, label index)
    steps: int
    seconds: float
    device: str
    notes: tuple[str, ...] = ()  # notes of selection: ties, a floor that no candidate reaches
    comparisons: tuple[Comparison, ...] = ()  # controls and baselines, counted on the same rows
    search: StrengthSearch | None = None  # of a run whose strengths were open; `steps` are those that came after it
