"""Temperature scaling (Guo et al., ICML 2017): how overconfident the frozen model is on rows it was not fitted on.

A model that was fitted to the end has scores near 0 or 1 for all rows: the adversary sees nothing else, and the few
confident mistakes dominate the utility loss. Divided by the calibrating temperature, the logits give calibrated
probabilities, and every row counts; predictions are the same. Where the model decides at a threshold, the logits
are the decision's, which the losses see.
"""

from __future__ import annotations

import torch
from torch import Tensor

from trainer.data import Dataset
from trainer.evaluation import bare_logits
from triggers.model import FrozenClassifier

HIGHEST = 50.0


def calibrating_temperature(classifier: FrozenClassifier, data: Dataset, rows: int) -> float:
    """The temperature of the bare model on a data set, run `rows` at a time, to two digits; 1 if not overconfident."""
    logits = classifier.decision.decision_logits(bare_logits(classifier, data, rows))
    return float(f"{temperature_of(logits, data.labels):.2g}")


def temperature_of(logits: Tensor, labels: Tensor) -> float:
    """The temperature in [1, HIGHEST] that minimises the mean cross-entropy of logits (N, L) over it, labels (N,).

    The loss is convex in the inverse of the temperature, and its slope there is the mean logit that the model expects
    less the mean logit of the true label: a bisection finds its zero.
    """
    true = logits.gather(1, labels[:, None]).mean()
    low, high = 1 / HIGHEST, 1.0

    def slope(inverse: float) -> float:
        expected = (torch.softmax(logits * inverse, dim=1) * logits).sum(dim=1).mean()
        return float(expected - true)

    if slope(high) <= 0:
        return 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if slope(middle) > 0 else (middle, high)
    return 1 / high
