"""What a trigger of a large frozen model needs in memory, and what training all its weights would, by arithmetic.

Numbers of weights are those of the configuration. What one block keeps for the way back is counted on a CPU, in
networks of two and three blocks of the full width, for one row of the full length; the rest is multiplication.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal, TypeAlias

import torch
from torch import nn

from benchmarks.large_shapes import Shape
from trainer.training.kept_activations import bytes_kept
from triggers.model.networks.frozen_linear import SCALE_GROUP
from triggers.model.networks.repeated_blocks import repeated_blocks, with_recomputation

ADAM_BYTES = 16
"""Bytes a weight of mixed-precision training: weight and gradient in bf16, weight and two moments in float32."""
WEIGHT_BYTES = {"bf16": 2.0, "int8": 1.0, "int4": 0.5 + 4 / SCALE_GROUP}
TRIGGER_TOKENS, GIB = 5, 2**30

Way: TypeAlias = Literal["plain", "recomputed", "trained"]


@dataclass(frozen=True)
class MemoryPlan:
    """GiB for one batch. `kept` are activations between the passes, of a trigger and of training all weights."""

    weights: int
    frozen: dict[str, float]
    kept: float
    kept_recomputed: float
    finetuning_states: float
    finetuning_kept: float

    @property
    def trigger(self) -> float:
        """A step of a trigger in bf16, without what an operation needs for a moment."""
        return self.frozen["bf16"] + self.kept

    @property
    def trigger_recomputed(self) -> float:
        """The same with blocks computed again."""
        return self.frozen["bf16"] + self.kept_recomputed

    @property
    def finetuning(self) -> float:
        """A step of Adam over all weights."""
        return self.finetuning_states + self.finetuning_kept

    def figures(self) -> dict[str, object]:
        """For a record."""
        sums = {name: getattr(self, name) for name in ("trigger", "trigger_recomputed", "finetuning")}
        return asdict(self) | sums


def plan(shape: Shape) -> MemoryPlan:
    """The plan of a shape. Builds three of its blocks on the CPU."""
    whole = shape.network(torch.device("meta"))
    weights = _weights(whole)
    blocks = repeated_blocks(whole)
    inside = sum(map(_weights, blocks))
    frozen = {
        precision: (2 * (weights - inside) + inside * WEIGHT_BYTES[precision]) / GIB for precision in WEIGHT_BYTES
    }
    kept, again, full = (_Kept.of(shape, way) for way in ("plain", "recomputed", "trained"))
    rows, layers = shape.batch / GIB, len(blocks)
    return MemoryPlan(
        weights,
        frozen,
        kept=rows * kept.by(layers),
        kept_recomputed=rows * (again.by(layers) + kept.block),
        finetuning_states=ADAM_BYTES * weights / GIB,
        finetuning_kept=rows * full.by(layers),
    )


@dataclass(frozen=True)
class _Kept:
    """Bytes that one row keeps in networks of two and of three blocks."""

    two: int
    three: int

    @classmethod
    def of(cls, shape: Shape, way: Way) -> _Kept:
        return cls(*(_kept(shape, layers, way) for layers in (2, 3)))

    @property
    def block(self) -> int:
        """What one block more keeps."""
        return self.three - self.two

    def by(self, layers: int) -> int:
        """What so many keep."""
        return self.two + (layers - 2) * self.block


def _kept(shape: Shape, layers: int, way: Way) -> int:
    network = shape.network(torch.device("meta"), layers=layers).to_empty(device=torch.device("cpu"))
    with torch.no_grad():
        for tensor in (*network.parameters(), *network.buffers()):
            tensor.zero_()
    network.requires_grad_(way == "trained")
    run = with_recomputation(network) if way == "recomputed" else network
    return bytes_kept(lambda: _forward(shape, run), network)


def _forward(shape: Shape, network: nn.Module) -> object:
    """One row as a trigger's step gives it: a padded text's embeddings, or an image."""
    if shape.image:
        pixels = torch.zeros(1, 3, shape.config["image_size"], shape.config["image_size"], dtype=torch.bfloat16)
        return network(pixels.requires_grad_())
    width = -(-(shape.length + TRIGGER_TOKENS) // 8) * 8
    embeds = torch.zeros(1, width, shape.config["hidden_size"], dtype=torch.bfloat16, requires_grad=True)
    mask = torch.ones(1, width, dtype=torch.long)
    mask[:, 0 if shape.padding == "left" else -1] = 0
    options = {"use_cache": False} if shape.padding == "left" else {}
    return network(inputs_embeds=embeds, attention_mask=mask, **options)


def _weights(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())
