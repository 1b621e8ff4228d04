"""Cross-fitting: every row of tuning and val both trains and validates, but never the same trigger.

The two parts are joined and cut into folds. Each fold's triggers are trained on the other folds and counted on it; the
counts, added up over the folds, are as many as there are rows, which makes the choice of strength and step far less of
a gamble. What is published of a strength is the mean of its folds' triggers after the chosen step (all folds start
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
from trainer.learn import Run, judge_of, learn, total_steps
from trainer.outcome import Counts, Outcome
from trainer.progress import Progress
from trainer.reproducible import reproducible
from trainer.select import Judge, Snapshot
from trainer.shortlist import Trail
from trainer.world import World
from triggers.classifier import FrozenClassifier
from triggers.image_modules import ImageModule
from triggers.preprocess import TextBatch
from triggers.text_modules import TextModule

Module: TypeAlias = ImageModule | TextModule


def train_triggers(
    config: RunConfig,
    classifier: FrozenClassifier,
    splits: Splits,
    progress: Progress,
    path: Path | None = None,
    world: World | None = None,
) -> Outcome:
    """The outcome of one training, or of a cross-fitted one where `select.folds` says so; `path` is a checkpoint's."""
    how = cross_fit if config.select.folds > 1 else learn
    return how(config, classifier, splits, progress, path, world)


def cross_fit(
    config: RunConfig,
    classifier: FrozenClassifier,
    splits: Splits,
    progress: Progress,
    path: Path | None = None,
    world: World | None = None,
) -> Outcome:
    """Train the triggers of every fold; with a checkpoint `path`, finished folds are not trained again."""
    with reproducible(classifier.device, config.train.threads):
        return train_folds(config, classifier, splits, progress, path, world).outcome()


def train_folds(
    config: RunConfig,
    classifier: FrozenClassifier,
    splits: Splits,
    progress: Progress,
    path: Path | None = None,
    world: World | None = None,
) -> Folds:
    """The finished runs of all folds, nothing chosen yet."""
    pool = joined(splits.tuning, splits.val)
    fold_of = assign(pool, config.select.folds, config.split.seed)
    parts = [Splits(*cut(pool, fold_of == fold), splits.test) for fold in range(config.select.folds)]
    return Folds(run_folds(config, classifier, parts, progress, path, world), pool)


def run_folds(
    config: RunConfig,
    classifier: FrozenClassifier,
    parts: Sequence[Splits],
    progress: Progress,
    path: Path | None,
    world: World | None,
) -> list[Run]:
    """A finished run per fold, each over its own part of the data, all with the same steps; keepers are trails."""
    steps = min(total_steps(config.train, len(part.tuning)) for part in parts)
    alike = replace(config, train=replace(config.train, steps=steps, epochs=None))
    runs = []
    for fold, part in enumerate(parts):
        title = f"train triggers, fold {fold + 1} of {len(parts)}"
        run = Run(alike, classifier, part, progress, title=title, world=world)
        run.keeper = Trail(run.learner.average)
        own = fold_path(path, fold)
        if own:
            run.resume(own)
        run.train(own)
        runs.append(run)
    return runs


class Folds:
    """What all folds' validations found together; a place is the number of a validation, the same in every fold."""

    def __init__(self, runs: Sequence[Run], pool: Dataset) -> None:
        self.runs, self.pool = runs, pool
        self.trails = trails_of(runs)
        self.bare = summed([run.bare_val for run in runs])
        self.judge = judge_of(runs[0].config, runs[0].classifier, self.bare)

    def best(self, judge: Judge, k: int) -> int:
        """Which validation of strength k was best over all folds together; a tie goes to the earlier one."""
        places = range(len(self.trails[0].steps))
        return min(places, key=lambda place: judge.rank(self.snapshot(judge, place, k).score))

    def snapshot(self, judge: Judge, place: int, k: int) -> Snapshot:
        """Strength k at a place: each fold's triggers counted on the rows that they were not trained on."""
        counts = summed([trail.counts[place][k] for trail in self.trails])
        return Snapshot(self.trails[0].steps[place], counts, judge.score(counts))

    def recall(self, places: Sequence[int]) -> Module:
        """The last run's module with the triggers that are published, strength k as it was at places[k]."""
        return fill(self.runs[-1].learner.average, lambda k, name: self._final(places[k], k, name))

    def outcome(self) -> Outcome:
        """Choose over all rows, then look at the test split, once."""
        places = [self.best(self.judge, k) for k in range(len(self.runs[0].config.objective.strengths))]
        self.recall(places)
        snapshots = [self.snapshot(self.judge, place, k) for k, place in enumerate(places)]
        outcome = self.runs[-1].judged(self.judge, snapshots)
        note = f"Cross-fitted: validated on all {len(self.pool)} rows of tuning and val, in {len(self.runs)} folds."
        return replace(
            outcome,
            data_counts={**outcome.data_counts, "tuning": self.pool.counts(), "val": self.pool.counts()},
            seconds=sum(run.seconds for run in self.runs),
            notes=(note, *outcome.notes),
        )

    def _final(self, place: int, k: int, name: str) -> Tensor:
        """A parameter at a place: the folds' mean, or the best fold's where there is no mean."""
        values = [trail.parameters[place][name][k] for trail in self.trails]
        if self.runs[0].config.trigger.kind != "hard":
            return torch.stack(values).mean(dim=0)
        scores = [self.judge.score(trail.counts[place][k]) for trail in self.trails]
        return values[min(range(len(scores)), key=lambda fold: self.judge.rank(scores[fold]))]


def trails_of(runs: Sequence[Run]) -> list[Trail]:
    """What the runs kept."""
    return [run.keeper for run in runs if isinstance(run.keeper, Trail)]


def fill(module: Module, value_of: Callable[[int, str], Tensor]) -> Module:
    """The module with value_of(k, name) in row k of every parameter."""
    with torch.no_grad():
        for name, value in module.named_parameters():
            for k in range(len(value)):
                value[k] = value_of(k, name).to(value.device)
    return module


def fold_path(path: Path | None, fold: int) -> Path | None:
    """The checkpoint of a fold, beside that of a run without folds."""
    return path and path.with_name(f"{path.stem}-fold-{fold + 1}{path.suffix}")


def assign(pool: Dataset, folds: int, seed: int) -> Tensor:
    """Fold (N,) of each row: alike in labels and groups, and copies of one content together."""
    contents = [hashlib.sha256(f"{seed}:".encode() + content).hexdigest() for content in _contents(pool)]
    cells = list(zip(pool.labels.tolist(), pool.groups.tolist(), strict=True))
    first = {content: row for row, content in reversed(list(enumerate(contents)))}
    order = sorted(first, key=lambda content: (cells[first[content]], content))
    fold_of = {content: place % folds for place, content in enumerate(order)}
    return torch.tensor([fold_of[content] for content in contents])


def joined(first: Dataset, second: Dataset) -> Dataset:
    """The rows of both."""
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


def cut(pool: Dataset, held_out: Tensor) -> tuple[Dataset, Dataset]:
    """The other folds' rows, and the held out ones."""
    return _rows(pool, (~held_out).nonzero().flatten()), _rows(pool, held_out.nonzero().flatten())


def _rows(pool: Dataset, rows: Tensor) -> Dataset:
    return replace(pool.take(rows), ids=tuple(pool.ids[row] for row in rows.tolist()))


def summed(tables: Sequence[Counts]) -> Counts:
    """Counts added up cell by cell."""
    total: Counter[tuple[str, int | None, int]] = Counter()
    for table in tables:
        total.update(table)
    return dict(total)
