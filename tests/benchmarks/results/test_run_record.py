"""The record of a run, from its metrics: what validation chose of every system, and what the report recommends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.results.run_record import NOTHING, RunRecord, run_record
from tests.trainer.outcomes import counts, image_config, image_outcome, predictions
from tests.trainer.reports import material, summarised
from trainer.evaluation.comparison_record import Comparison
from trainer.evaluation.run_result import TrainingResult
from triggers.metrics import evaluate_counts
from triggers.model.classifier import FrozenClassifier


@pytest.fixture
def classifier(digits_classifier: FrozenClassifier) -> FrozenClassifier:
    return digits_classifier


def comparison(system: Any, gap: int, wrong: int = 20, *, chosen: bool = True) -> Comparison:
    found = {"val": counts(gap, wrong), "test": counts(gap + 1, wrong)}
    setting = f"gap {gap}"
    val = predictions(found["val"])
    return Comparison(system, setting, found, 1.0, 1.0, chosen=chosen, val=val, shift=0.5)


def recorded(
    outcome: TrainingResult, classifier: FrozenClassifier, folder: Path, comparisons: Sequence[Comparison] = ()
) -> RunRecord:
    finished = replace(outcome, comparisons=tuple(comparisons)).against_rivals()
    metrics = summarised(material(image_config(folder), classifier, finished))
    metrics["cost"] = {"phases": [["prepare", 1.0], ["train", 2.5]]}
    return RunRecord(run_record("attractive", 3, "overlay", None, metrics))


def test_counts_and_figures_are_those_of_the_metrics(classifier: FrozenClassifier, tmp_path: Path) -> None:
    found = recorded(image_outcome(), classifier, tmp_path, [comparison("adv_post", 12)])
    assert found.bare.counts == {cell: n for cell, n in counts(41).items() if n}
    assert found.systems["adv_post"].gap == evaluate_counts(counts(13)).demographic_parity_difference.value
    assert found.rows == (200, 200, 200) and found.label_shares() == {"low": 0.5, "high": 0.5}
    assert found.json["seconds"] == {"prepare": 1.0, "train": 2.5}


def test_the_triggers_row_is_the_fairest_setting_and_the_advice_the_reports(
    classifier: FrozenClassifier, tmp_path: Path
) -> None:
    found = recorded(image_outcome(best=1), classifier, tmp_path)
    assert found.systems["overlay"].gap == pytest.approx(0.11)  # strength 5
    assert (found.recommended, found.certified) == ("overlay", True)
    assert found.advised.gap == pytest.approx(0.21)  # strength 1, which the report recommends


def test_nothing_recommended_is_the_bare_model(classifier: FrozenClassifier, tmp_path: Path) -> None:
    found = recorded(image_outcome(best=None, front=()), classifier, tmp_path)
    assert (found.recommended, found.certified) == (NOTHING, False)
    assert found.advised is found.bare


def test_a_rival_that_does_as_well_is_what_the_report_recommends(classifier: FrozenClassifier, tmp_path: Path) -> None:
    found = recorded(image_outcome(), classifier, tmp_path, [comparison("threshold", 9, chosen=False)])
    assert (found.recommended, found.certified) == ("threshold", False)
    assert found.advised.gap == pytest.approx(0.10)


def test_a_rule_that_does_better_is_what_the_report_recommends(classifier: FrozenClassifier, tmp_path: Path) -> None:
    ones = [comparison("adv_post", 9), comparison("adv_in", 15), comparison("threshold", 39)]
    metrics = summarised(
        material(image_config(tmp_path), classifier, replace(image_outcome(), comparisons=tuple(ones)))
    )
    found = {"better": 0, "equal": [2], "unproved": [], "retrained": [1]}
    given = RunRecord(run_record("attractive", 3, "overlay", None, metrics | {"alternatives": found}))
    assert given.recommended == "adv_post" and given.advised.gap == pytest.approx(0.10)
    assert given.named == ["adv_in"]


def test_one_setting_stands_for_a_system_and_controls_without_a_use_are_left_out(
    classifier: FrozenClassifier, tmp_path: Path
) -> None:
    ones = [
        comparison("adv_post", 5, chosen=False),
        comparison("adv_post", 15),
        comparison("constant", 0),
        comparison("random", 39),
    ]
    found = recorded(image_outcome(), classifier, tmp_path, ones)
    assert list(found.systems) == ["overlay", "adv_post"]
    assert found.systems["adv_post"].gap == pytest.approx(0.16)  # validation's choice, not the smallest gap


def test_a_system_beyond_the_budget_on_validation_counts_as_the_bare_model(
    classifier: FrozenClassifier, tmp_path: Path
) -> None:
    found = recorded(image_outcome(), classifier, tmp_path, [comparison("adv_in", 40, wrong=25)])
    assert not found.systems["adv_in"].kept and found.systems["adv_in"].gap == found.bare.gap


def test_groups_that_overlap_are_refused(classifier: FrozenClassifier, tmp_path: Path) -> None:
    metrics = summarised(material(image_config(tmp_path), classifier, image_outcome()))
    metrics["config"]["data"]["groups_overlap"] = True
    with pytest.raises(ValueError, match="no tables for groups that overlap"):
        run_record("attractive", 3, "overlay", None, metrics)
