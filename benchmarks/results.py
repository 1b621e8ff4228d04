"""Every system on real data, three seeds, both criteria: docs/results.json, from which docs/results.md is written.

python -m benchmarks.results --out runs/results                          everything (hours on one GPU, see below)
python -m benchmarks.results --out runs/results --task attractive --seed 0 --system overlay     one piece of it

Each piece leaves its own JSON file in the folder, and a piece that is there is not run again; pieces can run side by
side in several processes. `--collect` writes docs/results.json from all of them.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from benchmarks.ablations import Variation, variations
from benchmarks.picks import Pick, group_threshold_picks, threshold_picks, trigger_picks, weight_picks
from benchmarks.systems import (
    BUDGETS,
    BY_GROUP,
    CRITERIA,
    MAIN,
    TASKS,
    WEIGHTS,
    System,
    Task,
    plain_system,
    trigger_systems,
)
from trainer.config import Criterion, RunConfig
from trainer.evaluation import confusion_counts
from trainer.evaluation.counts import ConfusionCounts, accuracy
from trainer.progress import Progress, open_progress
from trainer.train import open_run
from triggers.errors import FairtriggerError
from triggers.metrics import evaluate_counts
from triggers.model import FrozenClassifier

DOCUMENT = Path(__file__).parents[1] / "docs" / "results.json"
GAPS = ("demographic_parity_difference", "equalized_odds_difference", "average_odds_difference")
Record: TypeAlias = dict[str, Any]
Picked: TypeAlias = tuple[str, str, list[Pick]]
"""A system's name, its objective, and what validation picked."""


def figures(counts: ConfusionCounts, labels: int = 2) -> dict[str, float | None]:
    """Accuracy and gaps of one table of counts; of more than two labels, gaps are means over the labels."""
    report = evaluate_counts(counts, labels=labels)
    found = {name: report.gaps.get(f"macro_{name}") or report.gaps[name] for name in GAPS}
    return {"accuracy": accuracy(counts), **{name: gap.value for name, gap in found.items()}}


def records(
    common: Record, picks: list[Pick], bare: ConfusionCounts, seconds: float, labels: int, receiver: int | None = None
) -> Iterator[Record]:
    """One record per budget, with the bare model's figures on the same test rows beside its own.

    Where nothing kept to a budget the model stays bare, which `kept` says. `receiver` is the number of another
    classifier, whose counts these are then to be.
    """
    base = {f"base_{name}": value for name, value in figures(bare, labels).items()}
    picked = {pick.budget: pick for pick in picks}
    for budget in BUDGETS:
        pick = picked.get(budget)
        counts = bare if pick is None else pick.test if receiver is None else pick.received[receiver]
        said = {"budget": budget, "kept": pick is not None, "strength": pick and pick.strength}
        yield {**common, **said, **figures(counts, labels), **base, "n_test": sum(counts.values()),
               "seconds": round(seconds, 1)}  # fmt: skip


