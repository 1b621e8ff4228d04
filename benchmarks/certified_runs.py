"""Runs that tell how well certified picks hold: every prediction of every trigger on rows that no training saw.

python -m benchmarks.certified_runs --out runs/certified --task attractive --seed 0     one classifier, both criteria

Each leaves `<task>-<criterion>-<seed>.npz`: `labels` and `cells` (N,), `bare` (N,), `predictions` (validations, K, N)
of all rows of the val and test parts, which are as good as one another here: whatever is chosen is chosen afterwards,
by `benchmarks.certified`, which draws validation rows from them.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Annotated

import numpy as np
import torch
import typer

from benchmarks.systems import CRITERIA, EXAMPLES, Task, plain_system
from trainer.config import Criterion, RunConfig, load_config
from trainer.data import Splits
from trainer.distributed import deterministic_algorithms
from trainer.evaluation.counts import evaluation_classifier, predicted_labels
from trainer.progress import Progress, open_progress
from trainer.train import open_run
from trainer.training.training_loop import TrainingRun
from trainer.training.validation_history import ValidationHistory
from triggers.model import FrozenClassifier

RARE_SHARE = 0.1
"""Share of toxic posts in the task of rare positives."""


def _face(attribute: str) -> Task:
    changes = (f"data.label={attribute}", "base.labels=[]", f"base.name=celeba-{attribute.lower()}")
    return Task("celeba10k", attribute, "Male", "celeba", ("base.shift=0", *changes))


FITTED = {
    "attractive": _face("Attractive"),
    "smiling": _face("Smiling"),
    "eyeglasses": _face("Eyeglasses"),  # 7 % of the faces
    "toxic": Task("hatexplain", "toxic", "names an identity", "hatexplain"),
    "rare": Task("hatexplain", "rarely toxic", "names an identity", "hatexplain"),
}

TASKS = (*FITTED, "age")
"""`age` is dlib's network, which is fitted on nothing of these data."""


def rare_posts(data: Path, out: Path) -> Path:
    """The posts with only so many of the toxic ones that they are RARE_SHARE of all."""
    with data.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    fine = [row for row in rows if row["toxic"] == "0"]
    toxic = [row for row in rows if row["toxic"] == "1"]
    kept = Random(0).sample(toxic, round(len(fine) * RARE_SHARE / (1 - RARE_SHARE)))
    with out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows([*fine, *kept])
    return out


@dataclass(frozen=True)
class Recorder:
    """Trains one configuration and writes what its triggers predict after every validation."""

    config: RunConfig
    classifier: FrozenClassifier
    splits: Splits

    def write(self, path: Path, progress: Progress) -> None:
        """Train, predict, write."""
        with deterministic_algorithms(self.classifier.device, self.config.train.threads):
            run = TrainingRun.prepare(self.config, self.classifier, self.splits, progress)
            history = ValidationHistory(run.optimizer.average)
            run.train(history)
            counter, rows = evaluation_classifier(self.classifier), self.config.train.batch_size
            null = self.classifier.bank([self.classifier.null_trigger()])
            (bare,) = predicted_labels(counter, run.test, null, rows)
            tests = []
            for place in range(len(history.steps)):
                history.restore_module([place] * len(self.config.objective.strengths))
                with torch.no_grad():
                    bank = run.optimizer.average.render()
                tests.append(predicted_labels(counter, run.test, bank, rows).cpu())
        val, test = run.val_rows, run.test
        np.savez_compressed(
            path,
            labels=np.concatenate([val.labels, test.labels.cpu()]).astype(np.uint8),
            cells=np.concatenate([val.cells, test.groups.cpu()]).astype(np.uint8),
            bare=np.concatenate([val.bare, bare.cpu()]).astype(np.uint8),
            predictions=np.concatenate(
                [torch.stack(history.predictions).numpy(), torch.stack(tests).numpy()], axis=-1
            ).astype(np.uint8),
            steps=np.array(history.steps),
            strengths=np.array(self.config.objective.strengths),
            cell_names=np.array(test.group_names),
            label_names=np.array(test.label_names),
        )


def configured(base: RunConfig, criterion: Criterion) -> RunConfig:
    """The task with the product's plain system for its modality."""
    made = plain_system(base.modality).config(base, criterion)
    return replace(made, objective=replace(made.objective, calibrate=True))


def main(
    out: Annotated[Path, typer.Option(help="Folder of the files.")],
    task: Annotated[list[str], typer.Option(help=f"One of {', '.join(TASKS)}; may be given again.")],
    seed: Annotated[list[int], typer.Option(help="May be given again.")],
    data: Annotated[Path | None, typer.Option(help="Folder of the data files, else as the examples have it.")] = None,
    bundle: Annotated[Path | None, typer.Option(help="Bundle of the age network, made by `fairtrigger wrap`.")] = None,
    changes: Annotated[list[str] | None, typer.Option("--set", help="A change of the configuration.")] = None,
) -> None:
    """Record the runs of the tasks and seeds that are not there yet."""
    out.mkdir(parents=True, exist_ok=True)
    with open_progress(sys.stderr) as progress:
        for name in task:
            for number in seed:
                _record(out, name, number, (*_changes(name, data, bundle, out), *(changes or ())), progress)


def _changes(task: str, data: Path | None, bundle: Path | None, out: Path) -> tuple[str, ...]:
    """Where the task's data lie."""
    folder = (data or Path(__file__).parents[2] / "shared" / "data").resolve()
    found: dict[str, Callable[[], Path]] = {
        "age": lambda: folder / "faces64" / "faces.csv",
        "toxic": lambda: folder / "hatexplain.csv",
        "rare": lambda: rare_posts(folder / "hatexplain.csv", out.resolve() / "rare.csv"),
    }
    path = found.get(task, lambda: folder / "celeba10k.tar")()
    own = [f'data.path="{path}"']
    own += [f'base.encoder="{folder.parent / "models" / "minilm"}"'] if task in ("toxic", "rare") else []
    own += ["split.tuning=2000", "split.val=1500", "split.test=6000"] if task == "age" else []
    own += ["split.val=0.17", "split.test=0.12"] if task == "rare" else []
    return (*own, *((f'model.bundle="{bundle.resolve()}"',) if task == "age" and bundle else ()))


def _record(out: Path, task: str, seed: int, changes: tuple[str, ...], progress: Progress) -> None:
    wanted = {criterion: out / f"{task}-{criterion}-{seed}.npz" for criterion in CRITERIA}
    if all(path.exists() for path in wanted.values()):
        return
    base = _configuration(out.resolve(), task, seed, changes)
    classifier, loader = open_run(base, out / "data-cache", progress)
    splits = loader.splits(classifier)
    for criterion, path in wanted.items():
        Recorder(configured(base, criterion), classifier, splits).write(path, progress)


def _configuration(out: Path, task: str, seed: int, changes: tuple[str, ...]) -> RunConfig:
    if task != "age":
        return FITTED[task].config(out, seed, changes)
    own = ("publish.enabled=false", f"split.seed={seed}", f"train.seed={seed}", "baselines.systems=[]")
    return load_config(EXAMPLES / "dlib-age" / "run.toml", [*own, *changes])


if __name__ == "__main__":
    typer.run(main)
