"""The threshold control: one global shift of the positive label's logit, without any trigger.

The logits are those of the model's own decision: shift 0 is that decision, whatever its threshold. A row is predicted
positive when the shift exceeds its margin: what its positive logit lacks to win. So one forward pass gives the counts
at every shift. With more than two labels, a row that is not positive keeps the best other label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trainer.data import Dataset
from trainer.evaluation import bare_logits
from trainer.evaluation.counts import ConfusionCounts, count_predictions
from triggers.model import FrozenClassifier

NEAREST = 1e-9
"""Least distance of a margin from 0 where the model decides at a threshold."""


@dataclass(frozen=True, eq=False)
class Margins:
    """Margins of N rows (N,), float64, and the label (N,) that wins where the positive one does not."""

    data: Dataset
    lacking: Tensor
    otherwise: Tensor
    pos_label: int

    def counts(self, shift: float) -> ConfusionCounts:
        """Confusion counts when `shift` is added to the positive label's logit."""
        return count_predictions(self.data, self.predictions(shift))

    def predictions(self, shift: float) -> Tensor:
        """Predicted labels (N,) when `shift` is added to the positive label's logit; a tie goes to the lower label."""
        tie = (self.lacking == shift) & (self.otherwise > self.pos_label)
        return torch.where((self.lacking < shift) | tie, self.pos_label, self.otherwise)

    def cuts(self) -> Tensor:
        """Rising shifts (C,) that between them give every possible set of positives: none, one more each, all."""
        values = self.lacking.unique()
        middle = (values[1:] + values[:-1]) / 2
        return torch.cat([values[:1] - 1, middle, values[-1:] + 1])

    def selection_rates(self, shifts: Tensor) -> Tensor:
        """Share of positive predictions (C,) at shifts (C,) that are no row's own margin."""
        return torch.searchsorted(self.lacking.sort().values, shifts) / len(self.lacking)

    def matching(self, rate: float) -> float:
        """The shift whose share of positive predictions comes nearest to `rate`."""
        cuts = self.cuts()
        return float(cuts[(self.selection_rates(cuts) - rate).abs().argmin()])


def margins(classifier: FrozenClassifier, data: Dataset, rows: int) -> Margins:
    """Run the bare classifier on a data set, `rows` at a time."""
    found, decision = bare_logits(classifier, data, rows), classifier.decision
    logits = decision.decision_logits(found).clone()
    positive = logits[:, classifier.pos_label].clone()
    logits[:, classifier.pos_label] = -torch.inf
    best, otherwise = logits.max(dim=1)
    lacking = best - positive
    if decision.threshold is not None:  # rounding must not move a row whose score is the threshold
        chosen = decision.labels(found) == classifier.pos_label
        lacking = torch.where(chosen, lacking.clamp(max=-NEAREST), lacking.clamp(min=NEAREST))
    return Margins(data, lacking, otherwise, classifier.pos_label)


def thinned(shifts: Tensor, most: int) -> list[float]:
    """At most `most` of the shifts, evenly spaced in rank and so in the share of positives; ends included."""
    count = min(most, len(shifts))
    return [float(shift) for shift in shifts[torch.linspace(0, len(shifts) - 1, count).round().long()]]


def nearest_first(shifts: Sequence[float]) -> list[float]:
    """Shift 0, then the others by size, so that of equal figures the smaller change comes first."""
    return sorted({0.0, *shifts}, key=abs)
