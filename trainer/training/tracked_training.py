"""What a training hands to the run's tracker: losses of every step, figures of every validation, by strength."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from trainer.config import RunConfig
from trainer.evaluation.validation_rows import ValidationRows
from trainer.progress import Progress
from trainer.progress.run_figures import report_figures, strength_name
from trainer.training.objectives.objective_step import FINETUNE_REPORT_EVERY, Losses
from triggers.metrics import evaluate_counts
from triggers.model import FrozenClassifier


class TrackedTraining:
    """Losses and validations of one training, under a prefix; nothing is computed where nobody tracks."""

    def __init__(
        self,
        progress: Progress,
        config: RunConfig,
        classifier: FrozenClassifier,
        rows: ValidationRows,
        prefix: str = "",
    ) -> None:
        self._tracker, self._classifier, self._rows, self._prefix = progress.tracker, classifier, rows, prefix
        self._overlapping = config.data.groups_overlap
        self._names = [strength_name(each) for each in config.objective.fixed_strengths]
        self._waiting: list[tuple[int, Tensor]] = []

    def log_losses(self, step: int, losses: Losses) -> None:
        """Log losses, read from the device once in a while: each read waits for it."""
        if self._tracker is None:
            return
        self._waiting.append((step, torch.stack([losses.utility, losses.fairness])))
        if step % FINETUNE_REPORT_EVERY == 0:
            self.flush()

    def flush(self) -> None:
        """Log the losses that were not read yet."""
        if self._tracker is None or not self._waiting:
            return
        steps, tensors = zip(*self._waiting, strict=True)
        self._waiting.clear()
        for step, (utility, fairness) in zip(steps, torch.stack(tensors).tolist(), strict=True):
            figures = self._named("loss/utility", utility) | self._named("loss/fairness", fairness)
            self._tracker.log(step, figures)

    def validated(self, step: int, predictions: Tensor) -> Tensor:
        """The predictions (K, N) after `step` steps, whose figures are logged beside the bare model's."""
        if self._tracker is not None:
            figures = self._figures("bare", self._rows.bare)
            for name, each in zip(self._names, predictions.cpu(), strict=True):
                figures |= self._figures(name, each)
            self._tracker.log(step, figures)
        return predictions

    def _named(self, name: str, values: Sequence[float]) -> dict[str, float]:
        return {f"{self._prefix}{name}/{own}": value for own, value in zip(self._names, values, strict=True)}

    def _figures(self, name: str, predictions: Tensor) -> dict[str, float]:
        counts, classifier = self._rows.counts(predictions), self._classifier
        report = evaluate_counts(
            counts, pos_label=classifier.pos_label, labels=len(classifier.labels), overlapping=self._overlapping
        )
        return report_figures(report.to_dict(), f"{self._prefix}val", name)
