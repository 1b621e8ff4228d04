"""Rules and retrained models beside the recommended trigger: who takes its place, who is only named."""

from __future__ import annotations

from dataclasses import replace

import pytest
from torch import Tensor

from tests.trainer.evaluation.strata import judged
from tests.trainer.evaluation.test_run_result import compared, result, unequal
from trainer.evaluation.alternatives import Alternatives
from trainer.evaluation.comparison_record import Comparison, System
from trainer.evaluation.recommendation import RULES, ValidationJudge
from trainer.evaluation.run_result import TrainingResult


def rule(judge: ValidationJudge, val: Tensor, system: System = "oxonfair", *, certified: bool = True) -> Comparison:
    record = judge.record(val, certified=certified)
    return replace(compared(judge, val, system), chosen=True, selection=record)


def against(trained: TrainingResult, *comparisons: Comparison) -> TrainingResult:
    return replace(trained, comparisons=comparisons).against_rivals()


def promising(trained: TrainingResult, judge: ValidationJudge) -> TrainingResult:
    """The same, had its tests not passed."""
    (one,) = trained.candidates
    return replace(trained, candidates=(replace(one, selection=judge.record(one.val, certified=False)),))


@pytest.mark.parametrize("system", RULES)
def test_a_rule_that_is_clearly_fairer_by_the_same_word_is_recommended_and_the_trigger_keeps_its_word(
    system: System,
) -> None:
    judge, (one, other) = judged(unequal(100, 300))
    trained = result(judge, one)
    found = against(trained, rule(judge, other, system))
    assert found.alternatives == Alternatives(better=0)
    assert (found.best, found.rival, found.candidates[0].selection) == (0, None, trained.candidates[0].selection)


def test_a_rule_that_does_as_well_leaves_the_trigger_recommended() -> None:
    judge, (one, other) = judged(unequal(100, 100))
    found = against(result(judge, one), rule(judge, other), rule(judge, other, "frappe", certified=False))
    assert found.alternatives == Alternatives(equal=(0, 1))
    assert found.best == 0


def test_what_is_not_proved_does_not_take_the_place_of_what_is() -> None:
    judge, (one, other) = judged(unequal(100, 300))
    found = against(result(judge, one), rule(judge, other, certified=False))
    assert found.alternatives == Alternatives(unproved=(0,))


def test_a_proved_rule_takes_the_place_of_a_trigger_that_is_not_unless_its_gap_is_clearly_larger() -> None:
    judge, (one, equal, small) = judged(unequal(150, 150, 40))
    trained = promising(result(judge, one), judge)
    assert against(trained, rule(judge, equal)).alternatives == Alternatives(better=0)
    assert against(trained, rule(judge, small)).alternatives == Alternatives()
    assert against(trained, rule(judge, equal, certified=False)).alternatives == Alternatives(equal=(0,))


def test_the_fairest_certified_rule_wins_and_equals_are_equal_to_it() -> None:
    judge, (one, fair, fairer, same) = judged(unequal(50, 150, 90, 1))
    both = fair | fairer  # mends what either mends
    ones = [rule(judge, fair), rule(judge, both, "frappe"), rule(judge, both | same, "linear_post", certified=False)]
    found = against(result(judge, one), *ones)
    assert found.alternatives == Alternatives(better=1, equal=(2,))


def test_only_what_validation_chose_and_would_recommend_counts() -> None:
    judge, (one, other) = judged(unequal(100, 300))
    unchosen = replace(rule(judge, other), chosen=False)
    useless = rule(judge, judge.rows.bare)
    hardt = rule(judge, other, "hardt")
    unknown = replace(rule(judge, other), val=None)
    assert against(result(judge, one), unchosen, useless, hardt, unknown).alternatives == Alternatives()


def test_the_luckiest_of_many_rules_has_to_be_clearer() -> None:
    """A gap that one rule alone would be recommended for, between 5 % and 5 % / 4."""
    judge, (one, near) = judged(unequal(100, 128))
    assert judge.clearly_smaller(near, one) and not judge.clearly_smaller(near, one, 4)
    alone = against(result(judge, one), rule(judge, near))
    many = against(result(judge, one), *(rule(judge, near, system) for system in RULES))
    assert alone.alternatives.better == 0
    assert many.alternatives.better is None


def test_where_no_trigger_is_recommended_a_useful_rule_is() -> None:
    judge, (one, other) = judged(unequal(1, 100))
    found = against(result(judge, one), rule(judge, other, certified=False))
    assert (found.best, found.alternatives) == (None, Alternatives(better=0))


def test_something_cheaper_yields_only_to_a_rule_that_is_clearly_fairer() -> None:
    judge, (one, other, fair) = judged(unequal(100, 100, 195))
    threshold = compared(judge, one)
    found = against(result(judge, one), threshold, rule(judge, other))
    assert (found.best, found.rival, found.alternatives) == (None, 0, Alternatives(equal=(1,)))
    found = against(result(judge, one), threshold, rule(judge, fair, certified=False))
    assert (found.best, found.rival, found.alternatives) == (None, 0, Alternatives(better=1))


def test_retrained_models_are_named_where_they_are_clearly_fairer_than_what_is_recommended() -> None:
    judge, (one, fair, other) = judged(unequal(50, 150, 195))
    model = replace(compared(judge, other, "adv_post"), chosen=True)
    assert against(result(judge, one), model).alternatives == Alternatives(retrained=(0,))
    found = against(result(judge, one), model, rule(judge, fair | other))
    assert found.alternatives == Alternatives(better=1)
    worse = replace(compared(judge, one, "adv_in"), chosen=True)
    assert against(result(judge, fair), worse).alternatives == Alternatives()
