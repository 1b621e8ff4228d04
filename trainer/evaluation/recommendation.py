"""The recommendation of a trigger on validation, and what is proved there about the losses of every trigger.

certified         tested, and within the budget with probability 1 - delta (trainer/evaluation/certification.py)
promising         within the budget and above every floor as counted, not proved
not recommended   beyond the budget, below a floor, with a gap that is not clearly smaller than the bare model's, or
                  no better than something cheaper: a threshold shift, a random or shrunken trigger, one for utility

Among certified triggers, or if there are none among promising ones, the smallest gap wins; gaps that differ by less
than TIE standard deviations of their difference are equal, and the smaller loss wins. The test split is never used.

Tested are the triggers after the last step, from the weakest strength to the strongest, each at delta, until one fails
(fixed sequence): the order is chosen without validation, and weak triggers lose least, so the first failure is where
the budget ends. Earlier snapshots can only be promising. Paths over the steps of each strength share delta between them
and certify half as often (`python -m benchmarks.certified`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import TypeVar

import torch
from torch import Tensor

from trainer.evaluation.certification import PairedSet, loss_bound, loss_p_value, recall_p_value, rows_needed
from trainer.evaluation.comparison_record import Comparison, System
from trainer.evaluation.paired_effects import gap_noise
from trainer.evaluation.selection import RecallCell, SelectionCriterion, ValidationScore
from trainer.evaluation.validation_rows import ValidationRows
from triggers.artifact.selection_record import SelectionRecord

_Key = TypeVar("_Key", int, tuple[int, int])
MEASURES = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "recall": "a recall"}
CHEAPER = ("threshold", "constant", "random", "shrink", "black", "strength_zero")
"""Systems that cost less than a trigger for fairness, which it has to beat."""
RULES: Sequence[System] = ("oxonfair", "frappe", "linear_post", "faap")
"""Systems that leave the model as it is and ask for nobody's group: recommended where they are clearly better."""
RETRAINED = ("adv_post", "adv_in")
"""Systems that change the model's weights, which not everybody may."""
TIE = 1.0
"""Standard deviations of a difference of two gaps below which they count as equal."""
CHANCE = 0.05
"""Probability with which noise makes a gap clearly smaller that is not."""
CLEAR = 1.645
"""Standard deviations by which a gap has to be below another one to be clearly smaller (one-sided)."""


@dataclass(frozen=True)
class Selection:
    """Per strength the validation that its trigger is taken from, and what is said of that trigger.

    Indices of strengths: the recommended one, and the trade-off front in order of accuracy. `notes` say why in words.
    """

    places: tuple[int, ...]
    records: tuple[SelectionRecord, ...]
    best: int | None
    front: tuple[int, ...]
    notes: tuple[str, ...] = ()


