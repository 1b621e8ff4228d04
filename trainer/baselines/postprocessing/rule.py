"""A rule of post-processing, what it is fitted for, and one as it was fitted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from trainer.baselines.postprocessing.frozen_outputs import FrozenOutputs
from trainer.config import Criterion
from trainer.config.run_config import Measure


class UnsupportedDataError(ValueError):
    """A method that is not defined for such data. The message says why, and follows the method's name: `needs ...`."""


@dataclass(frozen=True)
class FitTarget:
    """What a rule is fitted for: the criterion of fairness, the measure whose loss is budgeted, the selected label."""

    criterion: Criterion
    measure: Measure
    pos_label: int

    @property
    def balanced(self) -> bool:
        """Whether labels count alike, also for the measure "recall", of which balanced accuracy is the mean."""
        return self.measure != "accuracy"


def two_label_scores(outputs: FrozenOutputs, pos_label: int) -> Tensor:
    """The selected label's lead (N,) in logits, float64. Raises UnsupportedDataError for more than two labels."""
    logits = outputs.logits.double()
    if logits.shape[1] != 2:
        raise UnsupportedDataError(f"needs a model of two labels, this one has {logits.shape[1]}")
    return logits[:, pos_label] - logits[:, 1 - pos_label]


class PostProcessor(Protocol):
    """A rule from the frozen model's outputs to labels."""

    def predict(self, outputs: FrozenOutputs) -> Tensor:
        """Predicted labels (N,), int64, of the N rows, whose own labels a rule in use does not have."""

    def tensors(self) -> Mapping[str, Tensor]:
        """The fitted numbers by name, as the run's folder keeps them."""


@dataclass(frozen=True, eq=False)
class FittedRule:
    """One member of a method's family: its setting in words, its strength on the method's axis, and the rule.

    A method of several families names them; each is tested in an order of its own.
    A method's settings are the same, in the same order, on whatever rows it is fitted: cross-fitting pairs by them.
    """

    setting: str
    strength: float | None
    rule: PostProcessor
    family: str = ""


@dataclass(frozen=True, eq=False)
class FeatureOffset:
    """The rule that adds `features @ weight.T + bias` to the decision logits: weight (labels, F), bias (labels,).

    The largest sum wins, of equal ones the first. A row whose logits all stay as they are keeps the model's answer.
    """

    weight: Tensor
    bias: Tensor

    def predict(self, outputs: FrozenOutputs) -> Tensor:
        """Predicted labels (N,)."""
        offset = outputs.features.double() @ self.weight.double().T + self.bias.double()
        moved = (outputs.logits.double() + offset).argmax(dim=1)
        return torch.where((offset == 0).all(dim=1), outputs.predictions.long(), moved)

    def tensors(self) -> Mapping[str, Tensor]:
        """`weight` and `bias`, float32."""
        return {"weight": self.weight.float(), "bias": self.bias.float()}
