"""The published ablations as variations of systems: how much tuning data, how large a trigger, how many words.

Source: "Fairness Reprogramming" (arXiv 2209.10222), figures 4 and 9. Each variation is a piece of the results like any
other; its records also say which ablation they belong to and at which value.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from benchmarks.systems import ADVERSARIAL, GAP, System, plain_system
from trainer.config.run_config import TriggerConfig

RATIOS = (1.0, 0.5, 0.2, 0.1, 0.01)
PATCHES = (10, 20, 40, 55)
EPSILONS = (8, 16, 32, 64)
WORDS = (1, 2, 5, 10)


@dataclass(frozen=True)
class Variation:
    """One point of an ablation: a trigger's system, or None for AdvPost, and what changes in the configuration."""

    ablation: Literal["tuning ratio", "patch size", "epsilon", "words"]
    value: float
    system: System | None
    changes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The piece's name."""
        return f"{self.ablation} {self.value:g} {self.system.name if self.system else 'AdvPost'}"


def variations(modality: Literal["image", "text"]) -> Iterator[Variation]:
    """All points for a modality, cheapest ablation first."""
    yield from _sizes() if modality == "image" else _words()
    plain = plain_system(modality)
    for ratio in RATIOS:
        changes = (f"split.tuning_ratio={ratio}",)
        yield Variation("tuning ratio", ratio, plain, changes)
        yield Variation("tuning ratio", ratio, None, changes)


def _sizes() -> Iterator[Variation]:
    train = {"epochs": 20, "batch_size": 128, "lr": 0.02, "flip": True, "precision": "bf16"}
    adversarial = {"name": "adversarial", "strengths": ADVERSARIAL}
    for side in PATCHES:
        trigger = TriggerConfig("patch", patch_size=side)
        yield Variation("patch size", side, System(f"patch of {side} pixels", trigger, adversarial, train))
    for levels in EPSILONS:
        trigger = TriggerConfig("overlay", epsilon=levels / 255)
        yield Variation("epsilon", levels, System(f"overlay of {levels}/255", trigger, adversarial, train))


def _words() -> Iterator[Variation]:
    train = {"epochs": 30, "batch_size": 512, "lr": 0.03, "precision": "bf16"}
    gap = {"name": "gap", "strengths": GAP}
    for count in WORDS:
        trigger = TriggerConfig("soft", tokens=count)
        yield Variation("words", count, System(f"soft, {count} words", trigger, gap, train))
