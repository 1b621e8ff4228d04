"""The candidates against their formulas on small inputs, and that training reaches every parameter of theirs."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from benchmarks.candidates.candidate import Candidate, View
from benchmarks.candidates.optimizer import CandidateOptimizer
from benchmarks.candidates.passes import GatedOverlays, GeneratedOverlays, StackedNetwork, TriggerPass
from benchmarks.candidates.recipes import IMAGE_RECIPES, TEXT_RECIPES, Recipe, views_of
from tests.trainer.datasets import comments, digits
from tests.trainer.runs import run_config
from trainer.config.run_config import ObjectiveConfig, RunConfig, TrainConfig, TriggerConfig
from trainer.data.batches import Batches
from trainer.data.dataset import Dataset
from trainer.evaluation.network_outputs import last_linear
from trainer.training.build_module import build_module
from trainer.training.objectives.objective_step import StepConfig
from trainer.training.step import TriggerOptimizer
from triggers.model import FrozenClassifier
from triggers.model.reprogram import sweep
from triggers.preprocessing import TextBatch
from triggers.trigger.image_trainable import ImageModule

STRENGTHS = (1.0, 3.0)


def image_run(*strengths: float, name: str = "adversarial") -> RunConfig:
    objective = ObjectiveConfig("gap" if name == "gap" else "adversarial", strengths=strengths or STRENGTHS)
    return run_config(objective, train=TrainConfig(steps=10, batch_size=64))


def text_run() -> RunConfig:
    config = run_config(ObjectiveConfig(strengths=STRENGTHS), trigger=TriggerConfig("soft", tokens=2))
    return replace(config, train=TrainConfig(steps=10, batch_size=64))


def some(rows: int = 8) -> Tensor:
    inputs = digits.splits().tuning.inputs
    assert isinstance(inputs, Tensor)
    return inputs[:rows]


def built(recipe: Recipe, classifier: FrozenClassifier, config: RunConfig | None = None) -> Candidate:
    data = comments if classifier.spec.text else digits
    return recipe.build(config or image_run(), classifier, data.splits().tuning)


def optimizer_for(candidate: Candidate, classifier: FrozenClassifier, config: RunConfig) -> CandidateOptimizer:
    step = StepConfig(config.objective, 2, 10, temperature=1.7)
    return CandidateOptimizer(classifier, candidate, config.train, step)


def batch(config: RunConfig, data: Dataset) -> Dataset:
    return Batches(data, config.train.batch_size, seed=0, pieces=4).batch(0)


def test_the_yardstick_is_the_products_own_trigger(digits_classifier: FrozenClassifier) -> None:
    """The same losses, adversaries and surgery, so the same overlays step by step."""
    config, tuning = image_run(), digits.splits().tuning
    candidate = built(IMAGE_RECIPES["overlay"], digits_classifier)
    ours = optimizer_for(candidate, digits_classifier, config)
    step = StepConfig(config.objective, 2, 10, temperature=1.7)
    theirs = TriggerOptimizer(digits_classifier, build_module(config, digits_classifier), config.train, step)
    for number in range(3):
        one = Batches(tuning, 64, seed=0).batch(number)
        losses, expected = ours.step(number, one), theirs.step(number, one)
        assert torch.allclose(losses.utility, expected.utility, atol=1e-4)
        assert torch.allclose(losses.fairness, expected.fairness, atol=1e-4)
    for mine, product in zip(candidate.parameters(), theirs.module.parameters(), strict=True):
        assert torch.allclose(mine, product, atol=1e-3)


def test_views_are_averaged_and_each_has_the_overlay_on_it(digits_classifier: FrozenClassifier) -> None:
    candidate, images = built(IMAGE_RECIPES["overlay, 4 views"], digits_classifier), some()
    assert isinstance(candidate.change, TriggerPass)
    assert candidate.views == (View(), View(True), View(False, 1), View(True, 1))
    moved = torch.cat([images[..., :1, :], images[..., :-1, :]], dim=-2)
    moved = torch.cat([moved[..., :1], moved[..., :-1]], dim=-1)  # a pixel down, a pixel right, the border repeated
    mirrored = images.flip(-1)
    moved_mirror = torch.cat([mirrored[..., :1, :], mirrored[..., :-1, :]], dim=-2)
    moved_mirror = torch.cat([moved_mirror[..., :1], moved_mirror[..., :-1]], dim=-1)
    bank = candidate.change.module.render()
    each = [sweep(digits_classifier, seen, bank) for seen in (images, mirrored, moved, moved_mirror)]
    found = candidate.logits(digits_classifier, images)
    assert torch.allclose(found, torch.stack(each).mean(dim=0), atol=1e-5)
    assert not torch.allclose(found, each[0], atol=1e-2)
    assert [len(views_of(count, digits_classifier)) for count in (1, 2, 4)] == [1, 2, 4]


def test_bare_views_are_those_of_the_bare_model(digits_classifier: FrozenClassifier) -> None:
    candidate, images = built(IMAGE_RECIPES["bare, 2 views"], digits_classifier), some()
    bare = digits_classifier.image_logits(images / 255.0) + digits_classifier.image_logits(images.flip(-1) / 255.0)
    assert torch.allclose(candidate.logits(digits_classifier, images), bare[None] / 2, atol=1e-5)
    assert not list(candidate.parameters())


def test_an_offset_is_another_head(digits_classifier: FrozenClassifier) -> None:
    """Its matrix, less the scaling of the features, added to the head's weights and bias gives the same logits."""
    candidate, images = built(IMAGE_RECIPES["offset"], digits_classifier), some()
    offset = candidate.offset
    assert offset is not None
    assert torch.allclose(
        candidate.logits(digits_classifier, images), digits_classifier.image_logits(images / 255.0), atol=1e-5
    )
    with torch.no_grad():
        offset.matrix.normal_(generator=torch.Generator().manual_seed(0))
    found = candidate.logits(digits_classifier, images)
    for k in range(len(STRENGTHS)):
        network = copy.deepcopy(digits_classifier.network)
        head = last_linear(network, (2,))
        assert head is not None
        added = offset.matrix[k, :-1] / offset.scale[:, None]
        with torch.no_grad():
            head.weight.add_(added.T)
            head.bias.add_(offset.matrix[k, -1] - offset.centre @ added)
        expected = FrozenClassifier(digits_classifier.spec, network).image_logits(images / 255.0)
        assert torch.allclose(found[k], expected, atol=1e-3)


