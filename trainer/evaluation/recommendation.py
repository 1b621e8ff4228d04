"""The recommendation of a trigger on validation, and the standing of every trigger: what is proved about its losses.

certified         tested, and within the budget with probability 1 - delta (trainer/evaluation/certification.py)
promising         within the budget and above every floor as counted, not proved
not recommended   beyond the budget, below a floor, or with a gap that is not clearly smaller than the bare model's

Among certified triggers, or if there are none among promising ones, the smallest gap wins; gaps that differ by less
than TIE standard deviations of their difference are equal, and the smaller loss wins. The test split is never used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from torch import Tensor

from trainer.evaluation.certification import (
    PairedSet,
    loss_bound,
    loss_p_value,
    recall_p_value,
    rows_needed,
)
from trainer.evaluation.paired_effects import gap_noise
from trainer.evaluation.selection import FEW_HITS, RecallCell, SelectionCriterion, ValidationScore
from trainer.evaluation.validation_rows import ValidationRows

_Key = TypeVar("_Key", int, tuple[int, int])
Status = Literal["certified", "promising", "not recommended"]
MEASURES = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "recall": "a recall"}
TIE = 1.0
"""Standard deviations of a difference of two gaps below which they count as equal."""
CLEAR = 1.645
"""Standard deviations by which a gap has to be below another one to be clearly smaller (5 %, one-sided)."""


@dataclass(frozen=True)
class Standing:
    """What validation says of one system. `bound`: the loss is less with probability 1 - delta, if that was tested.

    `rows_needed`: validation rows, about, that would prove its budget; None: proved, or beyond the budget.
    """

    status: Status
    score: ValidationScore
    rows: int
    bound: float | None = None
    rows_needed: int | None = None
    reason: str = ""


@dataclass(frozen=True)
class Selection:
    """Per strength the validation that its trigger is taken from, and that trigger's standing.

    Indices of strengths: the recommended one, and the trade-off front in order of accuracy. `notes` say why in words.
    """

    places: tuple[int, ...]
    standings: tuple[Standing, ...]
    best: int | None
    front: tuple[int, ...]
    notes: tuple[str, ...] = ()


class ValidationJudge:
    """Judges predictions on the validation rows by a selection criterion."""

    def __init__(self, criterion: SelectionCriterion, rows: ValidationRows) -> None:
        self.criterion, self.rows = criterion, rows

    def score(self, predictions: Tensor) -> ValidationScore:
        """Figures of predictions (N,)."""
        return self.criterion.score(self.rows.counts(predictions))

    def p_value(self, predictions: Tensor) -> float:
        """P-value of the null hypothesis that the budget is broken, or a label's recall is at its floor or below."""
        select, sets = self.criterion.select, self._sets(predictions)
        match select.measure:
            case "accuracy":
                tested = [[_total(sets)]]
            case "balanced_accuracy":
                tested = [_per_label(sets)]
            case "recall":
                tested = [[one] for one in sets.values()]
        losses = [loss_p_value(each, select.max_accuracy_drop) for each in tested]
        return max(*losses, *self._recall_p_values(predictions), 0.0)

    def loss_sets(self, predictions: Tensor) -> list[PairedSet]:
        """The sets of rows whose mean loss is the loss in the selection's measure; of recalls the worst one."""
        sets = self._sets(predictions)
        match self.criterion.select.measure:
            case "accuracy":
                return [_total(sets)]
            case "balanced_accuracy":
                return _per_label(sets)
            case "recall":
                return [max(sets.values(), key=lambda one: one.loss)]

    def clearly_smaller(self, one: Tensor, other: Tensor) -> bool:
        """Whether the gap of one's predictions (N,) is below that of the other's by more than noise."""
        return self._difference(one, other) < -CLEAR * self._deviation(one, other)

    def fairest(self, candidates: Mapping[_Key, Tensor]) -> _Key:
        """The one with the smallest gap, or with a smaller loss among those whose gaps equal it but for noise."""
        scores = {key: self.score(predictions) for key, predictions in candidates.items()}
        first = min(candidates, key=lambda key: self.criterion.rank(scores[key]))
        equal = [key for key, predictions in candidates.items() if not self._larger(predictions, candidates[first])]
        return min(equal, key=lambda key: (scores[key].loss, self.criterion.rank(scores[key])))

    def standing(self, predictions: Tensor, *, certified: bool) -> Standing:
        """What validation says of predictions (N,), which were `certified` in the order of all tests or not."""
        score, select = self.score(predictions), self.criterion.select
        lacking = self._lacking(predictions, score)
        if lacking:
            return Standing("not recommended", score, len(self.rows), reason=lacking)
        sets, budget = self.loss_sets(predictions), select.max_accuracy_drop
        if certified:
            return Standing("certified", score, len(self.rows), min(loss_bound(sets, select.delta), budget))
        share, needed = sum(one.rows for one in sets) / len(self.rows), rows_needed(sets, budget, select.delta)
        return Standing("promising", score, len(self.rows), rows_needed=needed and round(needed / share))

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
            if bare >= FEW_HITS:
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
    keys = [(place, k) for place in range(len(history)) for k in range(len(strengths))]
    predictions = {(place, k): history[place][k] for place, k in keys}
    useful = [key for key in keys if judge.useful(predictions[key])]
    certified = certified_keys(judge, predictions, len(history), strengths)
    places = tuple(_kept(judge, predictions, useful, certified, len(history), k) for k in range(len(strengths)))
    kept = [(place, k) for k, place in enumerate(places)]
    standings = tuple(judge.standing(predictions[key], certified=key in certified) for key in kept)
    best = _best(judge, {k: predictions[key] for k, key in enumerate(kept)}, standings)
    front = _front(
        [one.score for one in standings], [k for k, one in enumerate(standings) if judge.criterion.feasible(one.score)]
    )
    return Selection(places, standings, best, front, tuple(_notes(judge, standings, best, strengths)))


