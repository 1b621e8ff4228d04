"""The candidates by name, each built for a run's configuration and classifier."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch

from benchmarks.candidates.candidate import ONE_VIEW, Candidate, FeatureOffset, View
from benchmarks.candidates.passes import GatedOverlays, GeneratedOverlays, Pass, PixelGate, TriggerPass
from trainer.baselines.faap import PerturbationGenerator
from trainer.config import RunConfig
from trainer.data import Dataset
from trainer.evaluation.network_outputs import network_outputs
from trainer.training.build_module import build_module
from triggers.model import FrozenClassifier
from triggers.trigger.image_trainable import ImageModule

GATED = 4
"""Overlays that a gate mixes."""

SHIFTED = 28
"""A shifted view is moved by the image's side over this, at least by a pixel: 4 of 112."""


@dataclass(frozen=True)
class Recipe:
    """What a candidate is made of; `utility`: trained at strength 0, for the labels alone."""

    change: str = ""  # a key of CHANGES; empty: inputs as they are
    offset: bool = False
    views: int = 1
    utility: bool = False

    def config(self, config: RunConfig) -> RunConfig:
        """The run's configuration with this candidate's objective."""
        if not self.utility:
            return config
        return replace(config, objective=replace(config.objective, name="gap", strengths=(0.0,), reweigh=False))

    @property
    def trained(self) -> bool:
        """Whether there is anything to train."""
        return bool(self.change) or self.offset

    def build(self, config: RunConfig, classifier: FrozenClassifier, tuning: Dataset) -> Candidate:
        """K = the number of strengths of them, before the first step."""
        with torch.random.fork_rng():
            torch.manual_seed(config.train.seed)
            change = CHANGES[self.change](config, classifier)
        offset = _offset(config, classifier, tuning) if self.offset else None
        return Candidate(change, offset, views_of(self.views, classifier)).to(classifier.device)


def views_of(count: int, classifier: FrozenClassifier) -> tuple[View, ...]:
    """One view, two (mirrored) or four (each of them shifted as well)."""
    if count == 1 or classifier.spec.image is None:
        return ONE_VIEW
    shift = max(1, min(classifier.spec.image.height, classifier.spec.image.width) // SHIFTED)
    shifts = (0, shift) if count == 4 else (0,)
    return tuple(View(mirror, shift) for shift in shifts for mirror in (False, True))


def _bare(config: RunConfig, classifier: FrozenClassifier) -> Pass:
    return Pass()


def _trigger(config: RunConfig, classifier: FrozenClassifier) -> Pass:
    return TriggerPass(build_module(config, classifier))


def _gate(config: RunConfig, classifier: FrozenClassifier) -> Pass:
    seeds = [config.train.seed + 1000 * number for number in range(GATED)]
    overlays = [build_module(replace(config, train=replace(config.train, seed=s)), classifier) for s in seeds]
    assert classifier.spec.image
    gate = PixelGate(classifier.spec.image.channels, GATED).to(classifier.device)
    images = [one for one in overlays if isinstance(one, ImageModule)]
    return GatedOverlays(images, gate, len(config.objective.fixed_strengths))


def _generator(config: RunConfig, classifier: FrozenClassifier) -> Pass:
    assert classifier.spec.image
    channels, height, width = classifier.spec.image.pixel_shape
    made = PerturbationGenerator(channels, (height, width), config.trigger.geometry()["epsilon"]).to(classifier.device)
    return GeneratedOverlays(made, len(config.objective.fixed_strengths))


CHANGES: Mapping[str, Callable[[RunConfig, FrozenClassifier], Pass]] = {
    "": _bare,
    "trigger": _trigger,
    "gate": _gate,
    "generator": _generator,
}

IMAGE_RECIPES: Mapping[str, Recipe] = {
    "overlay": Recipe("trigger"),
    "overlay, 2 views": Recipe("trigger", views=2),
    "overlay, 4 views": Recipe("trigger", views=4),
    "bare, 2 views": Recipe(views=2),
    "bare, 4 views": Recipe(views=4),
    "offset": Recipe(offset=True),
    "overlay+offset": Recipe("trigger", offset=True),
    "overlay+offset, 2 views": Recipe("trigger", offset=True, views=2),
    "gate": Recipe("gate"),
    "generator": Recipe("generator"),
    "overlay, utility": Recipe("trigger", utility=True),
    "offset, utility": Recipe(offset=True, utility=True),
}
TEXT_RECIPES: Mapping[str, Recipe] = {
    "soft": Recipe("trigger"),
    "offset": Recipe(offset=True),
    "soft+offset": Recipe("trigger", offset=True),
    "soft, utility": Recipe("trigger", utility=True),
    "offset, utility": Recipe(offset=True, utility=True),
}


def recipes_for(config: RunConfig) -> Mapping[str, Recipe]:
    """The candidates of a modality, the yardstick first."""
    return IMAGE_RECIPES if config.modality == "image" else TEXT_RECIPES


def _offset(config: RunConfig, classifier: FrozenClassifier, tuning: Dataset) -> FeatureOffset:
    (bare,) = network_outputs(classifier, tuning, [classifier.null_trigger()], config.train.batch_size)
    scale = bare.features.std(dim=0, correction=0)
    scale = torch.where(scale > 1e-6, scale, 1.0)
    count = len(config.objective.fixed_strengths)
    return FeatureOffset(bare.features.mean(dim=0), scale, len(classifier.labels), count)
