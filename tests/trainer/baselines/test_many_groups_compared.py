"""Baselines and controls where groups overlap, are three, or labels are four: by configuration alone."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO

import pytest

from tests.trainer.datasets import many_groups
from tests.trainer.datasets.many_groups import IDENTITIES, PROBLEMS, Problem
from tests.trainer.runs import run_config
from trainer.baselines.baselines import train_baselines
from trainer.baselines.controls import run_controls
from trainer.config.comparison_config import BaselinesConfig
from trainer.config.run_config import Criterion, ObjectiveConfig, RunConfig, SelectConfig, TrainConfig
from trainer.evaluation.counts import ConfusionCounts, confusion_counts
from trainer.evaluation.selection import selection_gap
from trainer.progress import LineProgress
from trainer.report.report import report_of
from trainer.training.trigger_training import train_triggers
from triggers.artifact.manifest import ObjectiveName
from triggers.model.classifier import FrozenClassifier

pytestmark = pytest.mark.slow
QUIET = LineProgress(StringIO())
STRENGTHS: dict[ObjectiveName, float] = {"gap": 100.0, "adversarial": 3.0}


@pytest.fixture(scope="module")
def classifiers(tmp_path_factory: pytest.TempPathFactory) -> dict[Problem, FrozenClassifier]:
    return {problem: many_groups.fitted(problem, tmp_path_factory.mktemp(problem)) for problem in PROBLEMS}


def config(problem: Problem, name: ObjectiveName, criterion: Criterion) -> RunConfig:
    """Baselines that are validated at their end only, so that the objective decides what is reported."""
    objective = ObjectiveConfig(name, criterion, (STRENGTHS[name],), projection=False)
    train = TrainConfig(steps=4, batch_size=175, threads=1)
    made = run_config(objective, train=train, select=SelectConfig(max_accuracy_drop=0.1))
    baselines = BaselinesConfig(("adv_post",), epochs=20, batch_size=175, lr=2e-3, eval_every=1000)
    made = replace(made, baselines=baselines)
    if problem != "overlap":
        return made
    return replace(made, data=replace(made.data, group=IDENTITIES["overlap"], groups_overlap=True))


def measured(made: RunConfig, classifier: FrozenClassifier, counts: ConfusionCounts) -> float:
    gap = selection_gap(report_of(made, classifier, counts), made.objective.criterion)[1].value
    assert gap is not None
    return gap


@pytest.mark.parametrize("name", ["gap", "adversarial"])
@pytest.mark.parametrize("criterion", ["demographic_parity", "equalized_odds"])
@pytest.mark.parametrize("problem", PROBLEMS)
def test_adv_post_lowers_the_gap(
    classifiers: dict[Problem, FrozenClassifier], problem: Problem, criterion: Criterion, name: ObjectiveName
) -> None:
    classifier, made, splits = classifiers[problem], config(problem, name, criterion), many_groups.splits(problem)
    bank = classifier.bank([classifier.null_trigger()])
    before = measured(made, classifier, confusion_counts(classifier, splits.test, bank, 128)[0])
    (one,) = train_baselines(made, classifier, splits, QUIET).comparisons
    assert measured(made, classifier, one.counts["test"]) < 0.5 * before


@pytest.mark.parametrize("problem", PROBLEMS)
def test_controls_count_every_row_once(classifiers: dict[Problem, FrozenClassifier], problem: Problem) -> None:
    classifier, made, splits = (
        classifiers[problem],
        config(problem, "gap", "equalized_odds"),
        many_groups.splits(problem),
    )
    outcome = train_triggers(made, classifier, splits, QUIET)
    for one in run_controls(made, classifier, splits, outcome, QUIET):
        assert sum(one.counts["test"].values()) == len(splits.test)
        if one.system == "constant":
            assert measured(made, classifier, one.counts["test"]) == 0
        if one.system == "threshold" and one.chosen:
            bare = measured(made, classifier, outcome.bare["val"])
            assert measured(made, classifier, one.counts["val"]) <= bare
