"""Cross-fitting: every row of tuning and val both trains and validates, but never the same trigger.

The two parts are joined and cut into folds. Each fold's triggers are trained on the other folds and counted on it; the
counts, added up over the folds, are as many as there are rows, which makes the choice of strength and step far less
noisy. The published trigger of a strength is the mean of its folds' triggers after the chosen step (all folds start
alike; Wortsman et al., ICML 2022, average fine-tuned weights so), or, for hard triggers, whose words have no mean, the
one that did best on its fold. The counts stated as `val` are those of the folds' own triggers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from trainer.config import RunConfig
from trainer.data import Dataset, Splits
from trainer.distributed import ProcessGroup
from trainer.evaluation import TrainingResult
from trainer.evaluation.selection import selection_criterion
from trainer.evaluation.strength_range import StrengthSearch
from trainer.evaluation.validation_rows import ValidationRows
from trainer.progress import Progress
from trainer.training.final_evaluation import final_result
from trainer.training.strength_search import prepare_run, with_search
from trainer.training.training_loop import TrainingRun, total_steps
from trainer.training.validation_history import ValidationHistory
from triggers.model import FrozenClassifier
from triggers.preprocessing import TextBatch


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
        history = ValidationHistory(run.optimizer.average)
        run.train(history, own, f"train triggers, fold {fold + 1} of {folds}", tracked_as=f"fold-{fold + 1}/")
        finished.append((run, history))
    return Folds(finished, pool, fold_of, search)


class Folds:
    """The validations of all folds together; `place` is the index of a validation, the same in every fold."""

    def __init__(
        self,
        finished: Sequence[tuple[TrainingRun, ValidationHistory]],
        pool: Dataset,
        fold_of: Tensor,
        search: StrengthSearch | None = None,
    ) -> None:
        self.runs, self.histories = zip(*finished, strict=True)
        self.pool, self.search = pool, search
        held_out = [(fold_of == fold).nonzero()[:, 0] for fold in range(len(self.runs))]
        self._order = torch.cat(held_out).argsort()  # from fold after fold to the pool's order
        self.rows = ValidationRows.joined([run.val_rows for run in self.runs]).take(self._order)

    def predictions(self, place: int) -> Tensor:
        """Predictions (K, N) of the pool's rows at a validation, by the triggers of the fold that held the row out."""
        return torch.cat([history.predictions[place] for history in self.histories], dim=1)[:, self._order]

    def restore(self, places: Sequence[int]) -> None:
        """Put into the last run's module the triggers that are published, strength k as it was at places[k]."""
        with torch.no_grad():
            for name, value in self.runs[-1].optimizer.average.named_parameters():
                for k, place in enumerate(places):
                    value[k] = self._published(place, k, name).to(value.device)

    def result(self) -> TrainingResult:
        """Choose over all rows, then count the test split, once."""
        steps = self.histories[0].steps
        predictions = [self.predictions(place) for place in range(len(steps))]
        result = final_result(self.runs[-1], self.rows, predictions, self.restore, steps)
        note = (
            f"Cross-fitted: validated on all {len(self.pool)} rows of tuning and val, in {len(self.runs)} folds. Tests"
            " are of the folds' own triggers; the published one is their mean, or for hard triggers the best of them."
        )
        result = replace(
            result,
            data_counts={**result.data_counts, "tuning": self.pool.counts(), "val": self.pool.counts()},
            seconds=sum(run.seconds for run in self.runs),
            notes=(note, *result.notes),
        )
        return with_search(result, self.search)

    def _published(self, place: int, k: int, name: str) -> Tensor:
        """A parameter at a validation: the folds' mean, or for hard triggers that of the fold that did best."""
        values: list[Tensor] = [history.parameters[place][name][k] for history in self.histories]
        if self.runs[0].config.trigger.kind != "hard":
            return torch.stack(values).mean(dim=0)
        return values[min(range(len(values)), key=lambda fold: self._rank(fold, place, k))]

    def _rank(self, fold: int, place: int, k: int) -> tuple[float, ...]:
        """The rank of one fold's own trigger on the rows that it held out."""
        run, rows = self.runs[fold], self.runs[fold].val_rows
        criterion = selection_criterion(run.config, run.classifier, rows.counts(rows.bare))
        return criterion.rank(criterion.score(rows.counts(self.histories[fold].predictions[place][k])))


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
