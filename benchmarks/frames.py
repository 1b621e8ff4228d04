"""What the published kinds, border and patch, take of the average odds gap, and what their frames alone cost.

python -m benchmarks.frames --out runs/frames                          everything, five seeds (hours on one GPU)
python -m benchmarks.frames --out runs/frames --builder resnet18 --base crops --seed 0     pieces of one classifier
python -m benchmarks.frames --out runs/frames --table                  only the table
FAIRTRIGGER_ALLOW_FACTORIES=benchmarks python -m benchmarks.frames --out runs/frames --set base.size=56 --seed 100 \\
    --builder benchmarks.small_resnet:small_resnet                     on a CPU, in an hour

A classifier is fitted on whole images, or on random resized crops as is usual. Frames are given in pixels of 112, the
paper's 20 of 224 as 10, and scaled to the classifier's size. Each frame leaves a JSON file and is not made again;
classifiers can be worked on side by side in several processes. Validation picks within a budget, test reports.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import sqrt
from pathlib import Path
from statistics import mean, stdev
from typing import Annotated, Any, Literal, TypeAlias

import torch
import typer

from benchmarks.systems import System
from benchmarks.tasks import TASKS, Sources
from examples.results_table import T_975
from trainer.config import RunConfig
from trainer.config.run_config import TriggerConfig
from trainer.data import Splits
from trainer.evaluation import confusion_counts
from trainer.evaluation.counts import ConfusionCounts, accuracy
from trainer.progress import Progress, open_progress
from trainer.train import DATA_CACHE, prepare_data
from trainer.training import train_triggers
from trainer.training.build_module import build_module
from triggers.errors import FairtriggerError
from triggers.metrics import evaluate_counts
from triggers.model import FrozenClassifier
from triggers.storage import write_atomically
from triggers.trigger import ImageTrigger
from triggers.trigger.image_trainable import BorderFit

SIZE = 112
"""The side of an image that frames are given for."""

WIDTHS = (4, 6, 8, 10, 12)
PATCHES = (30, 40, 50)
BUILDERS = ("resnet18", "mobilenet_v3_large")
ROWS = 512
GAP = "average_odds_difference"
Record: TypeAlias = Mapping[str, Any]
Base = Literal["plain", "crops"]
BASES: Mapping[Base, tuple[str, ...]] = {"plain": (), "crops": ("base.crop=[0.5, 1.0]",)}
"""How a classifier is fitted: on whole images, or on crops too."""

TRAIN: dict[str, Any] = {"epochs": 20, "batch_size": 128, "lr": 0.1, "flip": True, "precision": "bf16"}
"""A frame starts as noise and has to get far from it: five times the learning rate of overlays."""

OBJECTIVES: Mapping[str, dict[str, Any]] = {
    "adversarial": {"name": "adversarial", "strengths": (0.5, 1.0, 2.0, 5.0, 10.0)},
    "gap": {"name": "gap", "strengths": (3.0, 10.0, 30.0, 100.0, 300.0)},
}


@dataclass(frozen=True)
class Frame:
    """A border of a width or a patch of a side, in pixels of SIZE."""

    kind: Literal["border", "patch"]
    pixels: int
    fit: BorderFit = "cover"

    @property
    def name(self) -> str:
        """Such as `border 8 shrink`."""
        return f"{self.kind} {self.pixels}" + (f" {self.fit}" if self.kind == "border" else "")

    def trigger(self, size: int) -> TriggerConfig:
        """Its configuration for a classifier of another size."""
        pixels = max(1, round(self.pixels * size / SIZE))
        if self.kind == "border":
            return TriggerConfig("border", width=pixels, fit=self.fit)
        return TriggerConfig("patch", patch_size=pixels)


def frames(widths: Sequence[int], fits: Sequence[BorderFit], patches: Sequence[int]) -> list[Frame]:
    """Borders of every width and fit, then patches; 0 stands for none."""
    made = [Frame("border", width, fit) for width, fit in product(widths, fits)]
    return [frame for frame in (*made, *(Frame("patch", side) for side in patches)) if frame.pixels]


@dataclass(frozen=True, eq=False)
class Measurement:
    """One classifier with its data; every frame leaves a record."""

    folder: Path
    task: str
    builder: str
    base: Base
    seed: int
    config: RunConfig
    classifier: FrozenClassifier
    splits: Splits
    bare: ConfusionCounts
    progress: Progress

    def path(self, frame: Frame, objective: str, budget: float) -> Path:
        """Where a frame's record lies."""
        words = (self.task, self.builder.rpartition(":")[2], self.base, self.seed, frame.name, objective, f"{budget:g}")
        return self.folder / "pieces" / ("-".join(map(str, words)).replace(" ", "_") + ".json")

    def run(self, frame: Frame, objective: str, budget: float) -> None:
        """Train a frame and leave its record, unless it is there."""
        path = self.path(frame, objective, budget)
        if path.exists():
            return
        began, image = time.monotonic(), self.classifier.spec.image
        assert image
        system = System(frame.name, frame.trigger(image.width), OBJECTIVES[objective], TRAIN)
        select = replace(self.config.select, max_accuracy_drop=budget, measure="accuracy", min_recall_ratio=0.0)
        config = replace(system.config(self.config, "equalized_odds"), select=select)
        result = train_triggers(config, self.classifier, self.splits, self.progress)
        assert result.judge
        criterion = result.judge.criterion
        one = min(result.candidates, key=lambda each: criterion.rank(criterion.score(each.counts["val"])))
        kept = criterion.feasible(criterion.score(one.counts["val"]))
        named = {"task": self.task, "builder": self.builder, "base": self.base, "seed": self.seed, "budget": budget}
        found = {
            **named,
            "system": frame.name,
            "objective": objective,
            "strength": one.strength,
            "kept": kept,
            **_figures("", one.counts["test"] if kept else self.bare),
            **_figures("base_", self.bare),
            **_figures("alone_", self._alone(config)),
            "seconds": round(time.monotonic() - began, 1),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(found).encode() + b"\n")

    def _alone(self, config: RunConfig) -> ConfusionCounts:
        """Counts of the test part with the frame in black, nothing learned."""
        one = replace(config, objective=replace(config.objective, strengths=(0.0,)))
        (trigger,) = build_module(one, self.classifier).export()
        assert isinstance(trigger, ImageTrigger)
        bank = self.classifier.bank([replace(trigger, delta=torch.zeros_like(trigger.delta))])
        return confusion_counts(self.classifier, self.splits.test, bank, ROWS)[0]


