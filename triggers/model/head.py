"""The head of a model: how the numbers that its network gives become logits (N, labels), whose softmax are the scores.

softmax          one number per label; a single number o of two labels counts as (0, o)
sigmoid          one number o of two labels: the second one's score is sigmoid(o)
multi_label      several independent sigmoids, of which the one at `index` counts: (not it, it); `gives` says whether
                 the network gives the numbers before the sigmoid or behind it
probabilities    the network's own softmax or sigmoid is its last step: the scores are its numbers
expected_value   probabilities (or logits) of numeric `values`: the second label's score is
                 sigmoid((expected value - cut) / scale), so .5 lies at the cut; a negative scale turns the side. It
                 says how far the value is from the cut, and is no probability
labels           the label alone, as 1 in its column and 0 elsewhere: its score is 1, and says nothing about how sure
                 the model is

Outputs in half precision are computed with as float32. `head_fault` finds a head that cannot be the network's.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Literal, TypeAlias

import torch
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat
from torch import Tensor

from triggers.errors import ModelError

TINY = 1e-30
"""Smallest probability whose logarithm is taken: of a softmax."""

TINY_REST = 2.0**-25
"""Smallest 1 - p whose logarithm is taken, of one probability p: half a step of float32 below 1."""

SUM_TOLERANCE = 1e-3
"""How far from 1 the probabilities of a row may add up."""


LABEL_LOGIT = 200.0
"""Logit of the only label that is known: the others' scores are 0 in float32."""

Taken: TypeAlias = Literal["logits", "probabilities", "distribution", "one_hot"]


class HeadKind(BaseModel):
    """Base of the heads: `logits` gives logits (N, labels), `width` the outputs that the network must have."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @property
    def takes(self) -> Taken:
        """What the outputs must be: any numbers, each a probability, rows of them that add up to 1, or one 1 a row."""
        return "logits"

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
    gives: Literal["logits", "probabilities"] = "logits"

    @property
    def takes(self) -> Taken:
        """As stated."""
        return self.gives

    def widths(self, labels: int) -> tuple[int, ...]:
        """As many as stated, for two labels."""
        return (self.outputs,) if labels == 2 and self.index < self.outputs else ()

    def logits(self, outputs: Tensor) -> Tensor:
        """(0, o) of the one that counts, or the logarithms of (1 - p, p)."""
        chosen = outputs[:, self.index : self.index + 1]
        return _of_one_probability(chosen) if self.gives == "probabilities" else _against_zero(chosen)


class ProbabilitiesHead(HeadKind):
    """Probabilities, which the network made itself: one per label, or the second one's alone."""

    kind: Literal["probabilities"] = "probabilities"

    @property
    def takes(self) -> Taken:
        """Probabilities of all labels."""
        return "distribution"

    def widths(self, labels: int) -> tuple[int, ...]:
        """As many as labels, or one of two."""
        return (labels, 1) if labels == 2 else (labels,)

    def logits(self, outputs: Tensor) -> Tensor:
        """Their logarithms."""
        return _of_one_probability(outputs) if outputs.shape[1] == 1 else outputs.clamp(min=TINY).log()


class ExpectedValueHead(HeadKind):
    """The expected value of a number whose distribution the network gives, against a cut."""

    kind: Literal["expected_value"] = "expected_value"
    values: tuple[FiniteFloat, ...] = Field(min_length=2)
    cut: FiniteFloat
    scale: FiniteFloat = 1.0
    outputs: Literal["probabilities", "logits"] = "probabilities"

    @property
    def takes(self) -> Taken:
        """As stated."""
        return "logits" if self.outputs == "logits" else "distribution"

    def widths(self, labels: int) -> tuple[int, ...]:
        """As many as values, for two labels."""
        return (len(self.values),) if labels == 2 and self.scale else ()

    def logits(self, outputs: Tensor) -> Tensor:
        """(0, (expected value - cut) / scale)."""
        shares = outputs.softmax(dim=1) if self.outputs == "logits" else outputs
        values = _constant(self.values, outputs.device)
        return _against_zero(((shares * values).sum(dim=1, keepdim=True) - self.cut) / self.scale)


