"""The final evaluation of a training: choose on validation, then count the test split, once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from trainer.config import RunConfig
from trainer.data import Dataset
from trainer.distributed import ProcessGroup
from trainer.evaluation import Candidate, TrainingResult, confusion_counts
from trainer.evaluation.recommendation import ValidationJudge, select_triggers
from trainer.evaluation.selection import selection_criterion
from trainer.evaluation.validation_rows import ValidationRows
from triggers.model import FrozenClassifier, Trigger


class Trained(Protocol):
    """The K triggers of a finished training: their module, and the temperature that losses saw logits over."""

    temperature: float

    @property
    def average(self) -> Any:
        """The module, which exports them."""
        ...


class EvaluatedRun(Protocol):
    """A finished training, with the parts that it is evaluated on."""

    config: RunConfig
    classifier: FrozenClassifier
    counter: FrozenClassifier
    tuning: Dataset
    val: Dataset
    test: Dataset
    process_group: ProcessGroup
    steps: int
    seconds: float

    @property
    def optimizer(self) -> Trained:
        """What trained."""
        ...


def final_result(
    run: EvaluatedRun,
    rows: ValidationRows,
    predictions: Sequence[Tensor],
    restore: Callable[[Sequence[int]], None],
    steps: Sequence[int],
) -> TrainingResult:
    """Choose among the triggers of every validation, given what they predict (K, N) for the rows, and count the test
    split under the chosen one of each strength and bare. `restore`
    puts those of given validations into the run's module.
    """
    config, classifier = run.config, run.classifier
    strengths = config.objective.fixed_strengths
    judge = ValidationJudge(selection_criterion(config, classifier, rows.counts(rows.bare)), rows)
    choice = select_triggers(judge, predictions, strengths)
    restore(choice.places)
    triggers: list[Trigger] = [*run.optimizer.average.export()]
    bank = classifier.bank([classifier.null_trigger(), *triggers])
    bare_test, *tests = confusion_counts(run.counter, run.test, bank, config.train.batch_size, run.process_group)
    val = [predictions[place][k] for k, place in enumerate(choice.places)]
    temperature = run.optimizer.temperature
    cooled = f"The model is too sure of itself: losses saw its logits over a temperature of {temperature:g}."
    return TrainingResult(
        bare={"val": rows.counts(rows.bare), "test": bare_test},
        candidates=tuple(
            Candidate(
                strength=strengths[k],
                step=steps[place],
                trigger=triggers[k],
                counts={"val": rows.counts(val[k]), "test": tests[k]},
                selection=choice.records[k],
                val=val[k],
            )
            for k, place in enumerate(choice.places)
        ),
        best=choice.best,
        front=choice.front,
        data_counts={"tuning": run.tuning.counts(), "val": run.val.counts(), "test": run.test.counts()},
        steps=run.steps,
        seconds=run.seconds,
        device=device_name(classifier.device),
        notes=(*choice.notes, *([cooled] if temperature > 1 else [])),
        judge=judge,
    )


def device_name(device: torch.device) -> str:
    """`cpu`, or the GPU's own name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
