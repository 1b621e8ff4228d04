"""The result of a training run, for selection, publishing and the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from trainer.evaluation.alternatives import Alternatives, Incumbent, find_alternatives
from trainer.evaluation.comparison_record import Comparison
from trainer.evaluation.counts import ConfusionCounts
from trainer.evaluation.recommendation import (
    MEASURES,
    ValidationJudge,
    best_trigger,
    equal_rival,
    useful_rivals,
)
from trainer.evaluation.strength_range import StrengthSearch
from trainer.formatting import system_name
from triggers.artifact.selection_record import SelectionRecord
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
    selection: SelectionRecord
    val: Tensor


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """A finished run: one candidate per strength in the order asked for, and the bare model's counts per split."""

    bare: Mapping[str, ConfusionCounts]
    candidates: tuple[Candidate, ...]
    best: int | None  # index into candidates; None: none is recommended
    front: tuple[int, ...]  # feasible candidates that no other one beats in both accuracy and gap
    data_counts: Mapping[str, Mapping[tuple[str, int], int]]  # per split: examples by (group name, label index)
    steps: int
    seconds: float
    device: str
    notes: tuple[str, ...] = ()  # notes of selection: ties, a floor that no candidate reaches
    judge: ValidationJudge | None = None  # what judged the candidates, on the rows that their `val` predicts
    comparisons: tuple[Comparison, ...] = ()  # controls and baselines, counted on the same rows
    rival: int | None = None  # index into comparisons: something cheaper that does as well as any trigger
    alternatives: Alternatives = field(default_factory=Alternatives)  # rules and retrained models beside that
    queries: Mapping[str, Any] | None = None  # of a run that only asked: rows by purpose, cost, gaps over queries
    search: StrengthSearch | None = None  # of a run whose strengths were open; `steps` are those that came after it

    def against_rivals(self) -> TrainingResult:
        """The result after every trigger was held against everything cheaper: what is not fairer is not recommended.

        What is recommended then is held against rules and retrained models.
        """
        if self.judge is None:
            return self
        return self._against_cheaper(self.judge)._beside_alternatives(self.judge)

    def _beside_alternatives(self, judge: ValidationJudge) -> TrainingResult:
        """The result with the rules and retrained models that do better than what is recommended, or as well."""
        incumbent: Incumbent | None = None
        if self.best is not None:
            incumbent = Incumbent(self.candidates[self.best].val, self.candidates[self.best].selection.status)
        elif self.rival is not None and (val := self.comparisons[self.rival].val) is not None:
            incumbent = Incumbent(val, None)
        return replace(self, alternatives=find_alternatives(judge, self.comparisons, incumbent))

    def _against_cheaper(self, judge: ValidationJudge) -> TrainingResult:
        rivals = useful_rivals(judge, self.comparisons)
        if not rivals:
            return self
        hopeful = [k for k, one in enumerate(self.candidates) if one.selection.status != "not recommended"]
        equals = {k: equal_rival(judge, self.candidates[k].val, rivals) for k in hopeful}
        reasons = {
            k: f"{rival_words(judge, self.comparisons[at])} does as well on validation"
            for k, at in equals.items()
            if at is not None
        }
        candidates = tuple(_refused(one, reasons.get(k)) for k, one in enumerate(self.candidates))
        if self.best is None:
            return replace(self, candidates=candidates, rival=judge.fairest(rivals))
        if self.best not in reasons:
            return replace(self, candidates=candidates)
        records = [one.selection for one in candidates]
        best = best_trigger(judge, {k: one.val for k, one in enumerate(candidates)}, records)
        who = (
            "No trigger"
            if best is None
            else f"Instead of strength {candidates[self.best].strength:g}, {candidates[best].strength:g}"
        )
        return replace(
            self,
            rival=equals[self.best] if best is None else None,
            best=best,
            candidates=candidates,
            notes=(f"{who} is recommended: {reasons[self.best]}.", *self.notes),
        )


def _refused(one: Candidate, reason: str | None) -> Candidate:
    """The candidate, not recommended if there is a reason."""
    if reason is None:
        return one
    changed = {"status": "not recommended", "rows_needed": None, "reason": reason}
    return replace(one, selection=one.selection.model_copy(update=changed))


def rival_words(judge: ValidationJudge, one: Comparison) -> str:
    """A cheaper system with its setting and its figures on validation."""
    assert one.val is not None
    score = judge.score(one.val)
    measure = MEASURES[judge.criterion.select.measure]
    cost = f"costs {score.loss:.3f} of" if score.loss > 0 else f"gains {-score.loss:.3f} of"
    return f"{system_name(one.system)} ({one.setting}; gap {score.gap:.3f}, {cost} {measure})"