class ValidationJudge:
    """Judges predictions on the validation rows by a selection criterion."""

    def __init__(self, criterion: SelectionCriterion, rows: ValidationRows) -> None:
        self.criterion, self.rows = criterion, rows

    def sharing_delta(self, families: int) -> ValidationJudge:
        """The same judge with an equal share of delta, for one of several families that are tested side by side."""
        criterion = copy(self.criterion)
        criterion.select = replace(criterion.select, delta=criterion.select.delta / families)
        return ValidationJudge(criterion, self.rows)

    def score(self, predictions: Tensor) -> ValidationScore:
        """Figures of predictions (N,)."""
        return self.criterion.score(self.rows.counts(predictions))

    def p_value(self, predictions: Tensor) -> float:
        """P-value of the null hypothesis that the budget is broken, or a label's recall is at its floor or below."""
        budget = self.criterion.select.max_accuracy_drop
        losses = [loss_p_value(sets, budget) for sets in self.tested(predictions)]
        return max(*losses, *self._recall_p_values(predictions), 0.0)

    def tested(self, predictions: Tensor) -> list[list[PairedSet]]:
        """The tests of the budget, each of the mean loss of some sets of rows; all have to pass."""
        sets = self._sets(predictions)
        everybody = [one for (_, group), one in sets.items() if group is None]
        match self.criterion.select.measure:
            case "accuracy":
                counts = ([getattr(one, name) for one in everybody] for name in ("rows", "broken", "mended"))
                return [[PairedSet(*map(sum, counts))]]
            case "balanced_accuracy":
                return [everybody]
            case "recall":
                return [[one] for cell, one in sets.items() if self.criterion.counts_cell(cell)]

    def clearly_smaller(self, one: Tensor, other: Tensor, among: int = 1) -> bool:
        """Whether the gap of one's predictions (N,) is below that of the other's by more than noise; by more than that
        of the luckiest where one of several is asked about.
        """
        clear = CLEAR if among == 1 else NormalDist().inv_cdf(1 - CHANCE / among)
        return self._difference(one, other) < -clear * self._deviation(one, other)

    def fairest(self, candidates: Mapping[_Key, Tensor]) -> _Key:
        """The one with the smallest gap, or with a smaller loss among those whose gaps equal it but for noise."""
        scores = {key: self.score(predictions) for key, predictions in candidates.items()}
        first = min(candidates, key=lambda key: self.criterion.rank(scores[key]))
        equal = [key for key, predictions in candidates.items() if not self._larger(predictions, candidates[first])]
        return min(equal, key=lambda key: (scores[key].loss, self.criterion.rank(scores[key])))

    def record(self, predictions: Tensor, *, certified: bool) -> SelectionRecord:
        """What validation says of predictions (N,), which passed their test in the order of all tests or not."""
        select, score = self.criterion.select, self.score(predictions)
        lacking, budget = self._lacking(predictions, score), select.max_accuracy_drop
        bound, needed = None, None
        if certified:
            bound = max(loss_bound(sets, select.delta) for sets in self.tested(predictions))
            bound = bound if lacking else min(bound, budget)  # the bisection stops a little above
        elif not lacking:
            needed = self._rows_needed(predictions)
        cell = self.cell_name(score)
        return SelectionRecord(
            status="not recommended" if lacking else "certified" if certified else "promising",
            measure=select.measure,
            budget=budget,
            delta=select.delta,
            rows=len(self.rows),
            loss=score.loss if lacking else min(score.loss, budget),
            bound=bound,
            rows_needed=needed,
            min_recall_ratio=select.min_recall_ratio,
            lowest_recall_ratio=(score.recall_ratio if lacking else self.criterion.kept(score)) if cell else None,
            lowest_recall=cell or None,
            reason=lacking or f"its gap is {score.gap:.3f}, without a trigger {self.criterion.bare.gap:.3f}",
        )

    def useful(self, predictions: Tensor) -> bool:
        """Whether it is affordable and its gap is clearly smaller than the bare model's."""
        return not self._lacking(predictions, self.score(predictions))

    def _lacking(self, predictions: Tensor, score: ValidationScore) -> str:
        """What keeps predictions from a recommendation, in words; empty if nothing does."""
        select, bare = self.criterion.select, self.criterion.bare
        if score.gap is None:
            return "validation cannot measure the gap, a group or label has no rows there"
        if not self.criterion.affordable(score):
            if score.loss > select.max_accuracy_drop + 1e-9:
                lost = f"it loses {score.loss:.3f} of {MEASURES[select.measure]}"
                return f"{lost}, more than the budget of {select.max_accuracy_drop:g}"
            fallen = f"the recall of {self.cell_name(score)} falls to {score.recall_ratio:.2f} of the bare model's"
            return f"{fallen}, below {select.min_recall_ratio:g}"
        if bare.gap is not None and not self.clearly_smaller(predictions, self.rows.bare):
            return f"its gap, {score.gap:.3f}, is not clearly smaller than {bare.gap:.3f} without a trigger"
        return ""

    def _rows_needed(self, predictions: Tensor) -> int | None:
        """Validation rows that would prove the budget in every test; None: out of reach, or not for want of rows."""
        select, found = self.criterion.select, []
        for sets in self.tested(predictions):
            needed = rows_needed(sets, select.max_accuracy_drop, select.delta)
            if needed is None:
                return None
            found.append(needed * len(self.rows) / sum(one.rows for one in sets))
        return round(max(found)) if max(found) > len(self.rows) else None

    def cell_name(self, score: ValidationScore) -> str:
        """The label, and group, whose recall suffers most, in words."""
        if score.recall_cell is None:
            return ""
        label, group = score.recall_cell
        return self.rows.label_names[label] + (f" in group {group}" if group is not None else "")

    def _larger(self, one: Tensor, other: Tensor) -> bool:
        """Whether the gap of one's predictions is above that of the other's by more than a tie."""
        return self._difference(one, other) > TIE * self._deviation(one, other)

    def _difference(self, one: Tensor, other: Tensor) -> float:
        mine, theirs = self.score(one).gap, self.score(other).gap
        return float("inf") if mine is None or theirs is None else mine - theirs

    def _deviation(self, one: Tensor, other: Tensor) -> float:
        rows, criterion = self.rows, self.criterion
        pairs = rows.pairs(other, one)
        return gap_noise(
            pairs,
            rows.groups,
            criterion.pos_label,
            len(rows.label_names),
            criterion.objective,
            overlapping=rows.overlapping,
        )

    def _recall_p_values(self, predictions: Tensor) -> list[float]:
        floor, found = self.criterion.select.min_recall_ratio, []
        for label in range(len(self.rows.label_names)):
            mine = self.rows.labels == label
            rows, bare = int(mine.sum()), int((self.rows.bare[mine] == label).sum())
            if bare:
                hits = int((predictions[mine] == label).sum())
                found.append(recall_p_value(rows, hits, floor * bare / rows))
        return found

    def _sets(self, predictions: Tensor) -> dict[RecallCell, PairedSet]:
        """The rows of every label, over all rows and in every group, as the predictions break and mend them."""
        rows, right = self.rows, predictions == self.rows.labels
        was = rows.bare == rows.labels
        found: dict[RecallCell, PairedSet] = {}
        for group in (None, *rows.groups):
            held = torch.ones_like(was) if group is None else rows.members(group)
            for label in range(len(rows.label_names)):
                mine = held & (rows.labels == label)
                if mine.any():
                    broken, mended = (int((mine & each).sum()) for each in (was & ~right, right & ~was))
                    found[label, group] = PairedSet(int(mine.sum()), broken, mended)
        return found


