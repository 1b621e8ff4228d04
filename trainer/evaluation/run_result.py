"""The result of a training run, for selection, publishing and the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from trainer.evaluation.comparison_record import Comparison
from trainer.evaluation.counts import ConfusionCounts
from trainer.evaluation.recommendation import Standing, ValidationJudge
from triggers.trigger import ImageTrigger, TextTrigger


@dataclass(frozen=True, eq=False)
class Candidate:
    """One trained trigger, the optimiser step it was taken from, its counts per split ("val", "test"), what validation
    says of it, and its predictions there (N,).
    """

    strength: float
    step: int
    trigger: ImageTrigger | TextTrigger
    counts: Mapping[str, ConfusionCounts]
    standing: Standing
    val: Tensor


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """A finished run: one candidate per strength in the order asked for, and the bare model's counts per split."""

    bare: Mapping[str, ConfusionCounts]
    candidates: tuple[Candidate, ...]
    best: int | None  # index into candidates; None: none is recommended
    front: tuple[
        int, ...
    ]  # candidates within the budget and above the floors that no other one beats in both accuracy and gap
    data_counts: Mapping[str, Mapping[tuple[str, int], int]]  # per split: examples by (group name, label index)
    steps: int
    seconds: float
    device: str
    notes: tuple[str, ...] = ()  # notes of selection: ties, a floor that no candidate reaches
    judge: ValidationJudge | None = None  # what judged the candidates, on the rows that their `val` predicts
    comparisons: tuple[Comparison, ...] = ()  # controls and baselines, counted on the same rows
