"""What the results compare: the tasks on real data, and every system with the settings that it is run with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from trainer.config import Criterion, RunConfig, TriggerConfig, load_config

EXAMPLES = Path(__file__).parents[1] / "examples"
BUDGETS = (0.005, 0.01, 0.02, 0.04)
"""How much accuracy a system may cost on validation."""

CRITERIA: tuple[Criterion, ...] = ("demographic_parity", "equalized_odds")
ADVERSARIAL = (0.5, 1.0, 1.5, 2.0, 3.0, 5.0)
FOUR = (0.5, 1.0, 2.0, 5.0)
WEIGHTS: Mapping[str, tuple[float, ...]] = {"AdvPost": (1.0, 2.0, 5.0), "AdvIN": (2.0,)}
"""The strengths of whole models, which are trained one after another; in ablations AdvPost has one."""

BY_GROUP = "thresholds by group"
"""No system but a measure: what a threshold for each group does, which asks for everybody's group."""

GAP = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)


@dataclass(frozen=True)
class Task:
    """One data set with a label and a group, as one of the examples' configurations with changes."""

    data: str
    target: str
    group: str
    example: str
    changes: tuple[str, ...] = ()

    def config(self, folder: Path, seed: int, changes: tuple[str, ...] = ()) -> RunConfig:
        """The configuration of a seed, with its base classifier in `folder`. Raises ConfigError."""
        always = ("objective.calibrate=true", "base.early_stopping=false")
        own = (f"model.bundle={folder / f'{self.target}-{seed}'}", "publish.enabled=false")
        seeds = tuple(f"{section}.seed={seed}" for section in ("base", "split", "train"))
        return load_config(EXAMPLES / self.example / "run.toml", [*always, *self.changes, *own, *seeds, *changes])

    def receivers(self, folder: Path, seed: int, changes: tuple[str, ...] = ()) -> Iterator[tuple[str, RunConfig]]:
        """Classifiers that a seed's triggers are tried on as well: fitted on the same rows, made otherwise."""
        found = {"another seed": ("base.seed=1000",)}
        if self.data.startswith("celeba"):
            found["another architecture"] = ('base.builder="mobilenet_v3_large"',)
        for name, own in found.items():
            bundle = f"model.bundle={folder / f'{self.target}-{seed}-{name}'.replace(' ', '-')}"
            yield name, self.config(folder, seed, (*changes, *own, bundle))


def _classes(*attributes: str) -> tuple[str, ...]:
    """Several attributes as one label of 2^n classes, as published."""
    labels = ", ".join(f'"{name}"' for name in attributes)
    return ("base.shift=0", f"data.label=[{labels}]", "base.labels=[]", f"base.name=celeba-{2 ** len(attributes)}")


TASKS = {
    "attractive": Task("celeba10k", "Attractive", "Male", "celeba", ("base.shift=0",)),
    "smiling": Task(
        "celeba10k",
        "Smiling",
        "Male",
        "celeba",
        ("base.shift=0", "data.label=Smiling", 'base.labels=["not smiling","smiling"]', "base.name=celeba-smiling"),
    ),
    "classes8": Task("celeba10k", "8 classes", "Male", "celeba", _classes("Attractive", "Smiling", "Young")),
    "classes16": Task(
        "celeba10k", "16 classes", "Male", "celeba", _classes("Attractive", "Smiling", "Young", "Mouth_Slightly_Open")
    ),
    "toxic": Task("hatexplain", "toxic", "names an identity", "hatexplain"),
}


MAIN = ("attractive", "smiling", "toxic")
"""The tasks on which all systems are compared; those of many classes are for a few systems."""

MANY_CLASSES = ("classes8", "classes16")


@dataclass(frozen=True)
class System:
    """A trigger kind with the objective and training that it is given; changes go into [objective] and [train]."""

    name: str
    trigger: TriggerConfig
    objective: Mapping[str, Any]
    train: Mapping[str, Any] = field(default_factory=dict)

    def config(self, base: RunConfig, criterion: Criterion) -> RunConfig:
        """The task's configuration with this system in it."""
        objective = replace(base.objective, **{"criterion": criterion, **self.objective})
        train = replace(base.train, **{"epochs": None, "steps": None, "eval_every": None, **self.train})
        return replace(base, trigger=self.trigger, objective=objective, train=train)


def trigger_systems(modality: Literal["image", "text"]) -> list[System]:
    """Every kind under the published objective, the additive or soft one under each objective, and the strongest."""
    return _image_systems() if modality == "image" else _text_systems()


def plain_system(modality: Literal["image", "text"]) -> System:
    """The one that ablations vary: a single overlay with an adversary, or a soft trigger with the gap."""
    name, objective = ("overlay", "adversarial") if modality == "image" else ("soft", "gap")
    return next(one for one in trigger_systems(modality) if (one.name, one.objective["name"]) == (name, objective))


def _image_systems() -> list[System]:
    train: dict[str, Any] = {"epochs": 20, "batch_size": 128, "lr": 0.02, "flip": True, "precision": "bf16"}
    adversarial, four = {"name": "adversarial", "strengths": ADVERSARIAL}, {"name": "adversarial", "strengths": FOUR}
    overlay = TriggerConfig("overlay", epsilon=0.251)
    large = {**train, "batch_size": 512, "epochs": 20}
    return [
        System("border", TriggerConfig("border", width=10), four, train),
        System("patch", TriggerConfig("patch", patch_size=40), four, train),
        System("pixels", TriggerConfig("pixels", fraction=0.128), four, train),
        System("overlay", overlay, adversarial, train),
        System("overlay", overlay, {"name": "gap", "strengths": GAP[1:-1]}, large),
        System("overlay", overlay, {"name": "mmd", "strengths": GAP[1:-1]}, large),
    ]


def _text_systems() -> list[System]:
    train: dict[str, Any] = {"epochs": 30, "batch_size": 512, "lr": 0.03, "precision": "bf16"}
    gap, soft = {"name": "gap", "strengths": GAP}, TriggerConfig("soft", tokens=5)
    adversarial = {"name": "adversarial", "strengths": ADVERSARIAL}
    return [
        System("hard", TriggerConfig("hard", tokens=5), adversarial, {**train, "lr": 0.1}),
        System("soft", soft, adversarial, train),
        System("soft", soft, gap, train),
        System("soft", soft, {"name": "mmd", "strengths": GAP}, train),
        System("embedding", TriggerConfig("embedding", tokens=5), gap, {**train, "lr": 0.01}),
    ]
