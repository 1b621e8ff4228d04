"""Steps that compute activations again: the same triggers, asked for, or where a GPU has no room."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.text_families import DECODERS, ENCODERS, family_bundle, odd_texts
from tests.trainer.runs import run_config
from trainer.config.run_config import AdversaryInput, ObjectiveConfig, TrainConfig, TriggerConfig
from trainer.data import Dataset
from trainer.distributed import ProcessGroup
from trainer.training.build_module import build_module
from trainer.training.kept_activations import batch_bytes, bytes_kept, must_recompute
from trainer.training.objectives.objective_step import StepConfig
from trainer.training.step import TriggerOptimizer
from trainer.training.vjp import forward_with_vjp
from triggers.errors import ConfigError
from triggers.model import FrozenClassifier, load_bundle
from triggers.preprocessing import TextBatch

FAMILIES = ENCODERS | DECODERS


def texts(classifier: FrozenClassifier, rows: int = 6) -> Dataset:
    inputs = classifier.batch([classifier.preprocess(text) for text in odd_texts(rows, most=12)])
    draws = torch.tensor([[n % 2 for n in range(rows)], [n // 2 % 2 for n in range(rows)]])
    return Dataset(inputs, draws[0], draws[1], tuple(map(str, range(rows))), classifier.labels, ("f", "m"))


def optimizer(
    classifier: FrozenClassifier,
    form: AdversaryInput = "centred",
    process_group: ProcessGroup | None = None,
    **train: object,
) -> TriggerOptimizer:
    config = run_config(
        ObjectiveConfig(strengths=(1.0, 5.0), adversary_input=form),
        trigger=TriggerConfig("embedding", tokens=2),
        train=TrainConfig(steps=3, batch_size=6, **train),  # type: ignore[arg-type]
    )
    step = StepConfig(config.objective, 2, 3)
    return TriggerOptimizer(classifier, build_module(config, classifier), config.train, step, process_group)


def after_three_steps(learner: TriggerOptimizer, batch: Dataset) -> list[Tensor]:
    for number in range(3):
        learner.step(number, batch)
    return [parameter.detach().clone() for parameter in learner.parameters]


@pytest.mark.parametrize("form", ["centred", "scores"])  # one product through the model, and two
@pytest.mark.parametrize("family", ["llama", "bert"])
def test_the_triggers_are_the_same(family: str, form: AdversaryInput, tmp_path: Path) -> None:
    classifier = load_bundle(family_bundle(tmp_path, FAMILIES[family]))
    batch = texts(classifier)
    plain, again = (optimizer(classifier, form, recompute=each) for each in (False, True))
    assert (plain.recomputes, again.recomputes) == (False, True)
    for one, other in zip(after_three_steps(plain, batch), after_three_steps(again, batch), strict=True):
        assert torch.equal(one, other)


def test_without_repeated_blocks_it_is_refused_in_one_line(tmp_path: Path) -> None:
    classifier = load_bundle(family_bundle(tmp_path, ENCODERS["albert"]))
    with pytest.raises(ConfigError, match=r"train\.recompute cannot be true: Albert.* repeats no blocks"):
        optimizer(classifier, recompute=True)
    assert not optimizer(classifier).recomputes


def test_what_a_batch_keeps_is_estimated_from_one_row(tmp_path: Path) -> None:
    classifier = load_bundle(family_bundle(tmp_path, DECODERS["llama"]))
    batch = texts(classifier)
    assert isinstance(batch.inputs, TextBatch)
    learner = optimizer(classifier)
    bank = learner.module.render()
    longest = int(batch.inputs.lengths.argmax())
    one = TextBatch(batch.inputs.ids[longest][None], batch.inputs.lengths[longest][None])
    both = TextBatch(one.ids.repeat(8, 1), one.lengths.repeat(8))
    estimated = batch_bytes(learner.fast, both, bank, torch.float32)
    kept = bytes_kept(
        lambda: forward_with_vjp(learner.fast, both, bank, torch.float32, antisymmetric=False), learner.fast.network
    )
    assert estimated == pytest.approx(kept, rel=0.05)
    assert not must_recompute(learner.fast, both, bank, torch.float32)  # a CPU takes what it needs
    recomputed = classifier.accelerated(recompute=True)
    assert batch_bytes(recomputed, both, bank, torch.float32) < 0.5 * estimated
