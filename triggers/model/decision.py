"""The decision of a model: from scores to one label, the same in training, serving, counts and reports.

Without a threshold the label of the largest score wins, of equal ones the first. With one, the selected label wins
where its score is at least the threshold; elsewhere the largest of the others. Scores stay what the model says.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

LabelOfScores: TypeAlias = Callable[[Sequence[float]], int]
"""One row of scores to the index of its label."""


@dataclass(frozen=True)
class DecisionRule:
    """The label that scores stand for; `pos_label` is the index of the selected label."""

    pos_label: int
    threshold: float | None = None

    @property
    def label_of_scores(self) -> LabelOfScores:
        """The rule for single rows, to be looked up once and called often."""
        return largest if self.threshold is None else self._label_at_threshold

    def labels(self, logits: Tensor) -> Tensor:
        """Label indices (...) of logits (..., labels), by their scores."""
        if self.threshold is None:
            return logits.argmax(dim=-1)
        scores = torch.softmax(logits.float(), dim=-1)
        # in float64, where the threshold is the same number as in `label_of_scores`
        selected = scores[..., self.pos_label].double() >= self.threshold
        others = scores.clone()
        others[..., self.pos_label] = -1.0
        return torch.where(selected, self.pos_label, others.argmax(dim=-1))

    def decision_logits(self, logits: Tensor) -> Tensor:
        """Logits (..., labels) whose largest is the decision, differentiable: what losses are taken of.

        The selected label's logit is moved so that it overtakes the others just where its score reaches the threshold.
        """
        if self.threshold is None:
            return logits
        others = torch.cat([logits[..., : self.pos_label], logits[..., self.pos_label + 1 :]], dim=-1)
        lead = others.amax(dim=-1) - others.logsumexp(dim=-1)
        shift = torch.zeros_like(logits)
        shift[..., self.pos_label] = lead - math.log(self.threshold / (1 - self.threshold))
        return logits + shift

    def _label_at_threshold(self, scores: Sequence[float]) -> int:
        assert self.threshold is not None
        if scores[self.pos_label] >= self.threshold:
            return self.pos_label
        return max((n for n in range(len(scores)) if n != self.pos_label), key=scores.__getitem__)


def largest(scores: Sequence[float]) -> int:
    """Index of the largest score, of equal ones the first."""
    return scores.index(max(scores))
