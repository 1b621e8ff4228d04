"""The training loop on small real data: it lowers the gap, resumes bit by bit, and counts what it exports."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
import torch

from tests.trainer.datasets import comments, digits
from tests.trainer.runs import run_config
from trainer.config.run_config import (
    ObjectiveConfig,
    PublishConfig,
    RunConfig,
    SelectConfig,
    TrainConfig,
    TriggerConfig,
)
from trainer.data.dataset import Splits
from trainer.distributed import ProcessGroup
from trainer.evaluation.counts import ConfusionCounts, accuracy, confusion_counts
from trainer.evaluation.run_result import TrainingResult
from trainer.evaluation.selection import selection_criterion
from trainer.evaluation.validation_rows import ValidationRows
from trainer.progress import LineProgress, Task
from trainer.training.checkpoint import load_checkpoint, run_identity
from trainer.training.final_evaluation import final_result
from trainer.training.training_loop import TrainingRun, total_steps
from trainer.training.trigger_training import train_triggers
from trainer.training.validation_history import ValidationHistory
from triggers.errors import ConfigError
from triggers.metrics.fairness_report import evaluate_counts
from triggers.model.classifier import FrozenClassifier
from triggers.trigger.image import ImageTrigger
from triggers.trigger.text import TextTrigger

pytestmark = pytest.mark.slow
TEXT = TriggerConfig("hard", tokens=2)


def quiet() -> LineProgress:
    return LineProgress(StringIO())


class Interrupted(Exception):
    """What `Killed` raises in the middle of a run."""


class Killed(LineProgress):
    """A progress display that ends the run after so many steps, like a user's Ctrl-C."""

    def __init__(self, after: int) -> None:
        super().__init__(StringIO())
        self.left = after

    @contextmanager
    def task(self, title: str, total: int, done: int = 0) -> Iterator[Task]:
        with super().task(title, total, done) as task:
            yield Countdown(self, task)


class Countdown:
    def __init__(self, owner: Killed, task: Task) -> None:
        self.owner, self.task = owner, task

    def advance(self, parts: int = 1, **metrics: float) -> None:
        self.owner.left -= parts
        if self.owner.left == 0:
            raise Interrupted


def parity(counts: ConfusionCounts) -> float:
    gap = evaluate_counts(counts).demographic_parity_difference.value
    assert gap is not None
    return gap


def same(first: TrainingResult, second: TrainingResult) -> bool:
    """Equal to the last bit, but for the time it took."""
    for one, other in zip(first.candidates, second.candidates, strict=True):
        if (one.strength, one.step, one.counts) != (other.strength, other.step, other.counts):
            return False
        if one.selection != other.selection or not torch.equal(one.val, other.val):
            return False
        if isinstance(one.trigger, ImageTrigger) and isinstance(other.trigger, ImageTrigger):
            if not torch.equal(one.trigger.delta, other.trigger.delta):
                return False
        elif isinstance(one.trigger, TextTrigger) and isinstance(other.trigger, TextTrigger):
            if not torch.equal(one.trigger.embeddings, other.trigger.embeddings):
                return False
    return (first.best, first.front, first.notes, first.bare) == (second.best, second.front, second.notes, second.bare)


def short(name: str, modality: str) -> tuple[RunConfig, Splits]:
    """A run of 12 steps with a validation and a checkpoint every 4."""
    objective = ObjectiveConfig(name, strengths=(1.0, 5.0))  # type: ignore[arg-type]
    train = TrainConfig(steps=12, batch_size=48, eval_every=4, threads=1)
    if modality == "image":
        return run_config(objective, train=train), digits.splits()
    return run_config(objective, trigger=TEXT, train=replace(train, lr=0.1)), comments.splits()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_recommended_trigger_halves_the_gap_on_test(tmp_path: Path, seed: int) -> None:
    classifier = digits.fitted(tmp_path, seed)
    train = TrainConfig(steps=120, batch_size=128, seed=seed)
    objective = ObjectiveConfig("gap", strengths=(1.0, 5.0, 20.0))
    outcome = train_triggers(run_config(objective, train=train), classifier, digits.splits(seed), quiet())
    assert outcome.best is not None
    bare, best = outcome.bare["test"], outcome.candidates[outcome.best].counts["test"]
    assert parity(best) < 0.5 * parity(bare)
    assert accuracy(best) > accuracy(bare) - 0.03


def test_text_too(comments_classifier: FrozenClassifier) -> None:
    train = TrainConfig(steps=40, batch_size=128, lr=0.1)
    config = run_config(ObjectiveConfig("gap", strengths=(1.0, 20.0)), trigger=TEXT, train=train)
    outcome = train_triggers(config, comments_classifier, comments.splits(), quiet())
    assert outcome.best is not None
    bare, best = outcome.bare["test"], outcome.candidates[outcome.best].counts["test"]
    assert parity(best) < 0.5 * parity(bare)
    assert accuracy(best) > accuracy(bare) - 0.03


def test_counts_are_those_of_the_exported_triggers(digits_classifier: FrozenClassifier) -> None:
    config, splits = short("gap", "image")
    outcome = train_triggers(config, digits_classifier, splits, quiet())
    bank = digits_classifier.bank([candidate.trigger for candidate in outcome.candidates])
    for split, data in (("val", splits.val), ("test", splits.test)):
        counted = confusion_counts(digits_classifier, data, bank, 64)
        assert [candidate.counts[split] for candidate in outcome.candidates] == counted
    assert sum(outcome.data_counts["tuning"].values()) == len(splits.tuning)
    assert outcome.steps == 12