def test_overlay_and_offset_read_the_features_of_their_own_pass(digits_classifier: FrozenClassifier) -> None:
    candidate, images = built(IMAGE_RECIPES["overlay+offset"], digits_classifier), some()
    offset, change = candidate.offset, candidate.change
    assert offset is not None and isinstance(change, TriggerPass)
    with torch.no_grad():
        offset.matrix.normal_(generator=torch.Generator().manual_seed(0))
    features: list[Tensor] = []
    head = last_linear(digits_classifier.network, (2,))
    assert head is not None
    hook = head.register_forward_pre_hook(lambda _, given: features.append(given[0]))
    logits = sweep(digits_classifier, images, change.module.render())
    hook.remove()
    expected = logits + offset(features[0].view(len(STRENGTHS), len(images), -1))
    assert torch.allclose(candidate.logits(digits_classifier, images), expected, atol=1e-4)


@pytest.mark.parametrize("picked", [0, 2])
def test_a_gate_that_always_picks_one_overlay_is_that_overlay(digits_classifier: FrozenClassifier, picked: int) -> None:
    candidate, images = built(IMAGE_RECIPES["gate"], digits_classifier), some()
    gated = candidate.change
    assert isinstance(gated, GatedOverlays)
    with torch.no_grad():
        gated.gate.weights["last/bias"][:, picked] = 100.0
    overlay = gated.overlays[picked]
    assert isinstance(overlay, ImageModule)
    expected = sweep(digits_classifier, images, overlay.render())
    assert torch.allclose(candidate.logits(digits_classifier, images), expected, atol=1e-4)
    others = [one for one in gated.overlays if one is not overlay]
    assert not any(torch.equal(overlay.weight, one.weight) for one in others if isinstance(one, ImageModule))


def test_stacked_networks_have_weights_of_their_own() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.Flatten(), nn.Linear(36, 2))
    stacked, x = StackedNetwork(network, 3), torch.rand(5, 3, 5, 5)
    assert torch.allclose(stacked(x), network(x).expand(3, -1, -1), atol=1e-6)
    with torch.no_grad():
        stacked.weights["4/bias"][1] += 1.0
    moved = stacked(x) - network(x)
    assert torch.allclose(moved[1], torch.ones(5, 2), atol=1e-5)
    assert moved[[0, 2]].abs().max() < 1e-5
    assert not any(
        weight.data_ptr() == own.data_ptr() for weight in stacked.parameters() for own in network.parameters()
    )


