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
from scipy.sparse import csr_array, eye_array, hstack, kron, vstack
from torch import Tensor
from torch.nn.functional import one_hot

from trainer.baselines.postprocessing.class_weights import class_weights
from trainer.baselines.postprocessing.frozen_outputs import FrozenOutputs
from trainer.baselines.postprocessing.joint_probe import JointProbe, fit_joint_probe
from trainer.baselines.postprocessing.rule import FitTarget, FittedRule, UnsupportedDataError
from trainer.config import Criterion

SHARES = (0.0, 0.15, 0.3, 0.45, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Shares of the gap that tolerances remove. The gap is the largest that is expected of the best guess of the label."""


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
    """One rule per tolerance; strength is the share of the gap removed, 0 the best guess of the label.

    Raises UnsupportedDataError if the solver fails.
    """
    data, labels = tuning.data, len(tuning.data.label_names)
    fitted = fit_joint_probe(tuning)
    present = torch.zeros(len(data.group_names), labels, dtype=torch.bool)
    present[data.groups, data.labels] = True
    weights = class_weights(data.labels, labels, target.measure)
    programme = FairProgramme(fitted.held_out, target.criterion, weights, present)
    return [
        FittedRule(
            f"{share:.0%} of the expected gap removed",
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

    A right answer is worth the weight (L,) of its label. Groups are compared in cells (C, 2) of group and stratum that
    have rows, as `present` (G, L) says. For demographic parity there is one stratum, S = 1, otherwise S = L.
    """

    def __init__(self, joint: Tensor, criterion: Criterion, weights: Tensor, present: Tensor) -> None:
        _, groups, labels = joint.shape
        parity = criterion == "demographic_parity"
        by_cell = joint.sum(dim=2, keepdim=True) if parity else joint  # (N, G, S)
        self._cells = (present.any(dim=1, keepdim=True) if parity else present).nonzero()
        self._share = by_cell.mean(dim=0)  # (G, S)
        self._members = (by_cell / self._share)[:, *self._cells.T].numpy()  # (N, C), of mean 1
        self.bayes = torch.diag(weights.double()).expand(groups, labels, labels)
        self._worth = (joint.sum(dim=1) * weights).numpy()
        self.gap = self._expected_gap(linear_predictions(joint, self.bayes))

    def table(self, tolerance: float) -> Tensor:
        """Coefficients (G, L, L) of the best rule under which the groups' rates differ by `tolerance` at most.

        Variables are the share of each answer in each row, (N, L), and a level of each compared answer's rate in a
        stratum, from which no group is further than half of the tolerance. The rates of two labels add up to 1, so
        that only one of them is compared. Rates are counted in rows: the solver takes entries below 1e-9 for 0.
        """
        (rows, labels), strata = self._worth.shape, self._share.shape[1]
        answers = eye_array(labels).tocsr()[int(labels == 2) :]  # (K, L), those compared
        stratum_of = eye_array(strata).tocsr()[self._cells[:, 1].numpy()]  # (C, S)
        rates = kron(csr_array(self._members.T), answers)  # (C K, N L)
        levels = kron(stratum_of, eye_array(answers.shape[0]))  # (C K, S K)
        distance = hstack([rates, -rows * levels])
        solution = linprog(
            np.concatenate([-self._worth.ravel(), np.zeros(levels.shape[1])]),
            A_ub=vstack([distance, -distance]),
            b_ub=np.full(2 * distance.shape[0], rows * tolerance / 2),
            A_eq=hstack([kron(eye_array(rows), np.ones((1, labels))), csr_array((rows, levels.shape[1]))]),
            b_eq=np.ones(rows),
            bounds=(0, 1),
            method="highs",
        )
        if solution.status != 0:
            raise UnsupportedDataError(f"needs a linear programme that was not solved: {solution.message}")
        above, below = np.split(solution.ineqlin.marginals, 2)
        prices = torch.from_numpy((above - below).reshape(len(self._cells), -1) @ answers.toarray())  # (C, L)
        table = self.bayes.clone()
        for (group, stratum), price in zip(self._cells.tolist(), prices, strict=True):
            labels_of_stratum = slice(None) if strata == 1 else stratum
            table[group, labels_of_stratum] += price / self._share[group, stratum]
        return table

    def _expected_gap(self, predictions: Tensor) -> float:
        """The largest difference, over strata and answers, of the groups' rates under predictions (N,)."""
        answers = one_hot(predictions, self._worth.shape[1]).double().numpy()
        rates = self._members.T @ answers / len(answers)  # (C, L)
        strata = self._cells[:, 1].numpy()
        return float(max(np.ptp(rates[strata == stratum], axis=0).max() for stratum in np.unique(strata)))
