"""The terminal summary of runs that never happened: what it says first, and the word of every strength."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.trainer.outcomes import image_config, image_outcome
from tests.trainer.reports import material, written
from trainer.evaluation.comparison_record import Comparison
from trainer.evaluation.run_result import TrainingResult
from trainer.overview import print_summary
from trainer.publish import Published
from trainer.train import FinishedRun
from triggers.model.classifier import FrozenClassifier


def printed(
    folder: Path, classifier: FrozenClassifier, outcome: TrainingResult, capsys: pytest.CaptureFixture[str]
) -> str:
    config = image_config(folder)
    places = [Published(1.0, 7, "sha256:abc")] if outcome.best is not None else []
    given = material(config, classifier, outcome, places)
    files = written(folder, given)
    capsys.readouterr()
    print_summary(config, folder, FinishedRun(classifier, outcome, list(given.artifacts), places, files))
    return capsys.readouterr().out


def test_the_word_of_every_strength_and_what_the_words_mean(
    tmp_path: Path, image_model: FrozenClassifier, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = image_outcome()
    first, *rest = outcome.candidates
    doubtful = first.selection.model_copy(update={"status": "promising", "bound": None})
    outcome = replace(outcome, candidates=(replace(first, selection=doubtful), *rest))
    said = printed(tmp_path, image_model, outcome, capsys)
    assert said.startswith("Strength 1 is certified: with 90 % confidence it gains at least")
    rows = [re.split(r"\s+", line.strip(), maxsplit=9) for line in said.splitlines() if re.match(r" [015] ", line)]
    assert [(row[0], row[-1]) for row in rows] == [("0", "promising"), ("1", "certified, best, v7"), ("5", "certified")]
    assert rows[1][1:9] == [".700", ".700", ".200", ".200", ".695", ".695", ".210", ".210"]
    assert "bal: balanced accuracy" in said and "promising: within the budget" in said
    assert "Mind: Test rows were not predicted in pairs" in said
    assert f"Card: {tmp_path / 'model-card.md'}" in said and "list faces" in said


def test_something_cheaper_is_said_first(
    tmp_path: Path, image_model: FrozenClassifier, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = image_outcome()
    best = outcome.candidates[1]
    rival = Comparison("threshold", "shift +0.5", best.counts, 1.0, chosen=True, val=best.val, shift=0.5)
    outcome = replace(outcome, candidates=outcome.candidates[:2], comparisons=(rival,)).against_rivals()
    said = printed(tmp_path, image_model, outcome, capsys)
    assert said.startswith("A threshold shift (+.500 on the logit of attractive) does as well: use it instead of")
    assert "fairtrigger wrap --threshold 0.37754067;" in said  # on one line, to be copied