@pytest.mark.parametrize("name", ["gap", "adversarial"])
@pytest.mark.parametrize("modality", ["image", "text"])
def test_an_interrupted_run_goes_on_to_the_same_bits(
    request: pytest.FixtureRequest, tmp_path: Path, name: str, modality: str
) -> None:
    classifier = request.getfixturevalue("digits_classifier" if modality == "image" else "comments_classifier")
    config, splits = short(name, modality)
    whole = train_triggers(config, classifier, splits, quiet())
    path = tmp_path / "checkpoint.safetensors"
    with pytest.raises(Interrupted):
        train_triggers(config, classifier, splits, Killed(after=6), path)
    parts = {"tuning": splits.tuning, "val": splits.val}
    stopped = load_checkpoint(path, run_identity(config, classifier, parts))
    assert stopped is not None and stopped.step == 4  # two steps of work are lost and done again
    assert same(whole, train_triggers(config, classifier, splits, quiet(), path))


def test_a_finished_run_only_repeats_its_outcome(tmp_path: Path, digits_classifier: FrozenClassifier) -> None:
    config, splits = short("gap", "image")
    path = tmp_path / "checkpoint.safetensors"
    first = train_triggers(config, digits_classifier, splits, quiet(), path)
    log = StringIO()
    assert same(first, train_triggers(config, digits_classifier, splits, LineProgress(log), path))
    assert "Going on after step 12 of 12" in log.getvalue()


def test_a_checkpoint_belongs_to_its_run(tmp_path: Path, digits_classifier: FrozenClassifier) -> None:
    config, splits = short("gap", "image")
    path = tmp_path / "checkpoint.safetensors"
    train_triggers(config, digits_classifier, splits, quiet(), path)
    with pytest.raises(ConfigError, match=r"objective.criterion was 'demographic_parity', is 'equalized_odds'"):
        changed = replace(config, objective=replace(config.objective, criterion="equalized_odds"))
        train_triggers(changed, digits_classifier, splits, quiet(), path)
    with pytest.raises(ConfigError, match="data_digest"):
        train_triggers(config, digits_classifier, replace(splits, tuning=splits.val), quiet(), path)
    free = replace(config, publish=PublishConfig("elsewhere"), select=replace(config.select, publish="all"))
    train_triggers(free, digits_classifier, splits, quiet(), path)


def test_the_same_run_twice_gives_the_same_bits(digits_classifier: FrozenClassifier) -> None:
    config, splits = short("adversarial", "image")
    first, second = (train_triggers(config, digits_classifier, splits, quiet()) for _ in range(2))
    other = train_triggers(replace(config, train=replace(config.train, seed=1)), digits_classifier, splits, quiet())
    assert same(first, second)
    assert not same(first, other)


def test_an_unproved_strength_keeps_its_best_validation(digits_classifier: FrozenClassifier) -> None:
    """No recall may fall at all, in no group; one always does."""
    config, splits = short("gap", "image")
    long = replace(config.train, steps=60, eval_every=3, lr=0.3, schedule="constant")
    config = replace(config, train=long, select=SelectConfig(0.0, "recall"))
    run = TrainingRun.prepare(config, digits_classifier, splits, quiet())
    history, rows = ValidationHistory(run.optimizer.average), run.val_rows
    run.train(history)
    result = final_result(run, rows, history.predictions, history.restore_module, history.steps)
    criterion = selection_criterion(config, digits_classifier, rows.counts(rows.bare))
    assert len(history.steps) == 20
    for k, kept in enumerate(result.candidates):
        ranks = [criterion.rank(criterion.score(rows.counts(found[k]))) for found in history.predictions]
        place = ranks.index(min(ranks))
        assert (kept.selection.status, kept.step) == ("not recommended", history.steps[place])
        assert torch.equal(kept.val, history.predictions[place][k])
        assert kept.counts["val"] == rows.counts(kept.val)
    assert min(kept.step for kept in result.candidates) < 60


def test_only_preparing_a_run_looks_at_the_data(digits_classifier: FrozenClassifier) -> None:
    config, splits = short("gap", "image")
    seen: list[int] = []
    hook = digits_classifier.network.register_forward_hook(lambda *_: seen.append(1))
    try:
        rows = ValidationRows.of(splits.val, splits.val.labels, overlapping=False)
        TrainingRun(config, digits_classifier, splits, quiet(), ProcessGroup(), rows, temperature=1.0)
        assert not seen
        TrainingRun.prepare(config, digits_classifier, splits, quiet())
        assert seen
    finally:
        hook.remove()


def test_a_run_that_diverges_stops_and_says_what_to_change(comments_classifier: FrozenClassifier) -> None:
    train = TrainConfig(steps=20, batch_size=32, lr=1e30)
    config = run_config(ObjectiveConfig("gap", strengths=(1.0,)), trigger=TriggerConfig("embedding"), train=train)
    with pytest.raises(ConfigError, match=r"step 10 .*nan.*lower train.lr"):
        train_triggers(config, comments_classifier, comments.splits(), quiet())


@pytest.mark.parametrize(
    ("train", "rows", "expected"),
    [
        (TrainConfig(steps=7), 1000, 7),
        (TrainConfig(epochs=3, batch_size=256), 1000, 12),
        (TrainConfig(batch_size=250), 1000, 80),
        (TrainConfig(epochs=2, batch_size=256), 100, 2),
    ],
)
def test_steps_of_a_run(train: TrainConfig, rows: int, expected: int) -> None:
    assert total_steps(train, rows) == expected
