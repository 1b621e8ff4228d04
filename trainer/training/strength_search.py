"""Search for the strengths of a run that leaves them open: `objective.strengths = "auto"`.

A fifth of the run's steps trains triggers at widely spaced strengths, and their effect on the tuning part's own rows
gives the useful range (trainer/evaluation/strength_range.py). As many triggers then start anew within it, for the steps
that are left, exactly as if those strengths and steps had been configured. Validation is not looked at: what is proved
there later, of strengths chosen without it, stays proved.
"""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from trainer.config import RunConfig
from trainer.data import Splits
from trainer.distributed import ProcessGroup
from trainer.evaluation import TrainingResult, confusion_counts
from trainer.evaluation.balanced_accuracy import mean_recall
from trainer.evaluation.counts import ConfusionCounts
from trainer.evaluation.selection import selection_gap
from trainer.evaluation.strength_range import (
    TRIED,
    StrengthSearch,
    StrengthTrial,
    useful_range,
)
from trainer.progress import Progress
from trainer.training.training_loop import TrainingRun, total_steps
from trainer.training.validation_history import PredictValidation
from triggers.errors import ConfigError
from triggers.metrics import evaluate_counts
from triggers.model import FrozenClassifier

SEARCH_PART = 5
"""One step in so many is the search's."""

JUDGED = 4096
"""Tuning rows that trials are judged on, at most."""


def prepare_run(
    config: RunConfig,
    classifier: FrozenClassifier,
    splits: Splits,
    progress: Progress,
    path: Path | None = None,
    process_group: ProcessGroup | None = None,
) -> tuple[TrainingRun, StrengthSearch | None]:
    """A run that is ready to train, as `TrainingRun.prepare`, and the search for its strengths if they were open.

    A search saves its state beside the checkpoint `path`; a killed one goes on. Raises ConfigError.
    """
    if config.objective.strengths != "auto":
        return TrainingRun.prepare(config, classifier, splits, progress, process_group), None
    run, search = _searched(config, classifier, splits, progress, path, process_group)
    if config.train.graph:
        gc.collect()  # the search's recorded step and its optimizer hold each other, and much of the GPU's memory
    return run, search


def _searched(
    config: RunConfig,
    classifier: FrozenClassifier,
    splits: Splits,
    progress: Progress,
    path: Path | None,
    process_group: ProcessGroup | None,
) -> tuple[TrainingRun, StrengthSearch]:
    total = total_steps(config.train, len(splits.tuning))
    steps = max(1, total // SEARCH_PART)
    run = TrainingRun.prepare(_leg(config, TRIED, steps), classifier, splits, progress, process_group)
    run.train(_NoSnapshots(), _search_path(path), "search strengths", may_diverge=True, tracked_as="search/")
    search = _judged(run)
    progress.note(search.note)
    return run.again(_leg(config, search.strengths, max(1, total - steps))), search


def with_search(result: TrainingResult, search: StrengthSearch | None) -> TrainingResult:
    """The result of a run and what its search found, whose seconds are part of the run's."""
    if search is None:
        return result
    return replace(result, seconds=result.seconds + search.seconds, notes=(*result.notes, search.note), search=search)


def _leg(config: RunConfig, strengths: Sequence[float], steps: int) -> RunConfig:
    """The configuration of a part of the run."""
    objective = replace(config.objective, strengths=tuple(strengths))
    return replace(config, objective=objective, train=replace(config.train, steps=steps, epochs=None))


def _search_path(path: Path | None) -> Path | None:
    """The search's own checkpoint. Raises ConfigError if a run that searched nothing has left one at `path`."""
    found = path and path.with_name(f"{path.stem}-search{path.suffix}")
    if path and found and path.exists() and not found.exists():
        wrong = f'{path} belongs to a run whose strengths were given; objective.strengths is "auto" now'
        raise ConfigError(f"{wrong}. Undo the change, use another --out, or drop the old run with --fresh.")
    return found


def _judged(run: TrainingRun) -> StrengthSearch:
    """The finished search of a run at the tried strengths."""
    tuning, classifier, rows = run.tuning, run.classifier, run.config.train.batch_size
    some = torch.arange(0, len(tuning), -(-len(tuning) // JUDGED), device=tuning.labels.device)
    judged = tuning.take(some)
    with torch.no_grad():
        banks = [classifier.bank([classifier.null_trigger()]), run.optimizer.average.render()]
    (bare,), counts = (confusion_counts(run.counter, judged, bank, rows, run.process_group) for bank in banks)
    trials = tuple(
        trial_of(run.config, classifier, strength, each) for strength, each in zip(TRIED, counts, strict=True)
    )
    labels = len({label for _, label, _ in bare})
    found = useful_range(trials, bare=mean_recall(bare), rows=len(judged), labels=labels)
    return StrengthSearch(trials, found, found.strengths(len(TRIED)), run.steps, run.seconds)


def trial_of(
    config: RunConfig, classifier: FrozenClassifier, strength: float, counts: ConfusionCounts
) -> StrengthTrial:
    """What a short training at one strength came to, by its counts."""
    overlapping = config.data.groups_overlap
    report = evaluate_counts(
        counts, pos_label=classifier.pos_label, labels=len(classifier.labels), overlapping=overlapping
    )
    gap = selection_gap(report, config.objective.criterion)[1].value
    return StrengthTrial(strength, mean_recall(counts), gap)


class _NoSnapshots:
    """A store of snapshots that keeps none and predicts nothing."""

    def offer(self, step: int, predict: PredictValidation) -> None: ...

    def tensors(self) -> dict[str, Tensor]:
        return {}

    def restore(self, tensors: Mapping[str, Tensor]) -> None: ...
