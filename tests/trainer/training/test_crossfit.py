"""Cross-fitting: every row validates once, copies stay together, a killed run goes on, the choice is honest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.trainer.datasets import comments, digits
from tests.trainer.runs import run_config
from tests.trainer.training.test_training_loop import Interrupted, Killed, parity, quiet, same
from trainer.config.run_config import ObjectiveConfig, SelectConfig, TrainConfig, TriggerConfig
from trainer.evaluation.counts import accuracy, confusion_counts, predicted_labels
from trainer.training.crossfit import assign_folds, concatenate, fold_path, train_folds
from trainer.training.trigger_training import train_triggers
from triggers.model.classifier import FrozenClassifier

pytestmark = pytest.mark.slow
FOLDS = SelectConfig(folds=3)


def test_folds_are_alike_and_keep_copies_together() -> None:
    data = digits.splits()
    pool = concatenate(data.tuning, concatenate(data.val, data.tuning))  # every tuning row twice
    fold_of = assign_folds(pool, 5, seed=0)
    n = len(data.tuning)
    assert torch.equal(fold_of[:n], fold_of[-n:])
    for label in (0, 1):
        for group in (0, 1):
            cell = fold_of[:n][(data.tuning.labels == label) & (data.tuning.groups == group)]
            assert (torch.bincount(cell, minlength=5) > 0.1 * len(cell)).all()
    assert not torch.equal(fold_of, assign_folds(pool, 5, seed=1))


def test_every_row_is_validated_by_triggers_that_never_saw_it(digits_classifier: FrozenClassifier) -> None:
    config = run_config(ObjectiveConfig("gap", strengths=(1.0, 5.0)), train=TrainConfig(steps=6, batch_size=64))
    data = digits.splits()
    folds = train_folds(replace(config, select=FOLDS), digits_classifier, data, quiet())
    seen = [set(run.tuning.ids) for run in folds.runs]
    held = [set(run.val.ids) for run in folds.runs]
    everything = {*data.tuning.ids, *data.val.ids}
    assert all(not mine & other for mine, other in zip(seen, held, strict=True))
    assert set.union(*held) == everything and sum(map(len, held)) == len(everything)
    outcome = folds.result()
    assert sum(outcome.candidates[0].counts["val"].values()) == len(everything) == sum(outcome.bare["val"].values())


def test_predictions_stand_in_the_order_of_the_pool(digits_classifier: FrozenClassifier) -> None:
    """Whatever else is predicted on all rows, controls above all, is compared row by row."""
    config = run_config(ObjectiveConfig("gap", strengths=(1.0, 5.0)), train=TrainConfig(steps=6, batch_size=64))
    data = digits.splits()
    folds = train_folds(replace(config, select=FOLDS), digits_classifier, data, quiet())
    pool = concatenate(data.tuning, data.val)
    assert torch.equal(folds.rows.labels, pool.labels) and torch.equal(folds.rows.cells, pool.groups)
    bank = digits_classifier.bank([digits_classifier.null_trigger()])
    assert torch.equal(folds.rows.bare, predicted_labels(digits_classifier, pool, bank, 64)[0])
    where = {name: row for row, name in enumerate(pool.ids)}
    for place in range(len(folds.histories[0].steps)):
        found = folds.predictions(place)
        for run, history in zip(folds.runs, folds.histories, strict=True):
            assert torch.equal(found[:, [where[name] for name in run.val.ids]], history.predictions[place])
    for one in folds.result().candidates:
        assert one.counts["val"] == folds.rows.counts(one.val)


def test_a_published_trigger_is_the_mean_of_its_folds(digits_classifier: FrozenClassifier) -> None:
    config = run_config(ObjectiveConfig("gap", strengths=(1.0, 5.0)), train=TrainConfig(steps=6, batch_size=64))
    folds = train_folds(replace(config, select=FOLDS), digits_classifier, digits.splits(), quiet())
    folds.restore([0, 2])
    (weight,) = folds.runs[-1].optimizer.average.parameters()
    for k, place in enumerate((0, 2)):
        mean = torch.stack([history.parameters[place]["weight"][k] for history in folds.histories]).mean(dim=0)
        assert torch.allclose(weight[k], mean, atol=1e-7)
    outcome = folds.result()
    counted = confusion_counts(
        digits_classifier, digits.splits().test, digits_classifier.bank([outcome.candidates[0].trigger]), 64
    )
    assert counted == [outcome.candidates[0].counts["test"]]


def test_hard_words_come_from_one_fold(comments_classifier: FrozenClassifier) -> None:
    train = TrainConfig(steps=4, batch_size=64, lr=0.1)
    config = run_config(ObjectiveConfig("gap", strengths=(1.0,)), trigger=TriggerConfig("hard", tokens=2), train=train)
    folds = train_folds(replace(config, select=FOLDS), comments_classifier, comments.splits(), quiet())
    folds.restore([0])
    found = folds.runs[-1].optimizer.average.state_dict()["weight"][0]
    assert any(torch.equal(found, history.parameters[0]["weight"][0]) for history in folds.histories)


def test_a_killed_run_goes_on_to_the_same_bits(digits_classifier: FrozenClassifier, tmp_path: Path) -> None:
    train = TrainConfig(steps=8, batch_size=48, eval_every=4, threads=1)
    config = replace(run_config(ObjectiveConfig("gap", strengths=(1.0, 5.0)), train=train), select=FOLDS)
    whole = train_triggers(config, digits_classifier, digits.splits(), quiet())
    path = tmp_path / "checkpoint.safetensors"
    with pytest.raises(Interrupted):
        train_triggers(config, digits_classifier, digits.splits(), Killed(after=14), path)  # in the second fold
    first, third = fold_path(path, 0), fold_path(path, 2)
    assert first and first.exists() and third and not third.exists()
    assert same(whole, train_triggers(config, digits_classifier, digits.splits(), quiet(), path))


def test_it_finds_a_trigger_that_halves_the_gap(digits_classifier: FrozenClassifier) -> None:
    train = TrainConfig(steps=80, batch_size=128)
    objective = ObjectiveConfig("gap", strengths=(5.0, 20.0))
    config = replace(run_config(objective, train=train), select=replace(FOLDS, max_accuracy_drop=0.02))
    outcome = train_triggers(config, digits_classifier, digits.splits(), quiet())
    assert outcome.best is not None
    bare, best = outcome.bare["test"], outcome.candidates[outcome.best].counts["test"]
    assert parity(best) < 0.5 * parity(bare)
    assert accuracy(best) > accuracy(bare) - 0.03
