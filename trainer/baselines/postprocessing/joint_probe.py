"""The joint probe: p(group, label | x) from a frozen model's scores and features, as p(label | x) p(group | x, label).

Both factors are softmax regressions on the logits, which no penalty holds back, and on the features, whose ridge
penalty cross-validation chooses. So p(label | x) is the model's own score, calibrated (Platt scaling), plus what the
fitted rows add to it; the group's regression has an intercept for each label. One regression of both on the features
alone learns again, from the few fitted rows, what the model's score already says: its log loss is higher.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from trainer.baselines.postprocessing.frozen_outputs import FrozenOutputs
from trainer.baselines.postprocessing.ridge import Columns, CrossValidation, Standardisation


@dataclass(frozen=True, eq=False)
class JointProbe:
    """A fitted probe: the coefficients, float64, of both factors on the columns [features, centred logits], F + L.

    The label's are `label_weight` (L, F + L) and `label_bias` (L,); the group's are `group_weight` (G, F + L) and, by
    label, `group_bias` (G, L).
    """

    label_weight: Tensor
    label_bias: Tensor
    group_weight: Tensor
    group_bias: Tensor

    def posterior(self, outputs: FrozenOutputs) -> Tensor:
        """Probabilities (N, G, L) of group and label."""
        columns = _columns(outputs)
        return _joint(
            columns @ self.label_weight.T + self.label_bias,
            (columns @ self.group_weight.T)[:, :, None] + self.group_bias,
        )

    def tensors(self) -> Mapping[str, Tensor]:
        """The coefficients by name."""
        return {
            "label_weight": self.label_weight,
            "label_bias": self.label_bias,
            "group_weight": self.group_weight,
            "group_bias": self.group_bias,
        }


@dataclass(frozen=True, eq=False)
class FittedProbe:
    """A probe, and the probabilities (N, G, L) of its N fitted rows, each by a probe that was fitted without the row.

    Those of the probe itself would be too confident there.
    """

    probe: JointProbe
    held_out: Tensor


def fit_joint_probe(fitted: FrozenOutputs) -> FittedProbe:
    """Fit on the labels and groups of some rows, without randomness."""
    data, labels, groups = fitted.data, len(fitted.data.label_names), len(fitted.data.group_names)
    columns = _columns(fitted)
    standardisation = Standardisation.of(columns)
    scaled, ones = standardisation.apply(columns), torch.ones(len(fitted), 1, dtype=torch.float64)
    of_label = Columns(torch.cat([scaled, ones], dim=1), free=labels + 1)
    of_group = Columns(_with_label(scaled, data.labels, labels), free=2 * labels)
    label_fit, label_folds = _fit(of_label, data.labels, labels)
    group_fit, group_folds = _fit(of_group, data.groups, groups)
    by_label = [_with_label(scaled, torch.full_like(data.labels, label), labels) for label in range(labels)]
    group_logits = torch.stack([group_folds.predict(values) for values in by_label], dim=2)
    label_weight, label_shift = standardisation.unfold(label_fit[:, :-1])
    group_weight, group_shift = standardisation.unfold(group_fit[:, :-labels])
    probe = JointProbe(
        label_weight, label_fit[:, -1] + label_shift, group_weight, group_fit[:, -labels:] + group_shift[:, None]
    )
    return FittedProbe(probe, _joint(label_folds.predict(of_label.values), group_logits))


def _fit(columns: Columns, codes: Tensor, count: int) -> tuple[Tensor, CrossValidation]:
    """Softmax regression of codes (N,) on columns: coefficients (count, P) at the penalty that was chosen."""

    def loss(rows: Tensor, logits: Tensor) -> Tensor:
        return cross_entropy(logits, codes[rows])

    validation = columns.cross_validate(loss, count)
    return columns.fit(loss, count, validation.penalty), validation


def _columns(outputs: FrozenOutputs) -> Tensor:
    """Columns (N, F + L), float64; of the logits only differences count."""
    return torch.cat([outputs.features, outputs.logits - outputs.logits.mean(dim=1, keepdim=True)], dim=1).double()


def _with_label(columns: Tensor, labels: Tensor, count: int) -> Tensor:
    return torch.cat([columns, one_hot(labels, count).double()], dim=1)


def _joint(label_logits: Tensor, group_logits: Tensor) -> Tensor:
    """Probabilities (N, G, L) from logits of the label (N, L), and of the group (N, G, L) given each label."""
    return torch.softmax(group_logits, dim=1) * torch.softmax(label_logits, dim=1)[:, None]
