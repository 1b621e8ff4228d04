"""The decision of a model: from scores to one label, the same in training, serving, counts and reports.

Without a threshold the label of the largest score wins, of equal ones the first. With one, the selected label wins
where its score is at least the threshold; elsewhere the largest of the others. Scores stay what the model says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class DecisionRule:
    """The label that scores stand for; `pos_label` is the index of the selected label."""

    pos_label: int
    threshold: float | None = None

    def label(self, scores: Sequence[float]) -> int:
        """The index of the label that one row of scores stands for."""
        if self.threshold is None:
            return max(range(len(scores)), key=scores.__getitem__)
        if scores[self.pos_label] >= self.threshold:
            return self.pos_label
        return max((n for n in range(len(scores)) if n != self.pos_label), key=scores.__getitem__)

    def labels(self, logits: Tensor) -> Tensor:
        """Label indices (...) of logits (..., labels), by their scores."""
        if self.threshold is None:
            return logits.argmax(dim=-1)
        scores = torch.softmax(logits.float(), dim=-1)
        selected = scores[..., self.pos_label] >= self.threshold
        others = scores.clone()
        others[..., self.pos_label] = -1.0
        return torch.where(selected, self.pos_label, others.argmax(dim=-1))

    def decision_logits(self, logits: Tensor) -> Tensor:
        """Logits (..., labels) whose largest is the decision, differentiable: what losses are taken of.

        The selected label's logit is lowered so that it overtakes the others just where its score reaches the
        threshold.
        """
        if self.threshold is None:
            return logits
        others = torch.cat([logits[..., : self.pos_label], logits[..., self.pos_label + 1 :]], dim=-1)
        lead = others.amax(dim=-1) - others.logsumexp(dim=-1)
        shift = torch.zeros_like(logits)
        shift[..., self.pos_label] = lead - math.log(self.threshold / (1 - self.threshold))
        return logits + shift
