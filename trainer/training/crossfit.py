"""Cross-fitting: every row of tuning and val both trains and validates, but never the same trigger.

The two parts are joined and cut into folds. Each fold's triggers are trained on the other folds and counted on it; the
counts, added up over the folds, are as many as there are rows, which makes the choice of strength and step far less
noisy. The published trigger of a strength is the mean of its folds' triggers after the chosen step (all folds start
alike; Wortsman et al., ICML 2022, average fine-tuned weights so), or, for hard triggers, whose words have no mean, the
one that did best on its fold. The counts stated as `val` are those of the folds' own triggers.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor

from trainer.config import RunConfig
from trainer.data import Dataset, Splits
from trainer.distributed import ProcessGroup
from trainer.evaluation import SelectionCriterion, TrainingResult
from trainer.evaluation.run_result import ConfusionCounts
from trainer.evaluation.selection import ValidationSnapshot, selection_criterion
from trainer.evaluation.strength_range import StrengthSearch
from trainer.progress import Progress
from trainer.training.best_snapshots import AllSnapshots
from trainer.training.final_evaluation import final_result
from trainer.training.strength_search import prepare_run, with_search
from trainer.training.training_loop import TrainingRun, total_steps
from triggers.model import FrozenClassifier
from triggers.preprocessing import TextBatch
from triggers.trigger.image_trainable import ImageModule
from triggers.trigger.text_trainable import TextModule

Module: TypeAlias = ImageModule | TextModule


def train_folds(
    config: RunConfig,
    classifier: FrozenClassifier,
    splits: Splits,
    progress: Progress,
    path: Path | None = None,
    process_group: ProcessGroup | None = None,
) -> Folds:
    """The finished runs of all folds, all with the same steps, nothing chosen yet.

    With a checkpoint `path`, finished folds are not trained again.
    """
    pool, folds = concatenate(splits.tuning, splits.val), config.select.folds
    fold_of = assign_folds(pool, folds, config.split.seed)
    parts = [Splits(*split_held_out(pool, fold_of == fold), splits.test) for fold in range(folds)]
    steps = min(total_steps(config.train, len(part.tuning)) for part in parts)
    alike = replace(config, train=replace(config.train, steps=steps, epochs=None))
    finished, search = [], None
    for fold, part in enumerate(parts):
        own = fold_path(path, fold)
        run, searched = prepare_run(alike, classifier, part, progress, own, process_group)
        alike, search = run.config, search or searched  # the first fold's strengths are those of all
        snapshots = AllSnapshots(run.optimizer.average)
        run.train(snapshots, own, f"train triggers, fold {fold + 1} of {folds}")
        finished.append((run, snapshots))
    return Folds(finished, pool, search)


class Folds:
    """The validations of all folds together; `place` is the index of a validation, the same in every fold."""

    def __init__(
        self,
        finished: Sequence[tuple[TrainingRun, AllSnapshots]],
        pool: Dataset,
        search: StrengthSearch | None = None,
    ) -> None:
        self.runs, self.fold_snapshots = zip(*finished, strict=True)
        self.pool, self.search = pool, search
        self.bare = sum_counts([run.bare_val for run in self.runs])
        self.criterion = selection_criterion(self.runs[0].config, self.runs[0].classifier, self.bare)

    def best(self, criterion: SelectionCriterion, k: int) -> int:
        """Index of the best validation of strength k over all folds together; of equal ones the earlier."""
        places = range(len(self.fold_snapshots[0].steps))
        return min(places, key=lambda place: criterion.rank(self.snapshot(criterion, place, k).score))

    def snapshot(self, criterion: SelectionCriterion, place: int, k: int) -> ValidationSnapshot:
        """Snapshot of strength k at a validation: each fold's triggers counted on the rows held out from them."""
        counts = sum_counts([snapshots.counts[place][k] for snapshots in self.fold_snapshots])
        return ValidationSnapshot(self.fold_snapshots[0].steps[place], counts, criterion.score(counts))

    def restore_best(self, places: Sequence[int]) -> Module:
        """The last run's module with the triggers that are published, strength k as it was at places[k]."""
        return fill_module(self.runs[-1].optimizer.average, lambda k, name: self._final(places[k], k, name))

    def result(self) -> TrainingResult:
        """Choose over all rows, then count the test split, once."""
        places = [self.best(self.criterion, k) for k in range(len(self.runs[0].optimizer.strengths))]
        self.restore_best(places)
        snapshots = [self.snapshot(self.criterion, place, k) for k, place in enumerate(places)]
        result = final_result(self.runs[-1], self.criterion, snapshots)
        note = f"Cross-fitted: validated on all {len(self.pool)} rows of tuning and val, in {len(self.runs)} folds."
        result = replace(
            result,
            data_counts={**result.data_counts, "tuning": self.pool.counts(), "val": self.pool.counts()},
            seconds=sum(run.seconds for run in self.runs),
            notes=(note, *result.notes),
        )
        return with_search(result, self.search)

    def _final(self, place: int, k: int, name: str) -> Tensor:
        """A parameter at a validation: the folds' mean, or for hard triggers the best fold's."""
        values: list[Tensor] = [snapshots.parameters[place][name][k] for snapshots in self.fold_snapshots]
        if self.runs[0].config.trigger.kind != "hard":
            return torch.stack(values).mean(dim=0)
        scores = [self.criterion.score(snapshots.counts[place][k]) for snapshots in self.fold_snapshots]
        return values[min(range(len(scores)), key=lambda fold: self.criterion.rank(scores[fold]))]


