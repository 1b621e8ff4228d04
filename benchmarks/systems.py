"""Trigger kinds that the benchmarks train, with objective and settings, and the baselines that each run trains too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from trainer.config import Criterion, RunConfig
from trainer.config.run_config import TriggerConfig


@dataclass(frozen=True)
class System:
    """A trigger kind with the objective and training that it is given; changes go into [objective] and [train].

    `baselines` go into [baselines]: whole models take long, so that the runs of a task's kinds share them out.
    """

    name: str
    trigger: TriggerConfig
    objective: Mapping[str, Any]
    train: Mapping[str, Any] = field(default_factory=dict)
    baselines: Mapping[str, Any] = field(default_factory=dict)

    def config(self, base: RunConfig, criterion: Criterion) -> RunConfig:
        """The task's configuration with this system in it."""
        objective = replace(base.objective, **{"criterion": criterion, **self.objective})
        train = replace(base.train, **{"epochs": None, "steps": None, "eval_every": None, **self.train})
        return replace(base, trigger=self.trigger, objective=objective, train=train)


def trigger_systems(modality: Literal["image", "text"]) -> list[System]:
    """The kinds of a modality, the plain one first."""
    return _image_systems() if modality == "image" else _text_systems()


def plain_system(modality: Literal["image", "text"]) -> System:
    """The kind that stands for triggers where one has to: an overlay with an adversary, or soft words with the gap."""
    return trigger_systems(modality)[0]


ADV_POST: Mapping[str, Any] = {"systems": ("adv_post",), "strengths": (1.0, 2.0, 5.0)}
ADV_IN: Mapping[str, Any] = {"systems": ("adv_in",), "strengths": (2.0,)}
FAAP: Mapping[str, Any] = {"systems": ("faap",), "strengths": (0.3, 1.0, 3.0), "epochs": 20}


def _image_systems() -> list[System]:
    train: dict[str, Any] = {"epochs": 20, "batch_size": 128, "lr": 0.02, "flip": True, "precision": "bf16"}
    adversarial = {"name": "adversarial", "strengths": (0.5, 1.0, 1.5, 2.0, 3.0, 5.0)}
    four = {"name": "adversarial", "strengths": (0.5, 1.0, 2.0, 5.0)}
    return [
        System("overlay", TriggerConfig("overlay", epsilon=0.251), adversarial, train, ADV_POST),
        System("pixels", TriggerConfig("pixels", fraction=0.128), four, train, ADV_IN),
        System("patch", TriggerConfig("patch", patch_size=40), four, train, FAAP),
    ]


def _text_systems() -> list[System]:
    train: dict[str, Any] = {"epochs": 30, "batch_size": 512, "lr": 0.03, "precision": "bf16"}
    gap = {"name": "gap", "strengths": (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)}
    return [
        System("soft", TriggerConfig("soft", tokens=5), gap, train, {**ADV_POST, "epochs": 8}),
        System("embedding", TriggerConfig("embedding", tokens=5), gap, {**train, "lr": 0.01}, ADV_IN),
    ]
