"""Hyperparameters of the baselines: those of [baselines], else the system's own defaults."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil

from trainer.config.comparison_config import Baseline, Schedule
from trainer.config.run_config import RunConfig

FAAP_STRENGTHS = (0.1, 0.3, 1.0, 3.0)
"""FAAP's losses are its own, so [objective]'s strengths say nothing about them; the published ratio is about .6."""

SETTINGS = ("epochs", "batch_size", "lr", "weight_decay")
"""Settings that have a default for each system."""


@dataclass(frozen=True)
class Hyperparameters:
    """Passes over the rows, rows per step, AdamW's settings, augmentation of images."""

    epochs: int
    batch_size: int
    lr: float
    weight_decay: float
    schedule: Schedule
    flip: bool
    shift: int  # pixels
    eval_every: int | None  # steps between validations; None: ten times in all
    bf16: bool
    seed: int
    crop: Sequence[float] | None = None  # shares of the area, smallest and largest

    def steps(self, rows: int) -> int:
        """Optimiser steps over this number of rows."""
        return self.epochs * ceil(rows / min(self.batch_size, rows))


def baseline_strengths(config: RunConfig, system: Baseline) -> tuple[float, ...]:
    """The strengths that one system is trained at."""
    default = FAAP_STRENGTHS if system == "faap" else None
    return config.baselines.strengths or default or config.objective.fixed_strengths


def baseline_hyperparameters(config: RunConfig, system: Baseline) -> Hyperparameters:
    """Those of one system: adv_in trains as [base] does, adv_post fine-tunes, faap trains a small network. All augment
    images as [base] does; without that section as [train] does.
    """
    augment, given = config.base or config.train, config.baselines
    epochs, batch_size, lr, weight_decay = _defaults(config, system)
    default = Hyperparameters(
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        weight_decay=weight_decay,
        schedule=given.schedule,
        flip=augment.flip,
        shift=augment.shift,
        crop=config.base.crop if config.base else None,
        eval_every=given.eval_every,
        bf16=config.train.precision == "bf16",
        seed=config.train.seed,
    )
    return replace(default, **{name: value for name in SETTINGS if (value := getattr(given, name)) is not None})


def _defaults(config: RunConfig, system: Baseline) -> tuple[int, int, float, float]:
    match system:
        case "adv_in":
            return _from_scratch(config)
        case "adv_post":
            return _tuned(config)
        case "faap":
            return 40, 64, 1e-3, 0.0


def _from_scratch(config: RunConfig) -> tuple[int, int, float, float]:
    base = config.base
    assert base  # RunConfig checks it
    return base.epochs, base.batch_size, base.peak_lr, base.weight_decay


def _tuned(config: RunConfig) -> tuple[int, int, float, float]:
    return (20, 128, 1e-4, 0.01) if config.modality == "image" else (20, 32, 2e-5, 0.01)
