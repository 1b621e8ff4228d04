"""Bagging: the mean of trainings on folds of tuning, validated as itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.trainer import digits
from tests.trainer.runs import run_config
from tests.trainer.test_learn import Interrupted, Killed, parity, quiet, same
from trainer.bagging import bagged, train_bag
from trainer.config import ObjectiveConfig, RunConfig, TrainConfig, TriggerConfig
from trainer.evaluate import accuracy, confusion_counts
from triggers.classifier import FrozenClassifier
from triggers.errors import ConfigError


def config(steps: int = 8, batch_size: int = 64) -> RunConfig:
    made = TrainConfig(steps=steps, batch_size=batch_size, eval_every=4, threads=1, bag=3)
    return run_config(ObjectiveConfig("gap", strengths=(1.0, 5.0)), train=made)


def test_the_mean_is_validated_as_it_is_published(digits_classifier: FrozenClassifier) -> None:
    data = digits.splits()
    bag = train_bag(config(), digits_classifier, data, quiet())
    left_out = [set(data.tuning.ids) - set(run.tuning.ids) for run in bag.runs]
    assert set.union(*left_out) == set(data.tuning.ids) and sum(map(len, left_out)) == len(data.tuning)
    module = bag.recall([1, 0])
    (weight,) = module.parameters()
    mean = torch.stack([trail.parameters[1]["weight"][0] for trail in bag.trails]).mean(dim=0)
    assert torch.allclose(weight[0], mean, atol=1e-7)
    counted = confusion_counts(digits_classifier, data.val, digits_classifier.bank(module.export()), 64)
    assert [bag.snapshot(bag.judge, 1, 0).counts, bag.snapshot(bag.judge, 0, 1).counts] == counted
    assert not torch.equal(bag.trails[0].parameters[1]["weight"], bag.trails[1].parameters[1]["weight"])


def test_the_outcome_counts_what_it_exports(digits_classifier: FrozenClassifier) -> None:
    data = digits.splits()
    outcome = bagged(config(), digits_classifier, data, quiet())
    bank = digits_classifier.bank([candidate.trigger for candidate in outcome.candidates])
    for split, part in (("val", data.val), ("test", data.test)):
        counted = confusion_counts(digits_classifier, part, bank, 64)
        assert [candidate.counts[split] for candidate in outcome.candidates] == counted
    assert sum(outcome.data_counts["tuning"].values()) == len(data.tuning)


def test_a_killed_run_goes_on_to_the_same_bits(digits_classifier: FrozenClassifier, tmp_path: Path) -> None:
    whole = bagged(config(), digits_classifier, digits.splits(), quiet())
    path = tmp_path / "checkpoint.safetensors"
    with pytest.raises(Interrupted):
        bagged(config(), digits_classifier, digits.splits(), Killed(after=13), path)  # in the second training
    assert same(whole, bagged(config(), digits_classifier, digits.splits(), quiet(), path))


def test_it_finds_a_trigger_that_halves_the_gap(digits_classifier: FrozenClassifier) -> None:
    wanted = replace(config(80, 128), objective=ObjectiveConfig("gap", strengths=(5.0, 20.0)))
    outcome = bagged(wanted, digits_classifier, digits.splits(), quiet())
    assert outcome.best is not None
    bare, best = outcome.bare["test"], outcome.candidates[outcome.best].counts["test"]
    assert parity(best) < 0.5 * parity(bare)
    assert accuracy(best) > accuracy(bare) - 0.03


def test_words_have_no_mean() -> None:
    with pytest.raises(ConfigError, match=r"train\.bag"):
        run_config(ObjectiveConfig(), trigger=TriggerConfig("hard"), train=TrainConfig(steps=1, bag=2))