def fill_module(module: Module, value_of: Callable[[int, str], Tensor]) -> Module:
    """The module with value_of(k, name) in row k of every parameter."""
    with torch.no_grad():
        for name, value in module.named_parameters():
            for k in range(len(value)):
                value[k] = value_of(k, name).to(value.device)
    return module


def fold_path(path: Path | None, fold: int) -> Path | None:
    """The checkpoint's path for a fold, next to that of a run without folds."""
    return path and path.with_name(f"{path.stem}-fold-{fold + 1}{path.suffix}")


def assign_folds(pool: Dataset, folds: int, seed: int) -> Tensor:
    """Fold (N,) of each row, stratified by label and group; copies of one content are in the same fold."""
    contents = [hashlib.sha256(f"{seed}:".encode() + content).hexdigest() for content in _contents(pool)]
    cells = list(zip(pool.labels.tolist(), pool.groups.tolist(), strict=True))
    first = {content: row for row, content in reversed(list(enumerate(contents)))}
    order = sorted(first, key=lambda content: (cells[first[content]], content))
    fold_of = {content: place % folds for place, content in enumerate(order)}
    return torch.tensor([fold_of[content] for content in contents])


def concatenate(first: Dataset, second: Dataset) -> Dataset:
    """The rows of both data sets."""
    return replace(
        first,
        inputs=_joined_inputs(first, second),
        labels=torch.cat([first.labels, second.labels]),
        groups=torch.cat([first.groups, second.groups]),
        ids=(*first.ids, *second.ids),
    )


def _joined_inputs(first: Dataset, second: Dataset) -> Tensor | TextBatch:
    if isinstance(first.inputs, TextBatch) and isinstance(second.inputs, TextBatch):
        both = (first.inputs, second.inputs)
        width = max(part.ids.shape[1] for part in both)
        ids = [torch.nn.functional.pad(part.ids, (0, width - part.ids.shape[1])) for part in both]
        return TextBatch(torch.cat(ids), torch.cat([part.lengths for part in both]))
    assert isinstance(first.inputs, Tensor) and isinstance(second.inputs, Tensor)
    return torch.cat([first.inputs, second.inputs])


def _contents(data: Dataset) -> list[bytes]:
    inputs = data.inputs
    if isinstance(inputs, TextBatch):
        rows = zip(inputs.ids.tolist(), inputs.lengths.tolist(), strict=True)
        return [repr(ids[:length]).encode() for ids, length in rows]
    return [image.numpy().tobytes() for image in inputs]


def split_held_out(pool: Dataset, held_out: Tensor) -> tuple[Dataset, Dataset]:
    """The other folds' rows, and the held out ones."""
    return _rows(pool, (~held_out).nonzero().flatten()), _rows(pool, held_out.nonzero().flatten())


def _rows(pool: Dataset, rows: Tensor) -> Dataset:
    return replace(pool.take(rows), ids=tuple(pool.ids[row] for row in rows.tolist()))


def sum_counts(tables: Sequence[ConfusionCounts]) -> ConfusionCounts:
    """Counts added up cell by cell."""
    total: Counter[tuple[str, int | None, int]] = Counter()
    for table in tables:
        total.update(table)
    return dict(total)