class LabelsHead(HeadKind):
    """The label alone."""

    kind: Literal["labels"] = "labels"

    @property
    def takes(self) -> Taken:
        """One 1 in each row."""
        return "one_hot"

    def widths(self, labels: int) -> tuple[int, ...]:
        """As many as labels."""
        return (labels,)

    def logits(self, outputs: Tensor) -> Tensor:
        """So large at the label that its score is 1."""
        return outputs * LABEL_LOGIT


Head: TypeAlias = Annotated[
    SoftmaxHead | SigmoidHead | MultiLabelHead | ProbabilitiesHead | ExpectedValueHead | LabelsHead,
    Field(discriminator="kind"),
]


def head_logits(head: Head, output: object, labels: int) -> Tensor:
    """What a network returned, a tensor or an object with `logits`, as float32 logits (N, labels).

    Raises ModelError.
    """
    return head.logits(head_outputs(head, output, labels).float())


def head_outputs(head: Head, output: object, labels: int) -> Tensor:
    """The outputs (N, O) in what a network returned, as many as the head takes. Raises ModelError."""
    outputs = output_table(output)
    if outputs.shape[1] not in head.widths(labels):
        message = f"The network has {outputs.shape[1]} outputs for {labels} labels and a {head.kind} head."
        raise ModelError(f"{message} Correct `labels` or `head` in model.json.")
    return outputs


def output_table(output: object) -> Tensor:
    """What a network returned, a tensor or an object with `logits`, as a table (N, O). Raises ModelError."""
    outputs = output if isinstance(output, Tensor) else getattr(output, "logits", None)
    if not isinstance(outputs, Tensor) or outputs.ndim != 2:
        raise ModelError("The network returned no table (rows, outputs), nor an object whose `logits` are one.")
    return outputs


def head_fault(head: Head, outputs: Tensor) -> str | None:
    """Why the outputs (N, O) that a network gave for a few inputs cannot be what its head takes; None if they can."""
    table = outputs.detach().double().cpu()
    if not table.isfinite().all():
        return "The network answers NaN or infinity."
    tolerance = max(SUM_TOLERANCE, 2 * torch.finfo(outputs.dtype).eps)  # bfloat16 is coarser than the tolerance
    low, high, sums = float(table.min()), float(table.max()), table.sum(dim=1)
    probable, away = low >= 0 and high <= 1 + tolerance, float((sums - 1).abs().max())
    if head.takes == "logits":
        softmaxed = table.shape[1] > 1 and probable and away <= tolerance
        return "The outputs already are probabilities that add up to 1: say so in `head`." if softmaxed else None
    if head.takes == "one_hot":
        hot = bool(((table == 0) | (table == 1)).all()) and bool((sums == 1).all())
        return None if hot else "The head labels takes labels alone, but the outputs are other numbers."
    if not probable:
        return f"The head {head.kind} takes probabilities, but the outputs go from {low:.3g} to {high:.3g}."
    if head.takes == "distribution" and table.shape[1] > 1 and away > tolerance:
        return f"The head {head.kind} takes probabilities that add up to 1, but a row is off by {away:.2g}."
    return None


@lru_cache(maxsize=64)
def _constant(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Values (V,) on a device, made once: a CUDA graph that is being recorded may copy nothing to the GPU."""
    with torch.inference_mode(False):  # the first call may be in that mode, a later one want gradients
        return torch.tensor(values, device=device)


def _of_one_probability(column: Tensor) -> Tensor:
    return torch.cat([(1 - column).clamp(min=TINY_REST), column.clamp(min=TINY)], dim=1).log()


def _against_zero(column: Tensor) -> Tensor:
    return torch.cat([torch.zeros_like(column), column], dim=1)
