"""A trigger behind a decoder's words: the words are computed once for all strengths, and the triggers are the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.text_families import DECODERS, ENCODERS, Family, family_bundle
from tests.trainer.runs import run_config
from tests.trainer.training.test_recomputation import after_three_steps, texts
from trainer.config.run_config import AdversaryInput, ObjectiveConfig, TrainConfig, TriggerConfig
from trainer.training.build_module import build_module
from trainer.training.kept_activations import bytes_kept
from trainer.training.objectives.objective_step import StepConfig
from trainer.training.shared_text import shares_text
from trainer.training.step import TriggerOptimizer
from trainer.training.vjp import forward_with_vjp
from triggers.model import FrozenClassifier, load_bundle
from triggers.trigger.text import Position

SUFFIXED = Family("llama", "unigram", "<s> $A </s>", "left", DECODERS["llama"].config, pad=False)
SHARING = DECODERS | {"llama with a suffix": SUFFIXED}


def learner(
    classifier: FrozenClassifier, form: AdversaryInput = "centred", position: Position = "before_sep"
) -> TriggerOptimizer:
    config = run_config(
        ObjectiveConfig(strengths=(1.0, 5.0), adversary_input=form),
        trigger=TriggerConfig("embedding", tokens=2, position=position),
        train=TrainConfig(steps=3, batch_size=6),
    )
    module = build_module(config, classifier)
    return TriggerOptimizer(classifier, module, config.train, StepConfig(config.objective, 2, 3))


@pytest.mark.parametrize("form", ["centred", "scores"])
@pytest.mark.parametrize("family", SHARING)
def test_the_triggers_are_the_same(family: str, form: AdversaryInput, tmp_path: Path) -> None:
    classifier = load_bundle(family_bundle(tmp_path, SHARING[family]))
    batch, shared, whole = texts(classifier), learner(classifier, form), learner(classifier, form)
    assert shared.shared_text
    whole.shared_text = False
    start = [parameter.detach().clone() for parameter in whole.parameters]
    wanted, found = after_three_steps(whole, batch), after_three_steps(shared, batch)
    for one, other, before in zip(wanted, found, start, strict=True):
        assert float((one - before).abs().max()) > 0.05
        assert torch.allclose(one, other, atol=1e-4)


def test_the_words_are_run_once_and_nothing_of_them_is_kept(tmp_path: Path) -> None:
    classifier = load_bundle(family_bundle(tmp_path, DECODERS["llama"]))
    batch, learned = texts(classifier), learner(classifier)
    bank, fast, shapes = learned.module.render(), learned.fast, []
    hook = fast.network.register_forward_pre_hook(
        lambda _network, _given, named: shapes.append(tuple(named["inputs_embeds"].shape[:2])), with_kwargs=True
    )

    def kept(shared: bool) -> int:
        return bytes_kept(
            lambda: forward_with_vjp(fast, batch.inputs, bank, torch.float32, antisymmetric=True, shared_text=shared),
            fast.network,
        )

    whole, shared = kept(False), kept(True)
    hook.remove()
    (rows, width), words, behind = shapes
    assert (rows, words[0], behind) == (2 * len(batch), len(batch), (2 * len(batch), 2))
    assert words[1] + 2 == width and width % 8 == 0
    assert shared < 0.5 * whole


@pytest.mark.parametrize("family", ENCODERS)
def test_encoders_run_whole_texts(family: str, tmp_path: Path) -> None:
    classifier = load_bundle(family_bundle(tmp_path, ENCODERS[family]))
    assert not shares_text(classifier, "before_sep", torch.float32)


def test_a_trigger_before_the_words_and_attention_both_ways_run_whole_texts(tmp_path: Path) -> None:
    classifier = load_bundle(family_bundle(tmp_path, DECODERS["llama"]))
    assert not learner(classifier, position="after_cls").shared_text
    for layer in classifier.network.model.layers:  # type: ignore[union-attr]
        layer.self_attn.is_causal = False
    classifier.network.config.is_causal = False  # type: ignore[union-attr]
    assert not shares_text(classifier, "before_sep", torch.float32)