def _figures(prefix: str, counts: ConfusionCounts) -> Record:
    gap = evaluate_counts(counts, labels=2).gaps[GAP].value
    return {f"{prefix}accuracy": accuracy(counts), f"{prefix}{GAP}": gap}


def table(found: Sequence[Record], budget: float) -> Iterator[str]:
    """Lines: per classifier and frame, what the frame alone costs and what the trigger takes, means over the seeds."""
    heads = ("classifier", "fitted on", "frame", "objective", "seeds", "accuracy", "frame alone", "trigger", "gap")
    yield f"| {' | '.join((*heads, 'gap left', 'share taken', 'kept'))} |"
    yield "|" + " --- |" * (len(heads) + 3)
    keys = ("builder", "base", "system", "objective")
    at = [one for one in found if one["budget"] == budget]
    for key in dict.fromkeys(tuple(one[name] for name in keys) for one in at):
        own = [one for one in at if tuple(one[name] for name in keys) == key]
        alone, trigger = (
            [100 * (one[f"{which}accuracy"] - one["base_accuracy"]) for one in own] for which in ("alone_", "")
        )
        shares = [100 * (1 - one[GAP] / one[f"base_{GAP}"]) for one in own]
        kept = f"{sum(one['kept'] for one in own)} of {len(own)}"
        cells = [
            f"{mean(one['base_accuracy'] for one in own):.3f}",
            f"{interval(alone, '+.1f')} points",
            f"{interval(trigger, '+.1f')} points",
            f"{mean(one[f'base_{GAP}'] for one in own):.3f}",
            interval([one[GAP] for one in own], ".3f"),
            f"{interval(shares, '.0f')} %",
            kept,
        ]
        yield f"| {' | '.join((*key, str(len(own)), *cells))} |"


