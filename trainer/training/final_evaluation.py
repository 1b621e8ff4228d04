"""The final evaluation of a training: choose on validation, then count the test split, once."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from trainer.evaluation import Candidate, SelectionCriterion, TrainingResult, choose, confusion_counts
from trainer.evaluation.selection import ValidationSnapshot
from trainer.training.training_loop import TrainingRun
from triggers.model import Trigger


def final_result(
    run: TrainingRun, criterion: SelectionCriterion, snapshots: Sequence[ValidationSnapshot]
) -> TrainingResult:
    """Choose among snapshots whose parameters the run's module has, and count the test split under each and bare."""
    config, classifier = run.config, run.classifier
    strengths = config.objective.fixed_strengths
    choice = choose(criterion, snapshots, strengths)
    triggers: list[Trigger] = [*run.optimizer.average.export()]
    bank = classifier.bank([classifier.null_trigger(), *triggers])
    bare_test, *tests = confusion_counts(run.counter, run.test, bank, config.train.batch_size, run.process_group)
    rows = zip(strengths, snapshots, triggers, tests, strict=True)
    temperature = run.optimizer.temperature
    cooled = f"The model is too sure of itself: losses saw its logits over a temperature of {temperature:g}."
    return TrainingResult(
        bare={"val": criterion.bare_counts, "test": bare_test},
        candidates=tuple(
            Candidate(s, one.step, trigger, {"val": one.counts, "test": n}) for s, one, trigger, n in rows
        ),
        best=choice.best,
        front=choice.front,
        data_counts={"tuning": run.tuning.counts(), "val": run.val.counts(), "test": run.test.counts()},
        steps=run.steps,
        seconds=run.seconds,
        device=device_name(classifier.device),
        notes=(*choice.notes, *([cooled] if temperature > 1 else [])),
    )


def device_name(device: torch.device) -> str:
    """`cpu`, or the GPU's own name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
