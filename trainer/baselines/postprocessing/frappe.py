"""FRAPPÉ (Tifrea et al., ICML 2024, arXiv 2312.02592): an offset of the frozen scores, linear in the frozen features.

fair(x) = f(x) + T(x). T minimises the distance of fair from f plus strength times a penalty of unfairness, here the
objective's own direct one (`gap_loss`, on scores as they are). The distance is the paper's for classification, the
Kullback-Leibler divergence of the frozen probabilities from the fair ones, f calibrated by a temperature. No group is
read when T is applied.

A second family keeps close to the labels of the tuning part instead: cross-entropy, as in-processing would train the
last layer. At strength 0 it is fitted for utility only and shows what the labels alone are worth. For a model that is
itself the best fit of this loss, both are the same (the paper's theorem on generalised linear models).

T has features times labels numbers, so its weights decay; the decay is chosen on held-out thirds of the tuning part
at `MIDDLE` strength.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from trainer.baselines.postprocessing.class_weights import class_weights
from trainer.baselines.postprocessing.frozen_outputs import FrozenOutputs
from trainer.baselines.postprocessing.ridge import Columns, RowLoss, Standardisation
from trainer.baselines.postprocessing.rule import FeatureOffset, FitTarget, FittedRule
from trainer.training.objectives.calibration import temperature_of
from trainer.training.objectives.objective import cell_membership, gap_loss

STRENGTHS = (0.3, 1.0, 2.0, 4.0, 10.0, 30.0, 100.0)
MIDDLE = 3.0

Anchor = Literal["model", "labels"]
"""What the offset keeps close to."""
ANCHORS: Mapping[Anchor, Sequence[float]] = {"model": STRENGTHS, "labels": (0.0, *STRENGTHS)}
"""The strengths of each family, rising. At 0 the one that is close to the model is the model."""


def fit_frappe(tuning: FrozenOutputs, target: FitTarget) -> list[FittedRule]:
    """One offset per anchor and strength, each fit starting from that of the strength before."""
    standardisation = Standardisation.of(tuning.features)
    temperature = temperature_of(tuning.logits, tuning.data.labels)
    ones = torch.ones(len(tuning), 1, dtype=torch.float64)
    columns = Columns(torch.cat([standardisation.apply(tuning.features), ones], dim=1), free=1)
    labels = len(tuning.data.label_names)
    rules: list[FittedRule] = []
    for anchor, strengths in ANCHORS.items():
        anchored = OffsetObjective(tuning, target, temperature, anchor)
        penalty = columns.cross_validate(anchored.at(MIDDLE), labels).penalty
        coefficients = None
        for strength in strengths:
            coefficients = columns.fit(anchored.at(strength), labels, penalty, coefficients)
            weight, shift = standardisation.unfold(coefficients[:, :-1])
            rule = FeatureOffset(temperature * weight, temperature * (coefficients[:, -1] + shift))
            rules.append(FittedRule(f"close to the {anchor}, strength {strength:g}", strength, rule, family=anchor))
    return rules


class OffsetObjective:
    """Losses of offsets (n, L) of calibrated logits: distance from the anchor plus strength times unfairness.

    Where the measure is balanced accuracy, the distance weighs all labels alike.
    """

    def __init__(self, tuning: FrozenOutputs, target: FitTarget, temperature: float, anchor: Anchor) -> None:
        data, count = tuning.data, len(tuning.data.label_names)
        self._base = tuning.logits.double() / temperature
        hard = one_hot(data.labels, count).double()
        self._wanted = torch.softmax(self._base, dim=1) if anchor == "model" else hard
        self._weights = class_weights(data.labels, count, target.measure)[data.labels]
        self._cells = cell_membership(data.labels, data.members, target.criterion, count).double()

    def at(self, strength: float) -> RowLoss:
        """The loss at one strength."""

        def loss(rows: Tensor, offset: Tensor) -> Tensor:
            logits = self._base[rows] + offset
            wrong = -(self._wanted[rows] * torch.log_softmax(logits, dim=1)).sum(dim=1)
            unfair = gap_loss(logits[None], self._cells[rows], temperature=1.0)[0]
            return (self._weights[rows] * wrong).mean() + strength * unfair

        return loss
