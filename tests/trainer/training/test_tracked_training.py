"""What trainings of every way hand to a tracker: names, steps, and figures that are those of the result."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO

import pytest

from tests.trainer.datasets import digits
from tests.trainer.progress.memory_tracker import MemoryTracker
from tests.trainer.runs import OVERLAY, run_config
from trainer.config.run_config import ObjectiveConfig, RunConfig, SelectConfig, TrainConfig
from trainer.evaluation import TrainingResult
from trainer.progress import LineProgress, RunTracker
from trainer.progress.run_figures import report_figures
from trainer.training import train_triggers
from triggers.metrics import evaluate_counts
from triggers.model import FrozenClassifier


def tracked(config: RunConfig, classifier: FrozenClassifier) -> tuple[TrainingResult, dict[str, dict[int, float]]]:
    """The result, and the values of every figure by step."""
    memory, progress = MemoryTracker(), LineProgress(StringIO())
    progress.tracker = RunTracker([memory], lambda _: None)
    result = train_triggers(config, classifier, digits.splits(), progress)
    progress.tracker.close("FINISHED")
    found: dict[str, dict[int, float]] = {}
    for figure in (one for batch in memory.batches for one in batch):
        assert figure.step not in found.setdefault(figure.name, {}), figure
        found[figure.name][figure.step] = figure.value
    return result, found


def test_found_strengths_and_the_search_for_them(digits_classifier: FrozenClassifier) -> None:
    train = TrainConfig(steps=33, batch_size=64, eval_every=9)
    config = run_config(ObjectiveConfig("gap", strengths="auto"), train=train)
    result, found = tracked(config, digits_classifier)
    assert list(found["search/loss/utility/strength-0.1"]) == list(range(1, 7))
    assert not any(name.startswith("search/val") for name in found)
    for one in result.candidates:
        name = f"strength-{one.strength:g}"
        assert list(found[f"loss/fairness/{name}"]) == list(range(1, 28))
        told = report_figures(evaluate_counts(one.counts["val"]).to_dict(), "val", name)
        assert told and told == {name: found[name][one.step] for name in told}


def test_every_fold_has_names_of_its_own(digits_classifier: FrozenClassifier) -> None:
    train, select = TrainConfig(steps=3, batch_size=64), SelectConfig(max_accuracy_drop=0.03, folds=2)
    found = tracked(run_config(ObjectiveConfig(strengths=(1.0,)), train=train, select=select), digits_classifier)[1]
    assert {name.split("/")[0] for name in found} == {"fold-1", "fold-2"}
    assert list(found["fold-2/loss/fairness/strength-1"]) == [1, 2, 3]


@pytest.mark.parametrize("strengths", [(20.0,), "auto"])
def test_a_training_from_scores(digits_classifier: FrozenClassifier, strengths: tuple[float, ...] | str) -> None:
    objective = ObjectiveConfig("gap", strengths=strengths, gradient="scores")  # type: ignore[arg-type]
    train = TrainConfig(steps=12, max_queries=20_000, lr=0.2)
    config = run_config(objective, trigger=replace(OVERLAY, frequencies=2), train=train)
    result, found = tracked(config, digits_classifier)
    one = result.candidates[-1]
    name = f"strength-{one.strength:g}"
    told = report_figures(evaluate_counts(one.counts["val"]).to_dict(), "val", name)
    assert told == {name: found[name][one.step] for name in told}
    assert min(found[f"loss/utility/{name}"]) == 1
    assert any(name.startswith("search/loss") for name in found) == (strengths == "auto")
