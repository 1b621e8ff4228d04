"""The training loop: K triggers from their start to one candidate per strength, resumable at every checkpoint."""

from __future__ import annotations

import time
from functools import cached_property
from math import ceil, isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainer import checkpoint
from trainer.batches import Batches
from trainer.checkpoint import Checkpoint
from trainer.config import RunConfig, TrainConfig, to_dict
from trainer.data import Dataset, Splits
from trainer.evaluate import confusion_counts
from trainer.objective import reweighing
from trainer.outcome import Candidate, Counts, Outcome
from trainer.progress import Progress
from trainer.reproducible import reproducible
from trainer.select import Judge, Snapshot, choose
from trainer.shortlist import Shortlist
from trainer.step import Learner, Losses
from trainer.trainables import build_module
from triggers.classifier import FrozenClassifier, Trigger
from triggers.errors import ConfigError
from triggers.fingerprint import tensors_digest
from triggers.preprocess import TextBatch

REPORT_EVERY = 10
"""Steps between two looks at the losses: each look makes a GPU wait."""

FREE_KEYS = {"publish": None, "report": None, "select": "publish", "train": "checkpoint_every"}
"""Settings that may change when a run goes on: whole sections (None) or one key of a section."""


class Run:
    """One training run over splits that lie on the classifier's device."""

    def __init__(self, config: RunConfig, classifier: FrozenClassifier, splits: Splits, progress: Progress) -> None:
        self.config, self.classifier, self.progress = config, classifier, progress
        device = classifier.device
        self.tuning, self.val, self.test = (part.to(device) for part in (splits.tuning, splits.val, splits.test))
        self.steps = total_steps(config.train, len(self.tuning))
        self.bare_val = self._count(self.val, [classifier.null_trigger()])[0]
        self.judge = self._judge()
        module = build_module(config, classifier)
        groups = len(self.tuning.group_names)
        self.learner = Learner(
            classifier, module, groups, config.objective, config.train, self.steps, self._cell_weights()
        )
        self.shortlist = Shortlist(self.judge, self.learner.average)
        self.first, self.seconds = 0, 0.0

    def train(self, path: Path | None) -> None:
        """All steps that are left, with validations and checkpoints on the way."""
        began = time.monotonic() - self.seconds
        train = self.config.train
        batches = Batches(self.tuning, train.batch_size, seed=train.seed, flip=train.flip, shift=train.shift)
        eval_every = train.eval_every or max(1, self.steps // 10)
        with self.progress.task("train triggers", self.steps, done=self.first) as task:
            for number in range(self.first, self.steps):
                losses = self.learner.step(number, batches.batch(number))
                done = number + 1
                if done % eval_every == 0 or done == self.steps:
                    self._validate(done)
                self.seconds = time.monotonic() - began
                if path and (done % (train.checkpoint_every or eval_every) == 0 or done == self.steps):
                    self.save(path, done)
                task.advance(1, **(self._shown(losses, done) if done % REPORT_EVERY == 0 else {}))

    def outcome(self) -> Outcome:
        """Choose on validation, then look at the test split, once, for every strength's best trigger and for none."""
        snapshots = self.shortlist.recall()
        strengths = self.config.objective.strengths
        choice = choose(self.judge, snapshots, strengths)
        triggers: list[Trigger] = [*self.learner.average.export()]
        bare_test, *tests = self._count(self.test, [self.classifier.null_trigger(), *triggers])
        rows = zip(strengths, snapshots, triggers, tests, strict=True)
        return Outcome(
            bare={"val": self.bare_val, "test": bare_test},
            candidates=tuple(_candidate(s, snapshot, trigger, counts) for s, snapshot, trigger, counts in rows),
            best=choice.best,
            front=choice.front,
            data_counts={"tuning": self.tuning.counts(), "val": self.val.counts(), "test": self.test.counts()},
            steps=self.steps,
            seconds=self.seconds,
            device=device_name(self.classifier.device),
            notes=choice.notes,
        )

    def save(self, path: Path, step: int) -> None:
        """Write the checkpoint after `step` steps."""
        learner = self.learner
        tensors = checkpoint.module_tensors("module", learner.module)
        tensors |= checkpoint.module_tensors("average", learner.average) if self.config.train.average else {}
        tensors |= checkpoint.module_tensors("adversaries", learner.adversaries)
        tensors |= checkpoint.optimizer_tensors("optimizer", learner.optimizer)
        tensors |= checkpoint.optimizer_tensors("adversary_optimizer", learner.adversary_optimizer)
        tensors |= {f"best.{name}": tensor for name, tensor in self.shortlist.best.items()}
        snapshots = [None if best is None else (best.step, best.counts) for best in self.shortlist.snapshots]
        checkpoint.save_checkpoint(path, Checkpoint(step, self.seconds, tensors, snapshots), self.identity)

    def resume(self, path: Path) -> None:
        """Go on from the checkpoint, if there is one. Raises ConfigError if it is another run's."""
        found = checkpoint.load_checkpoint(path, self.identity)
        if found is None:
            return
        learner, tensors = self.learner, found.tensors
        checkpoint.restore_module("module", learner.module, tensors)
        if self.config.train.average:
            checkpoint.restore_module("average", learner.average, tensors)
        checkpoint.restore_module("adversaries", learner.adversaries, tensors)
        checkpoint.restore_optimizer("optimizer", learner.optimizer, tensors)
        checkpoint.restore_optimizer("adversary_optimizer", learner.adversary_optimizer, tensors)
        self.shortlist.best = {
            name: tensors[f"best.{name}"].to(present.device) for name, present in self.shortlist.best.items()
        }
        self.shortlist.snapshots = [None if best is None else self._snapshot(*best) for best in found.snapshots]
        self.first, self.seconds = found.step, found.seconds
        self.progress.note(f"Going on after step {found.step} of {self.steps}, from {path}.")

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What decides the result: configuration, model, data. A checkpoint of another identity is refused."""
        table = to_dict(self.config)
        for section, key in FREE_KEYS.items():
            table[section] = {} if key is None else {k: v for k, v in table[section].items() if k != key}
        content = {f"{name}.{key}": value for name in ("tuning", "val") for key, value in _tensors(getattr(self, name))}
        return {**table, "model_fingerprint": self.classifier.fingerprint, "data_digest": tensors_digest(content)}

    def _shown(self, losses: Losses, step: int) -> dict[str, float]:
        """Losses for the display. Raises ConfigError once they are no numbers any more."""
        shown = losses.shown()
        if not all(map(isfinite, shown.values())):
            advice = f"lower train.lr ({self.config.train.lr:g}) or objective.strengths and use --fresh."
            raise ConfigError(f"Training diverged, the losses of step {step} are {shown}: {advice}")
        return shown

    def _validate(self, step: int) -> None:
        with torch.no_grad():
            bank = self.learner.average.render()
        self.shortlist.offer(step, confusion_counts(self.classifier, self.val, bank, self.config.train.batch_size))

    def _count(self, data: Dataset, triggers: list[Trigger]) -> list[Counts]:
        bank = self.classifier.bank(triggers)
        return confusion_counts(self.classifier, data, bank, self.config.train.batch_size)

    def _cell_weights(self) -> Tensor | None:
        """Weights of the utility loss by label and group, if they are wanted; (labels, groups), on the CPU."""
        if not self.config.objective.reweigh:
            return None
        sizes = len(self.classifier.labels), len(self.tuning.group_names)
        return reweighing(self.tuning.labels.cpu(), self.tuning.groups.cpu(), sizes)

    def _judge(self) -> Judge:
        criterion, drop = self.config.objective.criterion, self.config.select.max_accuracy_drop
        return Judge(self.bare_val, criterion, drop, self.classifier.pos_label, len(self.classifier.labels))

    def _snapshot(self, step: int, counts: Counts) -> Snapshot:
        return Snapshot(step, counts, self.judge.score(counts))


def learn(
    config: RunConfig, classifier: FrozenClassifier, splits: Splits, progress: Progress, path: Path | None = None
) -> Outcome:
    """Train the triggers of a configuration; with a checkpoint `path`, go on where a killed run stopped."""
    with reproducible(classifier.device, config.train.threads):
        run = Run(config, classifier, splits, progress)
        if path:
            run.resume(path)
        run.train(path)
        return run.outcome()


def total_steps(train: TrainConfig, rows: int) -> int:
    """Optimiser steps of a run: as configured, or as many as its passes over the rows need."""
    return train.steps or ceil((train.epochs or 20) * rows / min(train.batch_size, rows))


def device_name(device: torch.device) -> str:
    """`cpu`, or the GPU's own name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _candidate(strength: float, snapshot: Snapshot, trigger: Trigger, test: Counts) -> Candidate:
    return Candidate(strength, snapshot.step, trigger, {"val": snapshot.counts, "test": test})


def _tensors(data: Dataset) -> list[tuple[str, Tensor]]:
    """A data set's content as named tensors."""
    inputs, targets = data.inputs, [("labels", data.labels), ("groups", data.groups)]
    if isinstance(inputs, TextBatch):
        return [("ids", inputs.ids), ("lengths", inputs.lengths), *targets]
    return [("pixels", inputs), *targets]
