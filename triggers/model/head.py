"""The head of a model: how the numbers that its network gives become logits (N, labels), whose softmax are the scores.

softmax          one number per label; a single number o of two labels counts as (0, o)
sigmoid          one number o of two labels: the second one's score is sigmoid(o)
multi_label      several independent sigmoids, of which the one at `index` counts: (not it, it)
probabilities    the network's own softmax or sigmoid is its last step: the scores are its numbers
expected_value   probabilities (or logits) of numeric `values`: the second label's score is
                 sigmoid((expected value - cut) / scale), so .5 lies at the cut; a negative scale turns the side
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from triggers.errors import ModelError

TINY = 1e-30
"""Smallest probability whose logarithm is taken."""


class HeadKind(BaseModel):
    """Base of the heads: `logits` gives logits (N, labels), `width` the outputs that the network must have."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def widths(self, labels: int) -> tuple[int, ...]:
        """Numbers of outputs that fit this many labels; empty if none do."""
        raise NotImplementedError

    def logits(self, outputs: Tensor) -> Tensor:
        """Outputs (N, O) as float32 to logits (N, labels), differentiable."""
        raise NotImplementedError


class SoftmaxHead(HeadKind):
    """One number per label."""

    kind: Literal["softmax"] = "softmax"

    def widths(self, labels: int) -> tuple[int, ...]:
        """As many as labels, or one of two."""
        return (labels, 1) if labels == 2 else (labels,)

    def logits(self, outputs: Tensor) -> Tensor:
        """The outputs themselves."""
        return _against_zero(outputs) if outputs.shape[1] == 1 else outputs


class SigmoidHead(HeadKind):
    """One sigmoid for two labels."""

    kind: Literal["sigmoid"] = "sigmoid"

    def widths(self, labels: int) -> tuple[int, ...]:
        """One, for two labels."""
        return (1,) if labels == 2 else ()

    def logits(self, outputs: Tensor) -> Tensor:
        """(0, o)."""
        return _against_zero(outputs)


class MultiLabelHead(HeadKind):
    """Several sigmoids, of which one counts."""

    kind: Literal["multi_label"] = "multi_label"
    outputs: int = Field(ge=1)
    index: int = Field(ge=0)

    def widths(self, labels: int) -> tuple[int, ...]:
        """As many as stated, for two labels."""
        return (self.outputs,) if labels == 2 and self.index < self.outputs else ()

    def logits(self, outputs: Tensor) -> Tensor:
        """(0, o) of the one that counts."""
        return _against_zero(outputs[:, self.index : self.index + 1])


class ProbabilitiesHead(HeadKind):
    """Probabilities, which the network made itself: one per label, or the second one's alone."""

    kind: Literal["probabilities"] = "probabilities"

    def widths(self, labels: int) -> tuple[int, ...]:
        """As many as labels, or one of two."""
        return (labels, 1) if labels == 2 else (labels,)

    def logits(self, outputs: Tensor) -> Tensor:
        """Their logarithms."""
        both = torch.cat([1 - outputs, outputs], dim=1) if outputs.shape[1] == 1 else outputs
        return both.clamp(min=TINY).log()


class ExpectedValueHead(HeadKind):
    """The expected value of a number whose distribution the network gives, against a cut."""

    kind: Literal["expected_value"] = "expected_value"
    values: tuple[float, ...] = Field(min_length=2)
    cut: float
    scale: float = 1.0
    outputs: Literal["probabilities", "logits"] = "probabilities"

    def widths(self, labels: int) -> tuple[int, ...]:
        """As many as values, for two labels."""
        return (len(self.values),) if labels == 2 and self.scale else ()

    def logits(self, outputs: Tensor) -> Tensor:
        """(0, (expected value - cut) / scale)."""
        shares = outputs.softmax(dim=1) if self.outputs == "logits" else outputs
        values = torch.tensor(self.values, device=outputs.device)
        return _against_zero(((shares * values).sum(dim=1, keepdim=True) - self.cut) / self.scale)


Head: TypeAlias = Annotated[
    SoftmaxHead | SigmoidHead | MultiLabelHead | ProbabilitiesHead | ExpectedValueHead, Field(discriminator="kind")
]


def head_logits(head: Head, output: object, labels: int) -> Tensor:
    """What a network returned, a tensor or an object with `logits`, as float32 logits (N, labels).

    Raises ModelError.
    """
    outputs = output if isinstance(output, Tensor) else getattr(output, "logits", None)
    if not isinstance(outputs, Tensor) or outputs.ndim != 2:
        raise ModelError("The network returned no table (rows, outputs), nor an object whose `logits` are one.")
    if outputs.shape[1] not in head.widths(labels):
        message = f"The network has {outputs.shape[1]} outputs for {labels} labels and a {head.kind} head."
        raise ModelError(f"{message} Correct `labels` or `head` in model.json.")
    return head.logits(outputs.float())


def _against_zero(column: Tensor) -> Tensor:
    return torch.cat([torch.zeros_like(column), column], dim=1)
