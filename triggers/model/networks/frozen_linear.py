"""Linear layers of frozen weights that are kept in fewer bits than their products are computed in.

    widened    the weight as it was stored, in bfloat16 say, for products in float32: the same answers as from a copy in
               float32, without that copy
    int8       one scale a row, 8 bits a weight
    int4       one scale for SCALE_GROUP weights of a row, 4.5 bits a weight

A weight is made dense for one product and dropped again, on the way back too: nothing is kept between the passes, since
the input's gradient needs only the weight.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from triggers.model.networks.repeated_blocks import repeated_blocks, shared_copy

SCALE_GROUP = 64
"""Neighbouring weights of a row that share a scale, at 4 bits."""
LARGE = 10**9
"""Weights from which on no second copy of the weights in another number type is kept."""

Bits = Literal[4, 8]


class FrozenLinear(nn.Module):
    """Base: `dense` gives the weight (outputs, inputs) for one product. Only the input gets a gradient."""

    def __init__(self, replaced: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = replaced.in_features, replaced.out_features
        self.bias = replaced.bias

    def dense(self, dtype: torch.dtype) -> Tensor:
        """The weight in `dtype`."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Inputs (..., inputs) to outputs (..., outputs) of the same number type."""
        made: Tensor = _FrozenProduct.apply(x, self)
        return made


class WidenedLinear(FrozenLinear):
    """The layer's own weight, shared with it."""

    def __init__(self, replaced: nn.Linear) -> None:
        super().__init__(replaced)
        self.weight = replaced.weight

    def dense(self, dtype: torch.dtype) -> Tensor:
        """The weight, wider."""
        return self.weight.to(dtype)


class Int8Linear(FrozenLinear):
    """Rows of whole numbers from -127 to 127, times a scale each."""

    def __init__(self, replaced: nn.Linear) -> None:
        super().__init__(replaced)
        weight = replaced.weight.detach().float()
        scale = _scale(weight, 127)
        self.register_buffer("stored", (weight / scale).round().to(torch.int8))
        self.register_buffer("scale", scale)
        self.stored: Tensor
        self.scale: Tensor

    def dense(self, dtype: torch.dtype) -> Tensor:
        """Numbers times scales."""
        return self.stored.to(dtype) * self.scale.to(dtype)


class Int4Linear(FrozenLinear):
    """Groups of whole numbers from -7 to 7, two in a byte, times a scale each."""

    def __init__(self, replaced: nn.Linear) -> None:
        super().__init__(replaced)
        weight = replaced.weight.detach().float().unflatten(1, (-1, SCALE_GROUP))
        scale = _scale(weight, 7)
        number = ((weight / scale).round() + 8).to(torch.uint8)
        self.register_buffer("stored", number[..., 0::2] | number[..., 1::2] << 4)
        self.register_buffer("scale", scale)
        self.stored: Tensor
        self.scale: Tensor

    def dense(self, dtype: torch.dtype) -> Tensor:
        """Numbers times scales."""
        number = torch.stack([self.stored & 15, self.stored >> 4], dim=-1).flatten(-2)
        return ((number.to(dtype) - 8) * self.scale.to(dtype)).flatten(1)


def is_large(network: nn.Module) -> bool:
    """Whether the network has so many weights, quantized ones too, that a second copy of them is not kept."""
    return sum(tensor.numel() for tensor in (*network.parameters(), *network.buffers())) >= LARGE


def in_dtype(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A copy that computes in `dtype`, which shares the weights that are of that type or of a narrower one.

    Of narrower weights those of linear layers are widened for each product; the others, which are few, are copied.
    """
    copied, shared = shared_copy(network), set()
    for parent in list(copied.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear and child.weight.dtype.itemsize < dtype.itemsize:
                setattr(parent, name, WidenedLinear(child))
                shared.add(id(child.weight))
    made: dict[int, nn.Parameter] = {}  # a table that is tied to another stays so
    for module in copied.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None and id(parameter) not in shared:
                if id(parameter) not in made:
                    made[id(parameter)] = nn.Parameter(parameter.detach().to(dtype), requires_grad=False)
                module._parameters[name] = made[id(parameter)]
        for name, buffer in module._buffers.items():
            if buffer is not None and buffer.is_floating_point():
                module._buffers[name] = buffer.to(dtype)
    return copied


def quantize(network: nn.Module, bits: Bits) -> nn.Module:
    """The network, changed in place: linear layers of its repeated blocks keep their weights in 8 or 4 bits.

    Embeddings and the head stay as they are, and at 4 bits layers whose inputs are no multiple of SCALE_GROUP.
    """
    for block in repeated_blocks(network):
        for parent in list(block.modules()):
            for name, child in list(parent.named_children()):
                if type(child) is nn.Linear and (bits == 8 or child.in_features % SCALE_GROUP == 0):
                    setattr(parent, name, Int8Linear(child) if bits == 8 else Int4Linear(child))
    return network


class _FrozenProduct(torch.autograd.Function):
    """The product with a frozen weight that is made anew for the gradient of the input."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: FrozenLinear) -> Tensor:
        ctx.layer = layer
        bias = layer.bias
        return linear(x, layer.dense(x.dtype), None if bias is None else bias.to(x.dtype))

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor, None]:
        (cotangent,) = cotangents
        return cotangent @ ctx.layer.dense(cotangent.dtype), None


def _scale(weight: Tensor, most: int) -> Tensor:
    """What the largest number of each row (or group) stands for; never 0."""
    largest = weight.abs().amax(dim=-1, keepdim=True)
    return (largest / most).clamp(min=torch.finfo(torch.float32).tiny)