def select_triggers(judge: ValidationJudge, history: Sequence[Tensor], strengths: Sequence[float]) -> Selection:
    """Choose among the triggers of K strengths after every validation, given predictions (K, N) at each."""
    passed = certified_in_order(judge, history[-1], strengths)
    last, every = len(history) - 1, range(len(strengths))
    places = tuple(last if k in passed and judge.useful(history[-1][k]) else _kept(judge, history, k) for k in every)
    kept = {k: history[place][k] for k, place in enumerate(places)}
    records = tuple(judge.record(kept[k], certified=k in passed and places[k] == last) for k in every)
    scores = [judge.score(kept[k]) for k in every]
    best = best_trigger(judge, kept, records)
    front = _front(scores, [k for k in every if judge.criterion.feasible(scores[k])])
    return Selection(places, records, best, front, _notes(judge, scores, records, best, strengths))


def best_trigger(judge: ValidationJudge, kept: Mapping[int, Tensor], records: Sequence[SelectionRecord]) -> int | None:
    """The recommended one by the words said of each: the fairest certified one, else the fairest promising one."""
    for status in ("certified", "promising"):
        among = {k: kept[k] for k, one in enumerate(records) if one.status == status}
        if among:
            return judge.fairest(among)
    return None


def useful_rivals(judge: ValidationJudge, comparisons: Sequence[Comparison]) -> dict[int, Tensor]:
    """The cheaper systems that would be recommended if they were triggers: index to predictions (N,) on validation."""
    return {
        at: one.val
        for at, one in enumerate(comparisons)
        if one.system in CHEAPER and one.val is not None and judge.useful(one.val)
    }


def equal_rival(judge: ValidationJudge, chosen: Tensor, rivals: Mapping[int, Tensor]) -> int | None:
    """The fairest of the rivals that do as well as the chosen trigger on validation, as far as noise can tell."""
    equal = {at: one for at, one in rivals.items() if not judge.clearly_smaller(chosen, one)}
    return judge.fairest(equal) if equal else None


def certified_in_order(
    judge: ValidationJudge, predictions: Sequence[Tensor] | Tensor, strengths: Sequence[float]
) -> set[int]:
    """The strengths whose predictions (K, N) pass, tested from the weakest on until one fails."""
    found: set[int] = set()
    for k in sorted(range(len(strengths)), key=lambda k: strengths[k]):
        if judge.p_value(predictions[k]) > judge.criterion.select.delta:
            break
        found.add(k)
    return found


def _kept(judge: ValidationJudge, history: Sequence[Tensor], k: int) -> int:
    """The validation that an unproved trigger of strength k is taken from: its fairest useful one, else the best."""
    useful = {place: row[k] for place, row in enumerate(history) if judge.useful(row[k])}
    if useful:
        return judge.fairest(useful)
    return min(range(len(history)), key=lambda place: judge.criterion.rank(judge.score(history[place][k])))


def _front(scores: Sequence[ValidationScore], feasible: Iterable[int]) -> tuple[int, ...]:
    """By falling accuracy, those whose gap is below that of every more accurate one."""
    front: list[int] = []
    lowest = float("inf")
    for k in sorted(feasible, key=lambda k: (-scores[k].accuracy, scores[k].gap, k)):
        gap = scores[k].gap
        if gap is not None and gap < lowest:
            front.append(k)
            lowest = gap
    return tuple(front)


def _notes(
    judge: ValidationJudge,
    scores: Sequence[ValidationScore],
    records: Sequence[SelectionRecord],
    best: int | None,
    strengths: Sequence[float],
) -> tuple[str, ...]:
    """The nearest miss where nothing is recommended; a fairer trigger that is only promising beside a certified one."""
    every, ranks = range(len(records)), [judge.criterion.rank(score) for score in scores]
    if best is None:
        nearest = min(every, key=lambda k: ranks[k])
        return (f"No trigger is recommended. Nearest: strength {strengths[nearest]:g}; {records[nearest].reason}.",)
    fairer = [k for k in every if records[k].status == "promising" and ranks[k] < ranks[best]]
    if records[best].status == "certified" and fairer:
        k = min(fairer, key=lambda k: ranks[k])
        return (f"Fairer but not proved: strength {strengths[k]:g}, gap {scores[k].gap:.3f}; {records[k].sentence}.",)
    return ()