def certified_keys(
    judge: ValidationJudge, predictions: Mapping[tuple[int, int], Tensor], places: int, strengths: Sequence[float]
) -> set[tuple[int, int]]:
    """The (place, strength) that are certified: tested from the weakest strength on, after the last step."""
    found: set[tuple[int, int]] = set()
    for k in sorted(range(len(strengths)), key=lambda k: strengths[k]):
        key = (places - 1, k)
        if judge.p_value(predictions[key]) > judge.criterion.select.delta:
            break
        found.add(key)
    return found


def _kept(
    judge: ValidationJudge,
    predictions: Mapping[tuple[int, int], Tensor],
    useful: Sequence[tuple[int, int]],
    certified: set[tuple[int, int]],
    places: int,
    k: int,
) -> int:
    """The validation that strength k is taken from: the fairest of its certified, else of its useful triggers."""
    own = [key for key in useful if key[1] == k]
    for among in ([key for key in own if key in certified], own):
        if among:
            return judge.fairest({key: predictions[key] for key in among})[0]
    return min(range(places), key=lambda place: judge.criterion.rank(judge.score(predictions[place, k])))


def _best(judge: ValidationJudge, predictions: Mapping[int, Tensor], standings: Sequence[Standing]) -> int | None:
    for status in ("certified", "promising"):
        among = {k: predictions[k] for k, one in enumerate(standings) if one.status == status}
        if among:
            return judge.fairest(among)
    return None


def _front(scores: Sequence[ValidationScore], feasible: Sequence[int]) -> tuple[int, ...]:
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
    judge: ValidationJudge, standings: Sequence[Standing], best: int | None, strengths: Sequence[float]
) -> list[str]:
    if best is None:
        nearest = min(range(len(standings)), key=lambda k: judge.criterion.rank(standings[k].score))
        return [f"No trigger is recommended. Nearest: strength {strengths[nearest]:g}; {standings[nearest].reason}."]
    return []


def _total(sets: Mapping[RecallCell, PairedSet]) -> PairedSet:
    everybody = _per_label(sets)
    return PairedSet(*(sum(getattr(one, name) for one in everybody) for name in ("rows", "broken", "mended")))


def _per_label(sets: Mapping[RecallCell, PairedSet]) -> list[PairedSet]:
    return [one for (_, group), one in sets.items() if group is None]
