"""What validation puts beside the recommended trigger: rules that do better or as well, models that were retrained.

A rule on the frozen model's outputs is recommended in the trigger's place where its gap is clearly smaller by the same
word, or where it is certified, the trigger is only promising and its gap is not clearly larger. Where it does as well,
the trigger stays: it is what the service serves. Of several rules the luckiest looks better than it is, which
`clearly` allows for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from trainer.evaluation.comparison_record import Comparison
from trainer.evaluation.recommendation import RETRAINED, RULES, ValidationJudge
from triggers.artifact.selection_record import SelectionStatus


@dataclass(frozen=True)
class Alternatives:
    """Indices into the comparisons of a run, each the setting that validation chose of its system.

    `better` is recommended instead of any trigger. `equal` do as well as what is recommended; `unproved` have a clearly
    smaller gap than that, but are promising where it is certified. `retrained` have a clearly smaller gap, for those who
    may change the weights.
    """

    better: int | None = None
    equal: tuple[int, ...] = ()
    unproved: tuple[int, ...] = ()
    retrained: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Incumbent:
    """The recommendation without rules: predictions (N,) on validation, and their word; None: something cheaper, which
    wins whatever is not clearly better.
    """

    val: Tensor
    status: SelectionStatus | None


def find_alternatives(
    judge: ValidationJudge, comparisons: Sequence[Comparison], incumbent: Incumbent | None
) -> Alternatives:
    """Hold every rule and retrained model against what is recommended without them, if anything is."""
    rules, words = _useful(judge, comparisons, RULES)
    better = {at: val for at, val in rules.items() if _wins(judge, incumbent, val, words[at], len(rules))}
    certified = {at: val for at, val in better.items() if words[at] == "certified"}
    best = judge.fairest(certified or better) if better else None
    chosen = rules[best] if best is not None else incumbent.val if incumbent else None
    others = {at: val for at, val in rules.items() if at != best}
    fairer = {at for at, val in others.items() if _clear(judge, val, chosen, len(rules))}
    models, _ = _useful(judge, comparisons, RETRAINED)
    return Alternatives(
        best,
        tuple(at for at, val in others.items() if at not in fairer and not _clear(judge, chosen, val)),
        tuple(sorted(fairer)),
        tuple(at for at, val in models.items() if chosen is None or _clear(judge, val, chosen, len(models))),
    )


def _useful(
    judge: ValidationJudge, comparisons: Sequence[Comparison], systems: Sequence[str]
) -> tuple[dict[int, Tensor], dict[int, SelectionStatus]]:
    """The chosen settings of some systems that would be recommended if they were triggers, and their words."""
    found: dict[int, Tensor] = {}
    words: dict[int, SelectionStatus] = {}
    for at, one in enumerate(comparisons):
        if one.system in systems and one.chosen and one.val is not None:
            status = (one.selection or judge.record(one.val, certified=False)).status
            if status != "not recommended":
                found[at], words[at] = one.val, status
    return found, words


def _wins(judge: ValidationJudge, incumbent: Incumbent | None, val: Tensor, word: SelectionStatus, among: int) -> bool:
    """Whether a rule takes the recommendation."""
    if incumbent is None:
        return True
    if incumbent.status in (None, word):
        return judge.clearly_smaller(val, incumbent.val, among)
    return word == "certified" and not judge.clearly_smaller(incumbent.val, val)


def _clear(judge: ValidationJudge, one: Tensor | None, other: Tensor | None, among: int = 1) -> bool:
    """Whether one's gap is clearly smaller; that of nobody never is."""
    return one is not None and other is not None and judge.clearly_smaller(one, other, among)