def test_generated_overlays_are_within_epsilon(digits_classifier: FrozenClassifier) -> None:
    candidate = built(IMAGE_RECIPES["generator"], digits_classifier)
    assert isinstance(candidate.change, GeneratedOverlays)
    with torch.no_grad():
        for weight in candidate.parameters():
            weight.mul_(50)
        change = candidate.change.changes(some() / 255.0)
    assert change.shape == (len(STRENGTHS), *some().shape)
    assert 0.25 < change.abs().max() <= 0.3 + 1e-6


@pytest.mark.parametrize("name", [name for name, recipe in IMAGE_RECIPES.items() if recipe.trained])
def test_a_step_moves_every_parameter_of_every_strength(digits_classifier: FrozenClassifier, name: str) -> None:
    recipe = IMAGE_RECIPES[name]
    config = recipe.config(image_run())
    candidate = built(recipe, digits_classifier, config)
    before = [parameter.detach().clone() for parameter in candidate.parameters()]
    optimizer = optimizer_for(candidate, digits_classifier, config)
    optimizer.step(0, batch(config, digits.splits().tuning))
    count = len(config.objective.fixed_strengths)
    assert count == (1 if recipe.utility else len(STRENGTHS))
    for old, new in zip(before, candidate.parameters(), strict=True):
        assert len(new) == count
        assert all(not torch.equal(old[k], new[k]) for k in range(count))
    digits_classifier.verify()


def test_networks_and_offsets_learn_more_slowly(digits_classifier: FrozenClassifier) -> None:
    config = image_run()
    optimizer = optimizer_for(built(IMAGE_RECIPES["overlay+offset"], digits_classifier), digits_classifier, config)
    optimizer.step(0, batch(config, digits.splits().tuning))
    rates = [group["lr"] for one in optimizer.optimizers for group in one.param_groups]
    assert rates == pytest.approx([config.train.lr, 0.05 * config.train.lr])


@pytest.mark.parametrize("name", ["overlay+offset", "gate", "generator"])
@pytest.mark.parametrize("objective", ["adversarial", "gap"])
def test_strengths_do_not_disturb_each_other(digits_classifier: FrozenClassifier, name: str, objective: str) -> None:
    def trained(*strengths: float) -> Tensor:
        config = image_run(*strengths, name=objective)
        candidate = built(IMAGE_RECIPES[name], digits_classifier, config)
        optimizer = optimizer_for(candidate, digits_classifier, config)
        for number in range(2):
            optimizer.step(number, batch(config, digits.splits().tuning))
        return candidate.logits(digits_classifier, some())

    assert torch.allclose(trained(1.0, 3.0)[1], trained(3.0)[0], atol=1e-2)


@pytest.mark.parametrize("name", TEXT_RECIPES)
def test_candidates_of_texts_are_trained_in_pieces(comments_classifier: FrozenClassifier, name: str) -> None:
    recipe = TEXT_RECIPES[name]
    config, tuning = recipe.config(text_run()), comments.splits().tuning
    candidate = built(recipe, comments_classifier, config)
    one = batch(config, tuning)
    assert isinstance(one.inputs, TextBatch) and len(one.inputs.pieces) > 1
    whole = TextBatch(one.inputs.ids, one.inputs.lengths)
    together, apart = (candidate.logits(comments_classifier, inputs) for inputs in (whole, one.inputs))
    assert torch.allclose(together, apart, atol=1e-4)
    optimizer_for(candidate, comments_classifier, config).step(0, one)
    assert not torch.allclose(candidate.logits(comments_classifier, whole), together, atol=1e-4)
    comments_classifier.verify()


@pytest.mark.parametrize("name", ["overlay+offset", "gate", "soft+offset"])
def test_bf16_follows_float32(
    digits_classifier: FrozenClassifier, comments_classifier: FrozenClassifier, name: str
) -> None:
    text = name in TEXT_RECIPES
    classifier, data = (comments_classifier, comments) if text else (digits_classifier, digits)
    recipe, config = (TEXT_RECIPES[name], text_run()) if text else (IMAGE_RECIPES[name], image_run())
    found = []
    for precision in ("float32", "bf16"):
        rough = replace(config, train=replace(config.train, precision=precision))
        optimizer = optimizer_for(built(recipe, classifier, rough), classifier, rough)
        found.append(optimizer.step(0, batch(rough, data.splits().tuning)).utility)
    exact, rounded = found
    assert torch.allclose(exact, rounded, rtol=0.03) and not torch.equal(exact, rounded)
