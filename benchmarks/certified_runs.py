"""Runs that tell how well certified picks hold: every prediction of every trigger on rows that no training saw.

python -m benchmarks.certified_runs --out runs/certified --task attractive --seed 0     one classifier, both criteria

Each leaves `<task>-<criterion>-<seed>.npz`: `labels` and `cells` (N,), `bare` (N,), `predictions` (validations, K, N)
of all rows of the val and test parts, which are as good as one another here: whatever is chosen is chosen afterwards,
by `benchmarks.certified`, which draws validation rows from them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from benchmarks.systems import plain_system
from benchmarks.tasks import CRITERIA, TASKS, Sources
from trainer.config import Criterion, RunConfig
from trainer.data import Splits
from trainer.distributed import deterministic_algorithms
from trainer.evaluation.counts import evaluation_classifier, predicted_labels
from trainer.progress import Progress, open_progress
from trainer.train import open_run
from trainer.training.training_loop import TrainingRun
from trainer.training.validation_history import ValidationHistory
from triggers.model import FrozenClassifier

RECORDED = ("attractive", "smiling", "eyeglasses", "toxic", "rare", "age")
"""Tasks that are recorded."""

HELD_OUT: Mapping[str, tuple[str, ...]] = {
    "age": ("split.tuning=2000", "split.val=1500", "split.test=6000"),
    "rare": ("split.base=0.5", "split.val=0.17", "split.test=0.12"),
}
"""Parts of the tasks whose own are smaller."""


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
    task: Annotated[list[str], typer.Option(help=f"One of {', '.join(RECORDED)}; may be given again.")],
    seed: Annotated[list[int], typer.Option(help="May be given again.")],
    data: Annotated[Path | None, typer.Option(help="Folder of the data files, else as the examples have it.")] = None,
    changes: Annotated[list[str] | None, typer.Option("--set", help="A change of the configuration.")] = None,
) -> None:
    """Record the runs of the tasks and seeds that are not there yet."""
    out.mkdir(parents=True, exist_ok=True)
    sources = Sources.beside_repository(out.resolve())
    sources = (
        sources if data is None else replace(sources, data=data.resolve(), models=data.resolve().parent / "models")
    )
    with open_progress(sys.stderr) as progress:
        for name in task:
            for number in seed:
                _record(sources, name, number, tuple(changes or ()), progress)


def _record(sources: Sources, task: str, seed: int, changes: tuple[str, ...], progress: Progress) -> None:
    out = sources.made
    wanted = {criterion: out / f"{task}-{criterion}-{seed}.npz" for criterion in CRITERIA}
    if all(path.exists() for path in wanted.values()):
        return
    where = TASKS[task].prepare(sources, seed, progress)
    base = TASKS[task].config(out, seed, (*where, *HELD_OUT.get(task, ()), *changes))
    classifier, loader = open_run(base, out / "data-cache", progress)
    splits = loader.splits(classifier)
    for criterion, path in wanted.items():
        Recorder(configured(base, criterion), classifier, splits).write(path, progress)


if __name__ == "__main__":
    typer.run(main)
