"""What triggers are compared with, as configured: the sections [baselines] and [controls] of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from trainer.tables import different, positive
from triggers.errors import ConfigError
from triggers.manifest import ObjectiveName

Schedule = Literal["constant", "step", "cosine", "linear"]
Baseline = Literal["adv_post", "adv_in"]


@dataclass(frozen=True)
class BaselinesConfig:
    """[baselines] Whole models trained for fairness, to compare the triggers with: one model per system and strength.

    adv_post trains the frozen classifier's weights further on the tuning part; adv_in trains from scratch (texts: from
    the encoder) on the base part. Criterion, adversary and projection are those of [objective].
    """

    systems: tuple[Baseline, ...] = ()
    objective: ObjectiveName | None = None  # None: objective.name
    strengths: tuple[float, ...] | None = None  # None: objective.strengths
    epochs: int | None = None  # this and the next three, None: adv_in as [base]; adv_post 20,
    batch_size: int | None = None  # 128 (texts: 32),
    lr: float | None = None  # 1e-4 (texts: 2e-5),
    weight_decay: float | None = None  # 0.01
    schedule: Schedule = "cosine"
    eval_every: int | None = None  # steps between validations; None: ten times in each training
    save: bool = False  # keep the model that validation chose of each system, as a bundle in the run's folder

    def __post_init__(self) -> None:
        positive("baselines", self, "epochs", "batch_size", "lr", "eval_every")
        if len(set(self.systems)) != len(self.systems):
            raise ConfigError(f"baselines.systems {list(self.systems)} names a system twice.")
        if self.strengths is not None:
            different("baselines", self.strengths)


@dataclass(frozen=True)
class ControlsConfig:
    """[controls] What a trigger has to beat: predictions changed without learning one. A few evaluations each."""

    enabled: bool = True
    random: int = 3  # random triggers of the trained kind, one per seed
    thresholds: int = 200  # shifts of the decision threshold that validation chooses among, at most
    curve: int = 25  # how many of them the report shows
    strength_zero: bool = False  # a trigger trained for utility alone; costs as much as training one strength

    def __post_init__(self) -> None:
        positive("controls", self, "thresholds", "curve")
        if self.random < 0:
            raise ConfigError(f"controls.random is {self.random}; it must be 0 or more.")
