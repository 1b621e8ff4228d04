"""The training loop: K triggers from their start to one candidate per strength, resumable at every checkpoint."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cached_property
from math import ceil, isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainer import checkpoint
from trainer.batches import Batches
from trainer.calibration import calibrating_temperature
from trainer.checkpoint import Checkpoint
from trainer.config import RunConfig, TrainConfig, to_dict
from trainer.data import Dataset, Splits
from trainer.evaluate import confusion_counts
from trainer.objective import cell_weights
from trainer.outcome import Candidate, Counts, Outcome
from trainer.progress import Progress
from trainer.reproducible import reproducible
from trainer.residency import placed
from trainer.select import Judge, Snapshot, choose
from trainer.shortlist import Keeper, Shortlist
from trainer.step import Learner, Losses
from trainer.trainables import build_module
from trainer.world import World
from triggers.classifier import FrozenClassifier, Trigger
from triggers.errors import ConfigError
from triggers.fingerprint import tensors_digest
from triggers.preprocess import TextBatch

REPORT_EVERY = 10
"""Steps between two looks at the losses: each look makes a GPU wait."""

FREE_KEYS = {"publish": None, "report": None, "select": "publish", "train": "checkpoint_every"}
"""Settings that may change when a run goes on: whole sections (None) or one key of a section."""


class Run:
    """One training run; the splits lie on the classifier's device as far as they fit."""

    def __init__(
        self,
        config: RunConfig,
        classifier: FrozenClassifier,
        splits: Splits,
        progress: Progress,
        *,
        title: str = "train triggers",
        world: World | None = None,
    ) -> None:
        self.title, self.world = title, world or World()
        self.config, self.classifier, self.progress = config, classifier, progress
        device = classifier.device
        self.counter = classifier.accelerated() if device.type == "cuda" else classifier
        if self.world.size > config.train.batch_size:
            raise ConfigError(f"train.batch_size is {config.train.batch_size}, fewer than {self.world.size} processes.")
        parts = {"tuning": splits.tuning, "val": splits.val, "test": splits.test}
        self.tuning, self.val, self.test = placed(parts, device, config.train.device_memory_gb, progress)
        self.steps = total_steps(config.train, len(self.tuning))
        self.bare_val = self._count(self.val, [classifier.null_trigger()])[0]
        self.judge = self._judge()
        module = build_module(config, classifier)
        groups, overlapping = len(self.tuning.identities), config.data.groups_overlap
        self.learner = Learner(
            classifier,
            module,
            groups,
            config.objective,
            config.train,
            self.steps,
            self._cell_weights(),
            self.world,
            overlapping=overlapping,
            temperature=self._temperature(),
        )
        self.shortlist = Shortlist(self.judge, self.learner.average)
        self.keeper: Keeper = self.shortlist
        self.first, self.seconds = 0, 0.0

    def train(self, path: Path | None) -> None:
        """All steps that are left, with validations and checkpoints on the way."""
        self._tell_of_others()
        began = time.monotonic() - self.seconds
        train = self.config.train
        batches = Batches(
            self.tuning,
            train.batch_size,
            seed=train.seed,
            flip=train.flip,
            shift=train.shift,
            world=self.world,
            pieces=1 if train.graph else 4,
            device=self.classifier.device,
        )
        eval_every = train.eval_every or max(1, self.steps // 10)
        steps = range(self.first, self.steps)
        with self.progress.task(self.title, self.steps, done=self.first) as task:
            for number, batch in zip(steps, batches.each(steps), strict=True):
                losses = self.learner.step(number, batch)
                done = number + 1
                if done % eval_every == 0 or done == self.steps:
                    self._validate(done)
                self.seconds = time.monotonic() - began
                if path and (done % (train.checkpoint_every or eval_every) == 0 or done == self.steps):
                    self.save(path, done)
                task.advance(1, **(self._shown(losses, done) if done % REPORT_EVERY == 0 else {}))

    def _tell_of_others(self) -> None:
        """What the processes send each other, beside what training all weights would send."""
        if self.world.size == 1:
            return
        own = self.learner.exchanged(min(self.config.train.batch_size, len(self.tuning)))
        weights = 4 * sum(parameter.numel() for parameter in self.classifier.network.parameters())
        sent = f"exchange {own / 1e6:.3g} MB in a step (all weights' gradients: {weights / 1e6:.3g} MB)"
        self.progress.note(f"{self.world.size} processes {sent}.")

    def outcome(self) -> Outcome:
        """Choose on validation, then look at the test split, once, for every strength's best trigger and for none."""
        return self.judged(self.judge, self.shortlist.recall())

    def judged(self, judge: Judge, snapshots: Sequence[Snapshot]) -> Outcome:
        """Choose among snapshots whose parameters the learner's module has, and look at the test split."""
        strengths = self.config.objective.strengths
        choice = choose(judge, snapshots, strengths)
        triggers: list[Trigger] = [*self.learner.average.export()]
        bare_test, *tests = self._count(self.test, [self.classifier.null_trigger(), *triggers])
        rows = zip(strengths, snapshots, triggers, tests, strict=True)
        temperature = self.learner.temperature
        cooled = f"The model is too sure of itself: losses saw its logits over a temperature of {temperature:g}."
        return Outcome(
            bare={"val": judge.bare_counts, "test": bare_test},
            candidates=tuple(_candidate(s, snapshot, trigger, counts) for s, snapshot, trigger, counts in rows),
            best=choice.best,
            front=choice.front,
            data_counts={"tuning": self.tuning.counts(), "val": self.val.counts(), "test": self.test.counts()},
            steps=self.steps,
            seconds=self.seconds,
            device=device_name(self.classifier.device),
            notes=(*choice.notes, *([cooled] if temperature > 1 else [])),
        )

    def save(self, path: Path, step: int) -> None:
        """Write the checkpoint after `step` steps; of several processes, which all stand alike, the first does."""
        if not self.world.first:
            return
        learner = self.learner
        tensors = checkpoint.module_tensors("module", learner.module)
        tensors |= checkpoint.module_tensors("average", learner.average) if self.config.train.average else {}
        tensors |= checkpoint.module_tensors("adversaries", learner.adversaries)
        tensors |= checkpoint.optimizer_tensors("optimizer", learner.optimizer)
        tensors |= checkpoint.optimizer_tensors("adversary_optimizer", learner.adversary_optimizer)
        tensors |= {f"kept.{name}": tensor for name, tensor in self.keeper.tensors().items()}
        state = Checkpoint(step, self.seconds, tensors, self.keeper.kept())
        checkpoint.save_checkpoint(path, state, self.identity)

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
        kept = {name.removeprefix("kept."): tensor for name, tensor in tensors.items() if name.startswith("kept.")}
        self.keeper.restore(kept, found.snapshots)
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
        self.keeper.offer(step, self.count_val)

    def count_val(self) -> list[Counts]:
        """The validation part under every strength's trigger as it is now."""
        with torch.no_grad():
            bank = self.learner.average.render()
        return confusion_counts(self.counter, self.val, bank, self.config.train.batch_size, self.world)

    def _count(self, data: Dataset, triggers: list[Trigger]) -> list[Counts]:
        bank = self.classifier.bank(triggers)
        return confusion_counts(self.counter, data, bank, self.config.train.batch_size, self.world)

    def _cell_weights(self) -> Tensor | None:
        """Weights of the utility loss by label and group, if they are wanted; (labels, groups), on the CPU."""
        sizes = len(self.classifier.labels), len(self.tuning.group_names)
        return cell_weights(self.tuning.labels, self.tuning.groups, sizes, self.config.objective)

    def _temperature(self) -> float:
        if not self.config.objective.calibrate:
            return 1.0
        return calibrating_temperature(self.counter, self.tuning, self.config.train.batch_size)

    def _judge(self) -> Judge:
        return judge_of(self.config, self.classifier, self.bare_val)


def learn(
    config: RunConfig,
    classifier: FrozenClassifier,
    splits: Splits,
    progress: Progress,
    path: Path | None = None,
    world: World | None = None,
) -> Outcome:
    """Train the triggers of a configuration; with a checkpoint `path`, go on where a killed run stopped."""
    with reproducible(classifier.device, config.train.threads):
        run = Run(config, classifier, splits, progress, world=world)
        if path:
            run.resume(path)
        run.train(path)
        return run.outcome()


def judge_of(config: RunConfig, classifier: FrozenClassifier, bare: Counts) -> Judge:
    """The judge of a configuration, given the bare model's counts on validation."""
    criterion, drop = config.objective.criterion, config.select.max_accuracy_drop
    labels, overlapping = len(classifier.labels), config.data.groups_overlap
    return Judge(bare, criterion, drop, classifier.pos_label, labels, overlapping=overlapping)


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
