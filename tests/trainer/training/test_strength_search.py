"""Strengths that a run finds itself: useful ones, the same after a kill, and trained like given ones."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest

from tests.trainer.datasets import comments, digits
from tests.trainer.runs import run_config
from tests.trainer.training.test_training_loop import Interrupted, Killed, parity, quiet, same
from trainer.config.run_config import ObjectiveConfig, RunConfig, SelectConfig, TrainConfig, TriggerConfig
from trainer.evaluation.balanced_accuracy import mean_recall
from trainer.evaluation.run_result import TrainingResult
from trainer.evaluation.strength_range import TRIED
from trainer.progress import LineProgress
from trainer.training.training_loop import TrainingRun
from trainer.training.trigger_training import train_triggers
from triggers.errors import ConfigError
from triggers.model.classifier import FrozenClassifier

pytestmark = pytest.mark.slow
SHORT = TrainConfig(steps=20, batch_size=48, eval_every=8, checkpoint_every=2, threads=1)
"""A search of 4 steps, then 16."""


def auto(name: str, train: TrainConfig = SHORT) -> RunConfig:
    return run_config(ObjectiveConfig(name, strengths="auto"), train=train)  # type: ignore[arg-type]


def strengths(result: TrainingResult) -> tuple[float, ...]:
    return tuple(candidate.strength for candidate in result.candidates)


@pytest.mark.parametrize("name", ["adversarial"])
def test_no_found_strength_is_as_useless_as_a_destructive_one(digits_classifier: FrozenClassifier, name: str) -> None:
    """160 destroys this model, 4 helps it."""
    config = auto(name, TrainConfig(steps=120, batch_size=128))
    fixed = replace(config, objective=replace(config.objective, strengths=(4.0, 160.0)))
    helped, destroyed = train_triggers(fixed, digits_classifier, digits.splits(), quiet()).candidates
    assert mean_recall(destroyed.counts["test"]) < 0.8 < mean_recall(helped.counts["test"])
    result = train_triggers(config, digits_classifier, digits.splits(), quiet())
    assert len(result.candidates) == len(TRIED)
    assert strengths(result)[0] < 4.0 < strengths(result)[-1] <= 25.0
    assert all(mean_recall(candidate.counts["test"]) > 0.8 for candidate in result.candidates)
    assert result.best is not None
    assert parity(result.candidates[result.best].counts["test"]) < 0.5 * parity(result.bare["test"])


def test_found_strengths_are_trained_as_given_ones(digits_classifier: FrozenClassifier) -> None:
    config = auto("gap")
    result = train_triggers(config, digits_classifier, digits.splits(), quiet())
    search = result.search
    assert search is not None and search.strengths == strengths(result)
    assert (search.steps, result.steps) == (4, 16)
    assert [trial.strength for trial in search.trials] == list(TRIED)
    given = replace(
        config,
        objective=replace(config.objective, strengths=search.strengths),
        train=replace(config.train, steps=16),
    )
    again = train_triggers(given, digits_classifier, digits.splits(), quiet())
    assert same(replace(result, notes=again.notes), again)
    assert again.search is None and search.seconds > 0
    assert result.notes == (*again.notes, search.note)
    assert search.note.startswith("Strengths found: ") and "for 4 steps on the tuning part" in search.note


def test_a_search_does_not_look_at_validation(digits_classifier: FrozenClassifier) -> None:
    """Other validation rows: other choices, the same search."""
    data = digits.splits()
    one, other = (
        train_triggers(auto("gap"), digits_classifier, replace(data, val=val), quiet()) for val in (data.val, data.test)
    )
    assert one.bare["val"] != other.bare["val"]
    assert one.search is not None and other.search is not None
    assert one.search.trials == other.search.trials


@pytest.mark.parametrize("after", [3, 17])
@pytest.mark.parametrize(("name", "folds"), [("adversarial", 1), ("gap", 2)])
def test_a_killed_run_goes_on_to_the_same_bits(
    tmp_path: Path, digits_classifier: FrozenClassifier, after: int, name: str, folds: int
) -> None:
    """Killed in the search, and after it."""
    config = replace(auto(name), select=SelectConfig(folds=folds, max_accuracy_drop=0.03))
    whole = train_triggers(config, digits_classifier, digits.splits(), quiet())
    path = tmp_path / "checkpoint.safetensors"
    with pytest.raises(Interrupted):
        train_triggers(config, digits_classifier, digits.splits(), Killed(after=after), path)
    log = StringIO()
    resumed = train_triggers(config, digits_classifier, digits.splits(), LineProgress(log), path)
    assert f"Going on after step {2 if after == 3 else 4} of 4" in log.getvalue()
    assert ("Going on after step 12 of 16" in log.getvalue()) is (after == 17)
    assert same(whole, resumed)
    assert whole.search and resumed.search and whole.search.trials == resumed.search.trials


def test_folds_share_the_strengths_of_one_search(digits_classifier: FrozenClassifier) -> None:
    config = replace(auto("gap"), select=SelectConfig(folds=2))
    log = StringIO()
    result = train_triggers(config, digits_classifier, digits.splits(), LineProgress(log))
    assert log.getvalue().count("search strengths") == 1
    assert result.search is not None and strengths(result) == result.search.strengths
    assert result.steps == 16


def test_texts_and_the_other_criterion(comments_classifier: FrozenClassifier) -> None:
    objective = ObjectiveConfig("gap", "equalized_odds", "auto")
    config = run_config(objective, trigger=TriggerConfig("hard", tokens=2), train=replace(SHORT, lr=0.1))
    result = train_triggers(config, comments_classifier, comments.splits(), quiet())
    assert result.search is not None and len(result.candidates) == len(TRIED)
    assert all(trial.gap is not None for trial in result.search.trials)


def test_a_run_of_given_strengths_is_not_taken_for_a_searched_one(
    tmp_path: Path, digits_classifier: FrozenClassifier
) -> None:
    path, config = tmp_path / "checkpoint.safetensors", auto("gap")
    given = replace(config, objective=replace(config.objective, strengths=(1.0, 5.0)))
    train_triggers(given, digits_classifier, digits.splits(), quiet(), path)
    with pytest.raises(ConfigError, match=r"strengths were given.*another --out"):
        train_triggers(config, digits_classifier, digits.splits(), quiet(), path)
    path.unlink()
    train_triggers(config, digits_classifier, digits.splits(), quiet(), path)
    with pytest.raises(ConfigError, match=r"objective.strengths was .*, is \[1.0, 5.0\]"):
        train_triggers(given, digits_classifier, digits.splits(), quiet(), path)


def test_only_after_the_search_a_divergence_ends_the_run(comments_classifier: FrozenClassifier) -> None:
    train = TrainConfig(steps=60, batch_size=32, lr=1e30, threads=1)
    config = run_config(ObjectiveConfig("gap", strengths="auto"), trigger=TriggerConfig("embedding"), train=train)
    log = StringIO()
    with pytest.raises(ConfigError, match=r"step 10 .*nan.*lower train.lr"):
        train_triggers(config, comments_classifier, comments.splits(), LineProgress(log))
    assert "from 0.1 accuracy collapses" in log.getvalue()


def test_open_strengths_are_refused_where_nothing_finds_them(digits_classifier: FrozenClassifier) -> None:
    with pytest.raises(ConfigError, match=r'objective.strengths is "auto", which only a whole run finds'):
        TrainingRun.prepare(auto("gap"), digits_classifier, digits.splits(), quiet())
