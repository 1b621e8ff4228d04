"""The training loop: K triggers from their start through all steps, validated and saved on the way.

Before it, `TrainingRun.prepare` measures the bare model; after it, trainer/training/final_evaluation.py counts the test
split.
"""

from __future__ import annotations

import time
from math import ceil
from pathlib import Path

import torch
from torch import Tensor

from trainer.config import RunConfig, TrainConfig
from trainer.data import Batches, Splits, place_on_device
from trainer.distributed import ProcessGroup
from trainer.evaluation.counts import evaluation_classifier, predicted_labels
from trainer.evaluation.validation_rows import ValidationRows
from trainer.progress import Progress
from trainer.training.build_module import build_module
from trainer.training.checkpoint import Checkpointer, run_identity
from trainer.training.objectives.calibration import calibrating_temperature
from trainer.training.objectives.objective_step import FINETUNE_REPORT_EVERY, StepConfig
from trainer.training.step import TriggerOptimizer
from trainer.training.tracked_training import TrackedTraining
from trainer.training.validation_history import SnapshotStore
from triggers.errors import ConfigError
from triggers.model import FrozenClassifier


class TrainingRun:
    """One training run over splits that are placed on their devices; made by `prepare`.

    `val_rows` are the rows that selection judges on; all losses see the logits over `temperature`.
    """

    def __init__(
        self,
        config: RunConfig,
        classifier: FrozenClassifier,
        splits: Splits,
        progress: Progress,
        process_group: ProcessGroup,
        val_rows: ValidationRows,
        temperature: float,
    ) -> None:
        self.config, self.classifier, self.progress = config, classifier, progress
        self.process_group, self.val_rows = process_group, val_rows
        self.tuning, self.val, self.test = splits.tuning, splits.val, splits.test
        self.counter = evaluation_classifier(classifier)
        self.steps = total_steps(config.train, len(self.tuning))
        overlapping = config.data.groups_overlap
        step = StepConfig.for_data(
            self.tuning, config.objective, self.steps, overlapping=overlapping, temperature=temperature
        )
        module = build_module(config, classifier)
        self.optimizer = TriggerOptimizer(classifier, module, config.train, step, process_group)
        self.seconds = 0.0

    @classmethod
    def prepare(
        cls,
        config: RunConfig,
        classifier: FrozenClassifier,
        splits: Splits,
        progress: Progress,
        process_group: ProcessGroup | None = None,
    ) -> TrainingRun:
        """A run that is ready to train: data on the classifier's device as far as it fits, the bare model measured.

        Raises ConfigError.
        """
        group, train = process_group or ProcessGroup(), config.train
        if group.size > train.batch_size:
            raise ConfigError(f"train.batch_size is {train.batch_size}, fewer than {group.size} processes.")
        parts = {"tuning": splits.tuning, "val": splits.val, "test": splits.test}
        on_device = Splits(*place_on_device(parts, classifier.device, train.device_memory_gb, progress))
        counter, bank = evaluation_classifier(classifier), classifier.bank([classifier.null_trigger()])
        (bare,) = predicted_labels(counter, on_device.val, bank, train.batch_size, group)
        val_rows = ValidationRows.of(on_device.val, bare, overlapping=config.data.groups_overlap)
        temperature = 1.0
        if config.objective.calibrate:
            temperature = calibrating_temperature(counter, on_device.tuning, train.batch_size)
        return cls(config, classifier, on_device, progress, group, val_rows, temperature)

    def again(self, config: RunConfig) -> TrainingRun:
        """A run of the same placed and measured data from its start, with other strengths or steps."""
        parts, temperature = Splits(self.tuning, self.val, self.test), self.optimizer.temperature
        return TrainingRun(
            config, self.classifier, parts, self.progress, self.process_group, self.val_rows, temperature
        )

    def train(
        self,
        snapshot_store: SnapshotStore,
        path: Path | None = None,
        title: str = "train triggers",
        *,
        may_diverge: bool = False,
        tracked_as: str = "",
    ) -> None:
        """All steps, with validations for the store; with a checkpoint `path`, go on where a killed run stopped.

        `tracked_as` is a prefix of the names that the run's tracker gets. Raises ConfigError if losses become infinite,
        unless they may.
        """
        self._note_exchange()
        train, checkpointer, first = self.config.train, None, 0
        if path:
            identity = run_identity(self.config, self.classifier, {"tuning": self.tuning, "val": self.val})
            checkpointer = Checkpointer(path, identity, self.optimizer, snapshot_store)
            first, self.seconds = checkpointer.restore()
        if first:
            self.progress.note(f"Going on after step {first} of {self.steps}, from {path}.")
        began = time.monotonic() - self.seconds
        eval_every = train.eval_every or max(1, self.steps // 10)
        steps = range(first, self.steps)
        tracked = TrackedTraining(self.progress, self.config, self.classifier, self.val_rows, tracked_as)
        advice = f"lower train.lr ({train.lr:g}) or objective.strengths and use --fresh."
        with self.progress.task(title, self.steps, done=first) as task:
            for number, batch in zip(steps, self._batches().each(steps), strict=True):
                losses = self.optimizer.step(number, batch)
                done = number + 1
                tracked.log_losses(done, losses)
                if done % eval_every == 0 or done == self.steps:
                    snapshot_store.offer(done, lambda at=done: tracked.validated(at, self.predict_val()))  # type: ignore[misc]
                self.seconds = time.monotonic() - began
                if checkpointer and (done % (train.checkpoint_every or eval_every) == 0 or done == self.steps):
                    checkpointer.save(done, self.seconds)
                shown = done % FINETUNE_REPORT_EVERY == 0 and not may_diverge
                task.advance(1, **(losses.means("Training", done, advice) if shown else {}))
        tracked.flush()

    def _batches(self) -> Batches:
        train = self.config.train
        return Batches(
            self.tuning,
            train.batch_size,
            seed=train.seed,
            flip=train.flip,
            shift=train.shift,
            process_group=self.process_group,
            pieces=1 if train.graph else 4,
            device=self.classifier.device,
        )

    def _note_exchange(self) -> None:
        """Note the bytes that processes exchange per step, and those that training all weights would exchange."""
        if self.process_group.size == 1:
            return
        own = self.optimizer.bytes_exchanged(min(self.config.train.batch_size, len(self.tuning)))
        weights = 4 * sum(parameter.numel() for parameter in self.classifier.network.parameters())
        sent = f"exchange {own / 1e6:.3g} MB in a step (all weights' gradients: {weights / 1e6:.3g} MB)"
        self.progress.note(f"{self.process_group.size} processes {sent}.")

    def predict_val(self) -> Tensor:
        """Predictions of the validation part (K, N) under every strength's present trigger."""
        with torch.no_grad():
            bank = self.optimizer.average.render()
        return predicted_labels(self.counter, self.val, bank, self.config.train.batch_size, self.process_group)


def total_steps(train: TrainConfig, rows: int) -> int:
    """Optimiser steps of a run: as configured, or as many as its passes over the rows need."""
    return train.steps or ceil((train.epochs or 20) * rows / min(train.batch_size, rows))
