"""Results held against everything cheaper: a trigger is recommended only if it is clearly fairer on validation."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from tests.artifacts import image_trigger
from tests.trainer.evaluation.strata import Stratum, judged
from tests.trainer.outcomes import image_outcome
from trainer.config.run_config import SelectConfig
from trainer.evaluation.comparison_record import Comparison, System
from trainer.evaluation.recommendation import ValidationJudge, select_triggers
from trainer.evaluation.run_result import Candidate, TrainingResult

NONE_LOST = SelectConfig(0.5, "accuracy", min_recall_ratio=0.0)
"""Settings under which the constant answer would be recommended."""


def unequal(*mended: int) -> list[Stratum]:
    """1,000 rows of each label in each group; of label 1 in group a 400 are missed, of which system n finds mended[n].

    Each finds the first ones of those that the systems before it did not find, so that no two find the same.
    """
    every = range(len(mended))
    return [
        *(("a", 1, n, [0, *(int(k == own) for k in every)]) for own, n in enumerate(mended)),
        ("a", 1, 400 - sum(mended), [0, *(0 for _ in every)]),
        ("a", 1, 600, [1, *(1 for _ in every)]),
        ("b", 1, 1000, [1, *(1 for _ in every)]),
        ("a", 0, 1000, [0, *(0 for _ in every)]),
        ("b", 0, 1000, [0, *(0 for _ in every)]),
    ]


def compared(judge: ValidationJudge, val: Tensor, system: System = "threshold") -> Comparison:
    return Comparison(system, "shift +0.5", {"val": judge.rows.counts(val)}, 1.0, val=val)


def result(judge: ValidationJudge, *found: Tensor) -> TrainingResult:
    """Of strengths 1, 2 ..., with nothing to compare them to."""
    strengths = [float(k + 1) for k in range(len(found))]
    chosen = select_triggers(judge, [torch.stack(found)], strengths)
    candidates = tuple(
        Candidate(strength, 10, image_trigger("overlay"), {"val": judge.rows.counts(val)}, record, val)
        for strength, val, record in zip(strengths, found, chosen.records, strict=True)
    )
    bare = {"val": judge.rows.counts(judge.rows.bare)}
    return TrainingResult(bare, candidates, chosen.best, chosen.front, {}, 10, 1.0, "cpu", chosen.notes, judge)


def against(trained: TrainingResult, *comparisons: Comparison) -> TrainingResult:
    return replace(trained, comparisons=comparisons).against_rivals()


def test_a_threshold_that_does_exactly_the_same_is_the_rival() -> None:
    judge, (one,) = judged(unequal(200))
    trained = result(judge, one)
    assert (trained.best, trained.candidates[0].selection.status) == (0, "certified")
    found = against(trained, compared(judge, one))
    assert (found.best, found.rival) == (None, 0)
    reason = "threshold shift (shift +0.5; gap 0.100, gains 0.050 of balanced accuracy) does as well on validation"
    assert found.notes == (f"No trigger is recommended: {reason}.",)
    (record,) = (candidate.selection for candidate in found.candidates)
    assert (record.status, record.reason) == ("not recommended", reason)
    assert record.sentence == f"not recommended: {reason}"


def test_the_fairest_of_those_that_do_as_well_is_the_rival() -> None:
    """Gaps of .1 for the trigger, .115 and .11 for two random ones, which differ by noise, and .19 for a third."""
    judge, (one, first, second, third) = judged(unequal(100, 92, 95, 10))
    rivals = [compared(judge, val, "random") for val in (third, first, second)]
    found = against(result(judge, one), *rivals)
    assert (found.best, found.rival) == (None, 2)


def test_a_trigger_that_is_clearly_fairer_stays() -> None:
    judge, (one, other) = judged(unequal(200, 100))
    assert judge.useful(other)
    trained = result(judge, one)
    found = against(trained, compared(judge, other), compared(judge, judge.rows.bare, "strength_zero"))
    assert (found.best, found.rival, found.notes) == (0, None, trained.notes)
    assert found.candidates[0].selection == trained.candidates[0].selection


def test_an_answer_that_is_always_the_same_is_a_rival_only_where_the_floors_allow_it() -> None:
    for select, best in ((SelectConfig(), 0), (NONE_LOST, None)):
        judge, (one,) = judged(unequal(200), select)
        found = against(result(judge, one), compared(judge, torch.zeros_like(one), "constant"))
        assert (found.best, found.rival) == (best, None if best == 0 else 0)


def test_what_is_not_cheaper_is_no_rival() -> None:
    """Whole models that were trained for fairness, thresholds that need a trigger to be found, unknown predictions."""
    judge, (one,) = judged(unequal(200))
    trained = result(judge, one)
    for system in ("adv_post", "adv_in", "threshold_matched"):
        assert against(trained, compared(judge, one, system)).best == 0
    assert against(trained, replace(compared(judge, one), val=None)).best == 0
    assert replace(trained, judge=None, comparisons=(compared(judge, one),)).against_rivals().best == 0


def test_where_no_trigger_is_recommended_anything_useful_is_better() -> None:
    judge, (one, other) = judged(unequal(1, 100))
    trained = result(judge, one)
    assert trained.best is None
    found = against(trained, compared(judge, judge.rows.bare), compared(judge, other, "random"))
    assert (found.best, found.rival) == (None, 1)
    assert found.notes == trained.notes
    assert against(trained, compared(judge, judge.rows.bare)).rival is None


def test_every_trigger_has_to_beat_what_is_cheaper_not_only_the_best() -> None:
    judge, (weak, strong, cheap) = judged(unequal(60, 200, 60))
    trained = result(judge, weak, strong)
    assert [one.selection.status for one in trained.candidates] == ["certified", "certified"]
    found = against(trained, compared(judge, cheap))
    assert (found.best, found.rival) == (1, None)
    assert [one.selection.status for one in found.candidates] == ["not recommended", "certified"]


def test_another_trigger_that_beats_it_takes_the_place() -> None:
    """Selection preferred strength 1, with a gap of 20 out of 100; a threshold has it too, strength 5 has 10."""
    outcome = image_outcome()
    assert outcome.judge is not None
    found = against(outcome, compared(outcome.judge, outcome.candidates[1].val))
    assert (found.best, found.rival) == (2, None)
    assert [one.selection.status for one in found.candidates] == ["not recommended", "not recommended", "certified"]
    assert found.notes[0].startswith("Instead of strength 1, 5 is recommended: threshold shift (shift +0.5; gap 0.200")
