"""LinearPost (Xian and Zhao, arXiv 2405.04025): the best fair classifier that has to infer the group, for any labels.

Given p(group, label | x), the fairest answers at least error solve a linear programme over the fitted rows: an answer's
share of a row is free, and in every stratum (everybody; for equalized odds each label) the groups' rates of an answer
may differ by the tolerance at most. By duality the solution is a rule: the answer with the largest linear score of
p(group, label | x), whose coefficients are the programme's prices. For two labels it is that of Chen et al. (ICLR 2024,
arXiv 2310.05725). No group is read when it is applied: the rule infers the group from the input.

The probabilities come from `joint_probe`; the programme sees those of held-out rows. The paper perturbs the scores to
break ties; here a tie goes to the first label, and equal inputs get equal answers: the probabilities are continuous in
the features, so that at most as many fitted rows tie as the programme has constraints.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linprog
from scipy.sparse import coo_array, csr_array, eye_array, hstack, kron, vstack
from torch import Tensor

from trainer.baselines.postprocessing.class_weights import class_weights
from trainer.baselines.postprocessing.frozen_outputs import FrozenOutputs
from trainer.baselines.postprocessing.joint_probe import JointProbe, fit_joint_probe
from trainer.baselines.postprocessing.rule import FitTarget, FittedRule
from trainer.config import Criterion

SHARES = (0.0, 0.15, 0.3, 0.45, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Shares of the gap that the tolerances take away. The gap is the largest that the rule without tolerance expects."""
LEAST_TOLERANCE = 1e-5
"""For equality, since the solver's own accuracy is about 1e-7."""


@dataclass(frozen=True, eq=False)
class LinearPost:
    """The rule: answer l scores `sum over g, y of p(g, y | x) table[g, y, l]`; table (G, L, L), float64."""

    probe: JointProbe
    table: Tensor

    def predict(self, outputs: FrozenOutputs) -> Tensor:
        """Predicted labels (N,)."""
        return linear_predictions(self.probe.posterior(outputs), self.table)

    def tensors(self) -> Mapping[str, Tensor]:
        """The probe's coefficients and `table`."""
        return {**self.probe.tensors(), "table": self.table}


def fit_linear_post(tuning: FrozenOutputs, target: FitTarget) -> list[FittedRule]:
    """One rule per tolerance; at strength 0 without any, the best guess of the label. Strength is the share taken away."""
    data, labels = tuning.data, len(tuning.data.label_names)
    fitted = fit_joint_probe(tuning)
    sizes = torch.zeros(len(data.group_names), labels).index_put_((data.groups, data.labels), torch.ones(()), True)
    programme = FairProgramme(
        fitted.held_out, target.criterion, class_weights(data.labels, labels, target.measure), sizes > 0
    )
    return [
        FittedRule(
            f"tolerance {1 - share:.0%} of the gap",
            share,
            LinearPost(fitted.probe, programme.table((1 - share) * programme.gap) if share else programme.bayes),
        )
        for share in SHARES
    ]


def linear_predictions(joint: Tensor, table: Tensor) -> Tensor:
    """Labels (N,) with the largest linear score under joint probabilities (N, G, L); of equal ones the first."""
    return torch.einsum("ngy,gyl->nl", joint, table).argmax(dim=1)


class FairProgramme:
    """The linear programme over N rows with joint probabilities (N, G, L), for any tolerance.

    A right answer is worth the weight (L,) of its label. Groups are compared in cells of group and stratum; where no row
    is `present` (G, L) there is none. For demographic parity there is one stratum, S = 1, otherwise S = L.
    """

    def __init__(self, joint: Tensor, criterion: Criterion, weights: Tensor, present: Tensor) -> None:
        rows, groups, labels = joint.shape
        self.bayes = torch.diag(weights.double()).expand(groups, labels, labels)
        parity = criterion == "demographic_parity"
        by_cell = joint.sum(dim=2, keepdim=True) if parity else joint  # (N, G, S)
        there = present.any(dim=1, keepdim=True) if parity else present
        self._per_share = torch.where(there, 1 / by_cell.mean(dim=0), 0.0)  # (G, S)
        self._cells = there.nonzero()  # (C, 2)
        self._members = (by_cell * self._per_share)[:, *self._cells.T].numpy()  # (N, C), columns of mean 1
        self._worth = torch.einsum("ngy,gyl->nl", joint, self.bayes).numpy()
        answers = torch.nn.functional.one_hot(linear_predictions(joint, self.bayes), labels)
        rates = torch.einsum("ngs,nl->gsl", by_cell * self._per_share, answers.double()) / rows
        spread = torch.where(there[:, :, None], rates, -torch.inf).amax(dim=0) - torch.where(
            there[:, :, None], rates, torch.inf
        ).amin(dim=0)
        self.gap = max(0.0, float(spread.max()))

    def table(self, tolerance: float) -> Tensor:
        """Coefficients (G, L, L) of the best rule under which the groups' rates differ by `tolerance` at most.

        Variables are the share of each answer in each row, (N, L), and a level of the rates (S, L), which every group's
        keeps within half of the tolerance. The rates of two labels add up to 1, so that one label's are compared.
        """
        rows, labels = self._worth.shape
        compared = np.arange(labels == 2, labels)
        cells, strata = self._members.shape[1], self._per_share.shape[1]
        label, row, cell = (axis.ravel() for axis in np.indices((len(compared), rows, cells)))
        of_label, of_cell = (axis.ravel() for axis in np.indices((len(compared), cells)))
        at = np.arange(len(compared) * cells)
        level = rows * labels + of_label * strata + self._cells[of_cell, 1].numpy()
        rates = coo_array(
            (
                np.concatenate([self._members[row, cell], np.full(len(at), -float(rows))]),
                (
                    np.concatenate([label * cells + cell, at]),
                    np.concatenate([row * labels + compared[label], level]),
                ),
            ),
            shape=(len(at), rows * labels + len(compared) * strata),
        ).tocsr()
        levels = len(compared) * strata
        solution = linprog(
            np.concatenate([-self._worth.ravel(), np.zeros(levels)]),
            A_ub=vstack([rates, -rates]),
            b_ub=np.full(2 * len(at), rows * max(tolerance, LEAST_TOLERANCE) / 2),
            A_eq=hstack([kron(eye_array(rows), np.ones((1, labels))), csr_array((rows, levels))]),
            b_eq=np.ones(rows),
            bounds=(0, 1),
            method="highs",
        )
        if solution.status != 0:
            raise RuntimeError(f"LinearPost's programme has no solution: {solution.message}")
        above, below = np.split(solution.ineqlin.marginals, 2)
        prices = torch.zeros(*self._per_share.shape, labels, dtype=torch.float64)
        prices[self._cells[of_cell, 0], self._cells[of_cell, 1], compared[of_label]] = torch.from_numpy(above - below)
        return self.bayes + prices * self._per_share[:, :, None]