class Pieces:
    """What one task and seed is made of: systems by name, each run for every criterion that is asked for."""

    def __init__(
        self,
        task: Task,
        seed: int,
        folder: Path,
        progress: Progress,
        criteria: Sequence[Criterion],
        changes: tuple[str, ...],
    ) -> None:
        self.task, self.seed, self.folder, self.progress, self.criteria = task, seed, folder, progress, criteria
        self.changes, self.config = changes, task.config(folder / "models", seed, changes)
        self.classifier, loader = open_run(self.config, folder / "data-cache", progress)
        parts = loader.splits(self.classifier)
        self.splits = replace(parts, base=loader.load(self.classifier, "base"))
        self.bare = self.bare_test(self.classifier)

    def bare_test(self, classifier: FrozenClassifier) -> ConfusionCounts:
        """The test part under a classifier without a trigger."""
        return confusion_counts(classifier, self.splits.test, classifier.bank([classifier.null_trigger()]), 512)[0]

    def names(self) -> list[str]:
        """Every piece's name."""
        return ["threshold", BY_GROUP, *WEIGHTS, *(_name(system) for system in trigger_systems(self.config.modality))]

    def run(self, name: str) -> None:
        """Run a system for every criterion and leave its records, unless they are there."""
        self._leave(name, {}, lambda criterion: self._picks(name, criterion))

    def vary(self, variation: Variation) -> None:
        """The same for a point of an ablation; this object's configuration has the variation's changes."""
        mark = {"ablation": variation.ablation, "value": variation.value}
        self._leave(variation.name, mark, lambda criterion: self._varied(variation, criterion))

    def transfer(self, receivers: Mapping[str, FrozenClassifier]) -> None:
        """Triggers of this classifier on others that never saw them in training."""
        system = plain_system(self.config.modality)
        bare = {name: self.bare_test(each) for name, each in receivers.items()}
        for criterion in self.criteria:
            path, found, began = self.path(f"transfer {criterion}"), list[Record](), time.monotonic()
            if path.exists():
                continue
            config = system.config(self.config, criterion)
            picks = trigger_picks(config, self.classifier, self.splits, self.progress, list(receivers.values()))
            for number, name in enumerate(receivers):
                common = self.common(system.name, str(system.objective["name"]), criterion)
                mark = {"ablation": "transfer", "value": name}
                seconds = time.monotonic() - began
                found += records({**common, **mark}, picks, bare[name], seconds, self.labels, number)
            self.write(path, found)

    def _leave(self, name: str, mark: Record, picked: Callable[[Criterion], Picked]) -> None:
        for criterion in self.criteria:
            path = self.path(f"{name} {criterion}")
            if path.exists():
                continue
            began = time.monotonic()
            system, objective, picks = picked(criterion)
            common = {**self.common(system, objective, criterion), **mark}
            seconds = time.monotonic() - began
            self.write(path, list(records(common, picks, self.bare, seconds, self.labels)))

    @property
    def labels(self) -> int:
        """How many classes there are."""
        return len(self.classifier.labels)

    def common(self, system: str, objective: str, criterion: Criterion) -> Record:
        """What the records of a system have in common."""
        task = {"data": self.task.data, "target": self.task.target, "group": self.task.group}
        return {**task, "system": system, "objective": objective, "criterion": criterion, "seed": self.seed}

    def path(self, name: str) -> Path:
        """Where a piece lies."""
        file = f"{self.task.target}-{self.seed}-{name}.json"
        return self.folder / "pieces" / file.replace(" ", "_").replace(",", "").replace("/", "-of-")

    def write(self, path: Path, found: list[Record]) -> None:
        """Leave a finished piece."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found, indent=1) + "\n")
        self.progress.note(f"{path.stem}: {len(found)} records")

    def _picks(self, name: str, criterion: Criterion) -> Picked:
        if name == "threshold":
            return name, "-", threshold_picks(self._towards(criterion), self.classifier, self.splits)
        if name == BY_GROUP:
            return name, "-", group_threshold_picks(self._towards(criterion), self.classifier, self.splits)
        if name in WEIGHTS:
            return self._weights(name, criterion, WEIGHTS[name])
        return self._trigger(
            next(one for one in trigger_systems(self.config.modality) if _name(one) == name), criterion
        )

    def _varied(self, variation: Variation, criterion: Criterion) -> Picked:
        return (
            self._trigger(variation.system, criterion)
            if variation.system
            else self._weights("AdvPost", criterion, (2.0,))
        )

    def _trigger(self, system: System, criterion: Criterion) -> Picked:
        picks = trigger_picks(system.config(self.config, criterion), self.classifier, self.splits, self.progress)
        return system.name, str(system.objective["name"]), picks

    def _weights(self, name: str, criterion: Criterion, strengths: tuple[float, ...]) -> Picked:
        config = self._towards(criterion)
        rival = replace(config, objective=replace(config.objective, name="adversarial", strengths=strengths))
        return name, "adversarial", weight_picks(name, rival, self.classifier, self.splits, strengths)

    def _towards(self, criterion: Criterion) -> RunConfig:
        return replace(self.config, objective=replace(self.config.objective, criterion=criterion))


Opened: TypeAlias = Callable[[tuple[str, ...]], Pieces]
"""The pieces of a task and seed, with further changes of the configuration."""


def _opened(
    task: Task, seed: int, out: Path, progress: Progress, criteria: Sequence[Criterion], changes: tuple[str, ...]
) -> Opened:
    return lambda further: Pieces(task, seed, out, progress, criteria, (*changes, *further))


def _name(system: System) -> str:
    return f"{system.name} {system.objective['name']}"


def collected(folder: Path) -> list[Record]:
    """The records of all pieces, in a fixed order."""
    found: list[Record] = [
        one for path in sorted((folder / "pieces").glob("*.json")) for one in json.loads(path.read_text())
    ]
    keys = ("data", "target", "criterion", "system", "objective", "seed", "budget")
    return sorted(
        found, key=lambda one: [one.get("ablation", ""), str(one.get("value", "")), *(one[key] for key in keys)]
    )


def _systems(opened: Opened, beginnings: tuple[str, ...]) -> None:
    pieces = opened(())
    for name in pieces.names():
        if name.startswith(beginnings):
            pieces.run(name)


def _ablations(opened: Opened, beginnings: tuple[str, ...]) -> None:
    plain = opened(())
    for variation in variations(plain.config.modality):
        if variation.name.startswith(beginnings):
            (opened(variation.changes) if variation.changes else plain).vary(variation)


def _transfer(opened: Opened, beginnings: tuple[str, ...]) -> None:
    pieces = opened(())
    receivers = {
        name: open_run(config, pieces.folder / "data-cache", pieces.progress)[0]
        for name, config in pieces.task.receivers(pieces.folder / "models", pieces.seed, pieces.changes)
        if name.startswith(beginnings)
    }
    pieces.transfer(receivers)


def main(
    out: Annotated[Path, typer.Option(help="folder for everything that is made")],
    task: Annotated[list[str] | None, typer.Option(help=f"of {', '.join(TASKS)}; default: {', '.join(MAIN)}")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="default: 0, 1, 2")] = None,
    system: Annotated[list[str] | None, typer.Option(help="a piece's name, or how it begins; default: all")] = None,
    criterion: Annotated[Criterion | None, typer.Option(help="default: both")] = None,
    ablations: Annotated[bool, typer.Option("--ablations", help="run the ablations instead of the systems")] = False,
    transfer: Annotated[bool, typer.Option("--transfer", help="triggers on other classifiers instead")] = False,
    collect: Annotated[bool, typer.Option("--collect", help="only write docs/results.json")] = False,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="as given to the trainer")] = None,
) -> None:
    """Run the pieces that are asked for, then collect."""
    wanted = [(TASKS[name], number) for name in task or MAIN for number in seed or (0, 1, 2)]
    work = _ablations if ablations else _transfer if transfer else _systems
    try:
        with open_progress(sys.stderr) as progress:
            for one, number in [] if collect else wanted:
                criteria, changes = (criterion,) if criterion else CRITERIA, tuple(overrides or ())
                work(_opened(one, number, out.resolve(), progress, criteria, changes), tuple(system or ("",)))
    except FairtriggerError as error:
        raise SystemExit(f"error: {error}") from error
    if collect:
        DOCUMENT.write_text("[\n" + ",\n".join(map(json.dumps, collected(out))) + "\n]\n")
        print(DOCUMENT)


if __name__ == "__main__":
    typer.run(main)
