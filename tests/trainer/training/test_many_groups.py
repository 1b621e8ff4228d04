"""Runs with more than two groups, overlapping groups and more than two labels: trained by configuration alone."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Literal

import pytest
import torch

from tests.trainer.datasets import many_groups
from tests.trainer.datasets.many_groups import IDENTITIES, PROBLEMS, Problem
from tests.trainer.runs import run_config
from trainer.config.run_config import Criterion, ObjectiveConfig, RunConfig, SelectConfig, TrainConfig
from trainer.evaluation.counts import ConfusionCounts
from trainer.evaluation.selection import selection_criterion, selection_gap
from trainer.progress import LineProgress
from trainer.publish import make_artifacts
from trainer.report.cost import Stopwatch
from trainer.report.report import ReportInputs, report_of, write_report
from trainer.training.build_module import build_module
from trainer.training.objectives.adversary import adversary_loss
from trainer.training.objectives.objective import cell_membership, distance_loss, stratum_membership
from trainer.training.objectives.objective_step import StepConfig
from trainer.training.step import TriggerOptimizer
from trainer.training.training_loop import TrainingRun
from trainer.training.trigger_training import train_triggers
from triggers.artifact.artifact import load_artifact, to_bytes
from triggers.model.classifier import FrozenClassifier
from triggers.model.reprogram import sweep
from triggers.store.version_card import evaluate

pytestmark = pytest.mark.slow
Name = Literal["adversarial", "gap"]
STRENGTHS: dict[Name, float] = {"gap": 100.0, "adversarial": 5.0}
STEPS = 100


@pytest.fixture(scope="module")
def classifiers(tmp_path_factory: pytest.TempPathFactory) -> dict[Problem, FrozenClassifier]:
    return {problem: many_groups.fitted(problem, tmp_path_factory.mktemp(problem)) for problem in PROBLEMS}


def config(problem: Problem, name: Name, criterion: Criterion, steps: int = STEPS) -> RunConfig:
    """A run whose only validation is at its end, so that what is reported is what the objective led to."""
    objective = ObjectiveConfig(name, criterion, (STRENGTHS[name],), adversary_lr=0.03)
    train = TrainConfig(steps=steps, batch_size=175, eval_every=steps, threads=1)
    made = run_config(objective, train=train, select=SelectConfig(max_accuracy_drop=0.1))
    if problem != "overlap":
        return made
    return replace(made, data=replace(made.data, group=IDENTITIES["overlap"], groups_overlap=True))


def measured(made: RunConfig, classifier: FrozenClassifier, counts: ConfusionCounts) -> float:
    """The judged gap of one table of counts."""
    gap = selection_gap(report_of(made, classifier, counts), made.objective.criterion)[1].value
    assert gap is not None
    return gap


@pytest.mark.parametrize("name", ["gap", "adversarial"])
@pytest.mark.parametrize("criterion", ["demographic_parity", "equalized_odds"])
@pytest.mark.parametrize("problem", PROBLEMS)
def test_training_lowers_the_gap_on_test(
    classifiers: dict[Problem, FrozenClassifier], problem: Problem, criterion: Criterion, name: Name
) -> None:
    """With the fairness loss's sign turned round the gap stays above 0.95 of the bare model's, or grows."""
    classifier, made = classifiers[problem], config(problem, name, criterion)
    outcome = train_triggers(made, classifier, many_groups.splits(problem), LineProgress(StringIO()))
    bare, trained = (
        measured(made, classifier, counts) for counts in (outcome.bare["test"], outcome.candidates[0].counts["test"])
    )
    assert bare > 0.2
    assert trained < 0.8 * bare


def test_an_overlapping_run_is_published_and_reported_as_such(
    tmp_path: Path, classifiers: dict[Problem, FrozenClassifier]
) -> None:
    classifier, made = classifiers["overlap"], config("overlap", "gap", "demographic_parity", steps=10)
    splits = many_groups.splits("overlap")
    outcome = train_triggers(made, classifier, splits, LineProgress(StringIO()))
    artifacts = make_artifacts(made, classifier, splits.tuning.identities, outcome)
    (artifact,) = artifacts
    manifest = load_artifact(to_bytes(artifact)).manifest
    assert (manifest.groups, manifest.groups_overlap) == (("tinted", "framed"), True)
    assert {row.group for row in manifest.evaluation} == {"none", "tinted", "framed", "tinted + framed"}
    report = evaluate(manifest, "test", trigger=True)
    assert report is not None and report.n == len(splits.test)
    assert report.groups["tinted"].n == int(splits.test.members[:, 0].sum())
    material = ReportInputs(made, classifier, outcome, artifacts, [], splits)
    write_report(tmp_path, material, Stopwatch(), LineProgress(StringIO()))
    written = json.loads((tmp_path / "metrics.json").read_text())
    bare, trained = (
        selection_gap(report_of(made, classifier, counts), "demographic_parity")[1].value
        for counts in (outcome.bare["test"], outcome.candidates[0].counts["test"])
    )
    assert bare is not None and trained is not None
    assert written["change"]["demographic_parity"]["value"] == pytest.approx(trained - bare)
    assert set(written["flips"]["groups"]) == {"tinted", "framed"}
    assert written["flips"]["groups"]["tinted"]["n"] == report.groups["tinted"].n
    assert written["candidates"][0]["splits"]["test"] == json.loads(json.dumps(report.to_dict()))


def test_configuration_alone_says_how_a_run_is_trained_and_judged(
    classifiers: dict[Problem, FrozenClassifier],
) -> None:
    classifier, made = classifiers["overlap"], config("overlap", "gap", "equalized_odds")
    run = TrainingRun.prepare(made, classifier, many_groups.splits("overlap"), LineProgress(StringIO()))
    assert run.optimizer.overlapping and run.optimizer.sizes == (2, 2)  # two identities, not four cells
    bare = run.val_rows.counts(run.val_rows.bare)
    assert selection_criterion(made, classifier, bare).bare.gap == report_of(made, classifier, bare).paper_eo.value
    assert (run.val_rows.groups, run.val_rows.overlapping) == (IDENTITIES["overlap"], True)
    plain = TrainingRun.prepare(
        config("three", "gap", "equalized_odds"), classifiers["three"], many_groups.splits("three"), run.progress
    )
    assert not plain.optimizer.overlapping and plain.optimizer.sizes == (2, 3)


@pytest.mark.parametrize("criterion", ["demographic_parity", "equalized_odds"])
def test_the_fairness_loss_is_that_of_overlapping_groups(
    classifiers: dict[Problem, FrozenClassifier], criterion: Criterion
) -> None:
    classifier, batch = classifiers["overlap"], many_groups.splits("overlap").tuning
    cells = cell_membership(batch.labels, batch.members, criterion, 2)
    for name in STRENGTHS:
        made = config("overlap", name, criterion)
        learner = TriggerOptimizer(
            classifier, build_module(made, classifier), made.train, StepConfig(made.objective, 2, 1, overlapping=True)
        )
        logits = sweep(classifier, batch.inputs, learner.module.render())
        if name == "gap":
            expected = distance_loss(logits, cells, stratum_membership(batch.labels, criterion, 2), 1.0)
        else:
            guesses = learner.adversaries(logits, batch.labels)
            expected = adversary_loss(guesses, batch.members, overlapping=True)
        assert torch.allclose(learner.step(0, batch).fairness, expected)


def test_the_adversary_of_overlapping_groups_guesses_each_on_its_own(
    classifiers: dict[Problem, FrozenClassifier],
) -> None:
    """Rows in both groups and in none, which a choice between the groups could not be right about."""
    classifier, made = classifiers["overlap"], config("overlap", "adversarial", "demographic_parity")
    made = replace(made, train=replace(made.train, lr=1e-9, schedule="constant"))  # triggers as good as fixed
    module = build_module(made, classifier)
    learner = TriggerOptimizer(classifier, module, made.train, StepConfig(made.objective, 2, 60, overlapping=True))
    tuning = many_groups.splits("overlap").tuning
    losses = [learner.step(number, tuning).fairness.item() for number in range(60)]
    assert losses[0] == pytest.approx(0.693, abs=0.05)  # chance is log(2) per identity
    assert losses[-1] < 0.65
    logits = sweep(classifier, tuning.inputs, classifier.bank([classifier.null_trigger()]))
    right = ((learner.adversaries(logits, tuning.labels)[0] > 0) == (tuning.members == 1)).float().mean(dim=0)
    assert (right > 0.55).all()