def interval(values: Sequence[float], form: str) -> str:
    """`.123 (.100 to .146)`: the mean, and its 95 % interval where there are several seeds."""
    middle = mean(values)
    if not 1 < len(values) <= len(T_975) + 1:
        return f"{middle:{form}}"
    half = T_975[len(values) - 2] * stdev(values) / sqrt(len(values))
    return f"{middle:{form}} ({middle - half:{form}} to {middle + half:{form}})"


def main(
    out: Annotated[Path, typer.Option(help="folder for everything that is made")],
    task: Annotated[str, typer.Option(help=f"one of {', '.join(TASKS)}, of images and two labels")] = "attractive",
    seed: Annotated[list[int] | None, typer.Option(help="default: 0 to 4")] = None,
    builder: Annotated[list[str] | None, typer.Option(help=f"as base.builder; default: {', '.join(BUILDERS)}")] = None,
    base: Annotated[Base | None, typer.Option(help="default: both")] = None,
    width: Annotated[list[int] | None, typer.Option(help=f"default: {WIDTHS}; 0: none")] = None,
    fit: Annotated[BorderFit | None, typer.Option(help="default: both")] = None,
    patch: Annotated[list[int] | None, typer.Option(help=f"default: {PATCHES}; 0: none")] = None,
    objective: Annotated[Literal["adversarial", "gap"], typer.Option(help="of the triggers")] = "adversarial",
    budget: Annotated[float, typer.Option(help="most accuracy that a frame may cost on validation")] = 0.01,
    only_table: Annotated[bool, typer.Option("--table", help="only print the table of what is there")] = False,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="as given to the trainer")] = None,
) -> None:
    """Make the pieces that are not there yet, and print the table of all."""
    folder, changes = out.resolve(), tuple(overrides or ())
    wanted = frames(width or WIDTHS, (fit,) if fit else ("shrink", "cover"), patch or PATCHES)
    classifiers = product(builder or BUILDERS, (base,) if base else BASES, seed or range(5))
    try:
        with open_progress(sys.stderr) as progress:
            for name, how, number in () if only_table else classifiers:
                found = measurement(folder, task, name, how, number, changes, progress)
                for frame in wanted:
                    found.run(frame, objective, budget)
    except FairtriggerError as error:
        raise SystemExit(f"error: {error}") from error
    pieces = [json.loads(path.read_text()) for path in sorted((folder / "pieces").glob("*.json"))]
    print("\n".join(table([one for one in pieces if one["task"] == task], budget)))


def measurement(
    folder: Path, task: str, builder: str, base: Base, seed: int, changes: tuple[str, ...], progress: Progress
) -> Measurement:
    """One classifier, fitted if it is not there. Raises ConfigError."""
    name = f"{task}-{builder.rpartition(':')[2]}-{base}-{seed}"
    own = (f'base.builder="{builder}"', f'model.bundle="{folder / "models" / name}"', *BASES[base])
    where = TASKS[task].prepare(Sources.beside_repository(folder / "made"), seed, progress)
    config = TASKS[task].config(folder / "models", seed, (*where, *own, *changes))
    classifier, splits = prepare_data(config, folder / DATA_CACHE, progress)
    bank = classifier.bank([classifier.null_trigger()])
    (bare,) = confusion_counts(classifier, splits.test, bank, ROWS)
    return Measurement(folder, task, builder, base, seed, config, classifier, splits, bare, progress)


if __name__ == "__main__":
    typer.run(main)
