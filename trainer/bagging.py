"""Bagging: several trainings on tuning, each without one of its folds, and the mean of their triggers.

What a single training fits by chance in its rows differs from training to training and averages out; what helps all of
them stays (Breiman, Machine Learning 1996; weights averaged as by Wortsman et al., ICML 2022). The mean is validated
as it is published, on a validation part that no training saw, so its figures there are its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from trainer.config import RunConfig
from trainer.crossfit import Module, assign, cross_fit, cut, fill, run_folds, trails_of
from trainer.data import Splits
from trainer.learn import Run, learn
from trainer.outcome import Counts, Outcome
from trainer.progress import Progress
from trainer.reproducible import reproducible
from trainer.select import Judge, Snapshot
from trainer.world import World
from triggers.classifier import FrozenClassifier


def train_triggers(
    config: RunConfig,
    classifier: FrozenClassifier,
    splits: Splits,
    progress: Progress,
    path: Path | None = None,
    world: World | None = None,
) -> Outcome:
    """By one training, cross-fitted or bagged, as the configuration says."""
    train = cross_fit if config.select.folds > 1 else bagged if config.train.bag > 1 else learn
    return train(config, classifier, splits, progress, path, world)


def bagged(
    config: RunConfig,
    classifier: FrozenClassifier,
    splits: Splits,
    progress: Progress,
    path: Path | None = None,
    world: World | None = None,
) -> Outcome:
    """Train, average, choose; with a checkpoint `path`, finished trainings are not done again."""
    with reproducible(classifier.device, config.train.threads):
        return train_bag(config, classifier, splits, progress, path, world).outcome()


def train_bag(
    config: RunConfig,
    classifier: FrozenClassifier,
    splits: Splits,
    progress: Progress,
    path: Path | None = None,
    world: World | None = None,
) -> Bag:
    """The finished trainings with their means validated, nothing chosen yet."""
    tuning, val, test = splits.tuning, splits.val, splits.test
    fold_of = assign(tuning, config.train.bag, config.split.seed)
    parts = [Splits(cut(tuning, fold_of == fold)[0], val, test) for fold in range(config.train.bag)]
    return Bag(run_folds(config, classifier, parts, progress, path, world, counting=False), splits)


class Bag:
    """The means of several trainings, and what each counted on validation; a place is the number of a validation."""

    def __init__(self, runs: Sequence[Run], splits: Splits) -> None:
        self.runs, self.splits = runs, splits
        self.trails = trails_of(runs)
        self.bare, self.judge = runs[0].bare_val, runs[0].judge
        self.steps = self.trails[0].steps
        self.counts: list[Sequence[Counts]] = []
        for place in range(len(self.steps)):
            self.recall([place] * len(runs[0].config.objective.strengths))
            self.counts.append(runs[-1].count_val())

    def best(self, judge: Judge, k: int) -> int:
        """Which validation of strength k was best; a tie goes to the earlier one."""
        return min(range(len(self.steps)), key=lambda place: judge.rank(self.snapshot(judge, place, k).score))

    def snapshot(self, judge: Judge, place: int, k: int) -> Snapshot:
        """The mean trigger of strength k at a place."""
        counts = self.counts[place][k]
        return Snapshot(self.steps[place], counts, judge.score(counts))

    def recall(self, places: Sequence[int]) -> Module:
        """The last run's module with the mean triggers, strength k as it was at places[k]."""
        return fill(self.runs[-1].learner.average, lambda k, name: self._mean(places[k], k, name))

    def outcome(self) -> Outcome:
        """Choose on validation, then look at the test split, once."""
        places = [self.best(self.judge, k) for k in range(len(self.runs[0].config.objective.strengths))]
        self.recall(places)
        snapshots = [self.snapshot(self.judge, place, k) for k, place in enumerate(places)]
        outcome = self.runs[-1].judged(self.judge, snapshots)
        note = f"Bagged: each trigger is the mean of {len(self.runs)} trainings, each without a fold of tuning."
        return replace(
            outcome,
            data_counts={**outcome.data_counts, "tuning": self.splits.tuning.counts()},
            seconds=sum(run.seconds for run in self.runs),
            notes=(note, *outcome.notes),
        )

    def _mean(self, place: int, k: int, name: str) -> Tensor:
        return torch.stack([trail.parameters[place][name][k] for trail in self.trails]).mean(dim=0)
