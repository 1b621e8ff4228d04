"""How a baseline is trained: its own defaults, and what [baselines] says instead."""

from __future__ import annotations

from dataclasses import replace

from tests.trainer.runs import NOWHERE, RECIPE, run_config
from trainer.config.comparison_config import Baseline, BaselinesConfig
from trainer.config.hyperparameters import FAAP_STRENGTHS, baseline_hyperparameters, baseline_strengths
from trainer.config.run_config import BaseConfig, ObjectiveConfig, TrainConfig, TriggerConfig

SYSTEMS: tuple[Baseline, ...] = ("adv_post", "adv_in", "faap")
BASE = BaseConfig(
    ("a", "b"), builder="resnet18", epochs=7, batch_size=33, lr=0.02, weight_decay=0.3, flip=True, shift=2
)
IMAGES = run_config(ObjectiveConfig(strengths=(1.0,)), train=TrainConfig(steps=1, precision="bf16", seed=5))
TEXTS = run_config(ObjectiveConfig(strengths=(1.0,)), trigger=TriggerConfig("hard"))


def test_adv_post_fine_tunes() -> None:
    images, texts = baseline_hyperparameters(IMAGES, "adv_post"), baseline_hyperparameters(TEXTS, "adv_post")
    assert (images.epochs, images.batch_size, images.lr) == (20, 128, 1e-4)
    assert (texts.epochs, texts.batch_size, texts.lr) == (20, 32, 2e-5)
    assert (images.bf16, images.seed, texts.bf16) == (True, 5, False)


def test_adv_in_trains_as_the_base_was_fitted() -> None:
    made = baseline_hyperparameters(replace(IMAGES, base=BASE), "adv_in")
    assert (made.epochs, made.batch_size, made.lr, made.weight_decay) == (7, 33, 0.02, 0.3)
    assert baseline_hyperparameters(replace(IMAGES, base=replace(BASE, lr=None)), "adv_in").lr == 1e-3
    texts = BaseConfig(("a", "b"), encoder=NOWHERE)
    assert baseline_hyperparameters(replace(TEXTS, base=texts), "adv_in").lr == 3e-5


def test_faap_has_recipe_and_strengths_of_its_own() -> None:
    made = baseline_hyperparameters(IMAGES, "faap")
    assert (made.epochs, made.batch_size, made.lr, made.weight_decay) == (40, 64, 1e-3, 0.0)
    assert baseline_strengths(IMAGES, "adv_post") == (1.0,)
    assert baseline_strengths(IMAGES, "faap") == FAAP_STRENGTHS
    given = replace(IMAGES, baselines=BaselinesConfig(strengths=(7.0,)))
    assert [baseline_strengths(given, system) for system in SYSTEMS] == [(7.0,)] * 3


def test_faap_may_change_pixels_as_much_as_an_overlay_unless_it_is_told() -> None:
    assert IMAGES.perturbation_bound == 0.3
    assert replace(IMAGES, trigger=TriggerConfig("border", width=4)).perturbation_bound == 32 / 255
    assert replace(IMAGES, baselines=BaselinesConfig(epsilon=0.05)).perturbation_bound == 0.05


def test_all_augment_as_the_base_did_or_else_as_triggers_do() -> None:
    for system in SYSTEMS:
        made = baseline_hyperparameters(replace(IMAGES, base=BASE), system)
        assert (made.flip, made.shift) == (True, 2)
    crops = replace(BASE, crop=(0.5, 1.0))
    assert baseline_hyperparameters(replace(IMAGES, base=crops), "adv_post").crop == (0.5, 1.0)
    without = baseline_hyperparameters(replace(IMAGES, train=TrainConfig(steps=1, flip=True, shift=3)), "adv_post")
    assert (without.flip, without.shift, without.crop) == (True, 3, None)


def test_what_the_configuration_says_counts_for_every_system() -> None:
    given = BaselinesConfig(epochs=2, batch_size=9, lr=0.5, weight_decay=0.0, schedule="constant", eval_every=4)
    for system in SYSTEMS:
        made = baseline_hyperparameters(replace(IMAGES, base=BASE, baselines=given), system)
        assert (made.epochs, made.batch_size, made.lr, made.weight_decay) == (2, 9, 0.5, 0.0)
        assert (made.schedule, made.eval_every) == ("constant", 4)


def test_steps() -> None:
    assert replace(RECIPE, epochs=3, batch_size=64).steps(100) == 6
    assert replace(RECIPE, epochs=3, batch_size=64).steps(10) == 3
