"""The adversaries: one small network per strength that predicts the group from the classifier's logits.

Source: the released code of "Fairness Reprogramming" (arXiv 2209.10222), after Zhang, Lemoine and Mitchell 2018. Both
of its input forms are here, `scores` and `log_odds`, and both serve images and texts. Deliberate departures from that
code:

- All K adversaries are one batched module, and all start from the same weights, so that a front of K strengths equals
  K runs of one strength.
- By default the logits are centred first: the adversary then sees differences only, and one backward pass of the model
  gives both gradients of a step (trainer/training/vjp.py).
- Biases are trained. There, the text optimiser's parameter groups lose every bias.
- One hidden layer for both forms; the text code has two, the paper says three layers.
- The target does not depend on the form: which of several groups (as in the image code), or where groups overlap
  a yes or no per identity (as in the text code).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.config import Criterion
from trainer.config.run_config import AdversaryInput


def score_features(logits: Tensor, labels: Tensor, scale: Tensor, criterion: Criterion, with_logits: bool) -> Tensor:
    """The image code's input (K, B, F): s = softmax(logits * scale); for equalized odds also s * onehot(label).

    logits (K, B, L), labels (B,), scale (K,); `with_logits` puts the logits in front.
    """
    scores = torch.softmax(logits * scale[:, None, None], dim=-1)  # (K, B, L)
    parts = [logits, scores] if with_logits else [scores]
    if criterion == "equalized_odds":
        parts.append(scores * functional.one_hot(labels, logits.shape[-1]))
    return torch.cat(parts, dim=-1)


def centred_features(logits: Tensor, labels: Tensor, scale: Tensor, criterion: Criterion, with_logits: bool) -> Tensor:
    """As `score_features`, of logits minus their mean: what they have in common says nothing about a decision."""
    return score_features(logits - logits.mean(dim=-1, keepdim=True), labels, scale, criterion, with_logits)


def log_odds_features(logits: Tensor, labels: Tensor, scale: Tensor, criterion: Criterion, with_logits: bool) -> Tensor:
    """The text code's input (K, B, F) from o = log odds of two labels and s = sigmoid(o * scale): [s, o].

    For equalized odds [s, s*y, s*(1-y), o, o*y, o*(1-y), y]. `with_logits` = False leaves the parts with o out.
    """
    odds = logits[..., 1:] - logits[..., :1]  # (K, B, 1)
    signals = [torch.sigmoid(odds * scale[:, None, None])] + ([odds] if with_logits else [])
    if criterion == "demographic_parity":
        return torch.cat(signals, dim=-1)
    y = labels.to(odds.dtype)[:, None].expand_as(odds)
    return torch.cat([part for x in signals for part in (x, x * y, x * (1 - y))] + [y], dim=-1)


FEATURES = {"centred": centred_features, "scores": score_features, "log_odds": log_odds_features}


class Adversaries(nn.Module):
    """K networks Linear-ReLU-Linear over G groups, side by side; `sharpness` is the c of s = softmax(o * (1 + |c|))."""

    def __init__(
        self,
        count: int,
        labels: int,
        groups: int,
        *,
        criterion: Criterion,
        form: AdversaryInput = "centred",
        with_logits: bool = True,
        hidden: int = 128,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.criterion, self.with_logits, self._features = criterion, with_logits, FEATURES[form]
        self.sharpness = nn.Parameter(torch.ones(count))
        empty = torch.zeros(count, 1, labels)
        width = self.features(empty, torch.zeros(1, dtype=torch.long)).shape[-1]
        generator = torch.Generator().manual_seed(seed)
        self.weight1, self.bias1 = _linear(count, width, hidden, generator)
        self.weight2, self.bias2 = _linear(count, hidden, groups, generator)

    def features(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The adversaries' input features (K, B, F)."""
        return self._features(logits, labels, 1 + self.sharpness.abs(), self.criterion, self.with_logits)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Class scores' logits (K, B, L) and labels (B,) to the adversaries' logits over groups (K, B, G)."""
        hidden = torch.relu(torch.baddbmm(self.bias1, self.features(logits, labels), self.weight1))
        return torch.baddbmm(self.bias2, hidden, self.weight2)


def adversary_loss(guesses: Tensor, members: Tensor, *, overlapping: bool = False) -> Tensor:
    """Mean loss (K,) of guesses (K, B, G) against members (B, G), 1 where the row belongs to the group.

    Cross-entropy over groups that exclude each other; for overlapping ones binary cross-entropy of every identity, in
    the mean, where a row of no group is negative for all of them.
    """
    targets = members.expand_as(guesses)
    if overlapping:
        return functional.binary_cross_entropy_with_logits(guesses, targets, reduction="none").mean(dim=(1, 2))
    losses = functional.cross_entropy(guesses.transpose(1, 2), targets.transpose(1, 2), reduction="none")
    return losses.mean(dim=1)


def _linear(count: int, inputs: int, outputs: int, generator: torch.Generator) -> tuple[nn.Parameter, nn.Parameter]:
    """`count` equal copies of a linear layer as nn.Linear draws it: weight (count, in, out), bias (count, 1, out)."""
    bound = inputs**-0.5
    weight = torch.empty(inputs, outputs).uniform_(-bound, bound, generator=generator)
    bias = torch.empty(1, outputs).uniform_(-bound, bound, generator=generator)
    return nn.Parameter(weight.repeat(count, 1, 1)), nn.Parameter(bias.repeat(count, 1, 1))
