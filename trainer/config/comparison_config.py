"""Configuration of the comparisons: the sections [baselines] and [controls] of a run."""

from __future__ import annotations

from typing import Literal

from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from trainer.config.toml_schema import STRICT, OneOrMore, different
from triggers.artifact.manifest import ObjectiveName
from triggers.errors import ConfigError

Schedule = Literal["constant", "step", "cosine", "linear"]
Baseline = Literal["adv_post", "adv_in", "faap"]


@dataclass(frozen=True, config=STRICT)
class BaselinesConfig:
    """[baselines] Published methods, to compare the triggers with: one model per system and strength.

    adv_post trains the frozen classifier's weights further on the tuning part; adv_in trains from scratch (texts: from
    the encoder) on the base part. Criterion, adversary and projection are those of [objective]. faap (images) leaves
    the classifier frozen and trains a network that changes each image on the tuning part; its losses are its own, and
    of [objective] it follows criterion and calibrate.
    """

    systems: OneOrMore[Baseline] = ()
    objective: ObjectiveName | None = None  # None: objective.name
    strengths: OneOrMore[float] | None = None  # None: objective.strengths; faap: those of hyperparameters.py
    epochs: PositiveInt | None = None  # this and the next three, None: adv_in as [base]; adv_post 20 (faap: 40),
    batch_size: PositiveInt | None = None  # 128 (texts: 32; faap: 64),
    lr: PositiveFloat | None = None  # 1e-4 (texts: 2e-5; faap: 1e-3),
    weight_decay: float | None = None  # 0.01 (faap: 0)
    epsilon: PositiveFloat | None = None  # faap: largest change of a pixel value; None: the overlay's
    schedule: Schedule = "cosine"
    eval_every: PositiveInt | None = None  # steps between validations; None: ten times in each training
    save: bool = False  # keep the model that validation chose of each system, as a bundle in the run's folder

    def __post_init__(self) -> None:
        if len(set(self.systems)) != len(self.systems):
            raise ConfigError(f"baselines.systems {list(self.systems)} names a system twice.")
        if self.strengths is not None:
            different("baselines", self.strengths)


@dataclass(frozen=True, config=STRICT)
class ControlsConfig:
    """[controls] Predictions changed without learning a trigger for fairness. A few evaluations each."""

    enabled: bool = True
    random: NonNegativeInt = 3  # random triggers of the trained kind, one per seed
    thresholds: PositiveInt = 200  # shifts of the decision threshold that validation chooses among, at most
    curve: PositiveInt = 25  # how many of them the report shows
    postprocessing: bool = True  # rules on the frozen model's outputs: Hardt, OxonFair, FRAPPE, LinearPost
    strength_zero: bool = False  # a trigger trained for utility alone; costs as much as training one strength
