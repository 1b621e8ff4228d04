"""Faster inference of a frozen network, with the same outputs: batch norm folded, channels last, a narrower dtype.

Folding rewrites convolution-then-norm pairs into one convolution (Jacob et al., CVPR 2018, section 3.2); outputs agree
to float32 rounding. A network that cannot be traced is left as it is. On a GPU a strided first convolution over colour
channels, which hardly uses tensor cores, becomes one of stride 1 over four times the channels. A BERT leaves out what
its logits do not need (lean_bert.py).
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse
from torch.fx.proxy import TraceError
from torch.nn.functional import conv2d, pad

from triggers.errors import ModelError
from triggers.model.networks.frozen_linear import in_dtype, is_large
from triggers.model.networks.lean_bert import LeanBert
from triggers.model.networks.onnx_network import OnnxNetwork

CHANNEL_MULTIPLE = 8
"""Channels are filled up to multiples of this, which tensor cores want."""


def accelerate(network: nn.Module, dtype: torch.dtype = torch.float32) -> nn.Module:
    """A copy of a network in eval mode for inference and for gradients of its input; the original is not touched.

    That of a large network shares its weights (frozen_linear.py) and is not folded.
    Raises ModelError for a network that cannot be copied.
    """
    if is_large(network) and not isinstance(network, OnnxNetwork):
        return in_dtype(network, dtype).requires_grad_(False).eval()
    faster = network.folded() if isinstance(network, OnnxNetwork) else fold_batch_norm(network)
    if LeanBert.fits(faster):
        faster = LeanBert(faster)
    if any(weight.is_cuda for weight in network.parameters()):
        faster = with_dense_stem(faster)
    faster = faster.to(dtype)
    if any(isinstance(module, nn.Conv2d | OnnxNetwork) for module in faster.modules()):
        faster = faster.to(memory_format=torch.channels_last)
    made: nn.Module = faster.requires_grad_(False).eval()
    return made


def fold_batch_norm(network: nn.Module) -> nn.Module:
    """A copy with batch norms folded into the convolutions before them, where the network can be traced."""
    if not any(isinstance(module, nn.BatchNorm2d) for module in network.modules()):
        return _copied(network)
    try:
        return fuse(network.eval())  # copies first
    except (TraceError, TypeError, ValueError, AttributeError, NotImplementedError, RuntimeError):
        return _copied(network)


def _copied(network: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(network)
    except (TypeError, RuntimeError) as error:  # the network holds a lock, say, or a tensor with a gradient history
        message = f"The network cannot be copied ({error}): serve it on a CPU, in float32 and without compile."
        raise ModelError(message) from error


def with_dense_stem(network: nn.Module) -> nn.Module:
    """The network with its strided convolutions over colour channels replaced, in place, by DenseStem."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Conv2d) and DenseStem.fits(child):
                setattr(parent, name, DenseStem(child))
    return network


class DenseStem(nn.Module):
    """A convolution of stride 2 over few channels as one of stride 1 over 2 x 2 blocks of pixels; the same sums.

    Tap t of the kernel meets pixel 2i + t - padding, which is pixel (t - padding) mod 2 of block i + offset.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.kernel, self.padding = conv.kernel_size[0], int(conv.padding[0])
        self.first = (-self.padding) // 2
        self.taps = (self.kernel - 1 - self.padding) // 2 - self.first + 1
        self.channels = -(-4 * conv.in_channels // CHANNEL_MULTIPLE) * CHANNEL_MULTIPLE
        self.weight = nn.Parameter(self._blocks(conv.weight.detach()))
        self.bias = None if conv.bias is None else nn.Parameter(conv.bias.detach().clone())

    @staticmethod
    def fits(conv: nn.Conv2d) -> bool:
        """Square, stride 2, one group, few channels, zeros around."""
        square = conv.kernel_size[0] == conv.kernel_size[1] and conv.padding in [(p, p) for p in range(8)]
        plain = conv.stride == (2, 2) and conv.dilation == (1, 1) and conv.groups == 1
        return square and plain and conv.in_channels <= 4 and conv.padding_mode == "zeros"

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) to what the convolution gives."""
        rows, channels, height, width = images.shape
        blocks = pad(images, (0, width % 2, 0, height % 2))
        blocks = blocks.view(rows, channels, (height + 1) // 2, 2, (width + 1) // 2, 2).permute(0, 3, 5, 1, 2, 4)
        sides = (*self._sides(width), *self._sides(height))
        filled = pad(blocks.flatten(1, 3), (*sides, 0, self.channels - 4 * channels))
        return conv2d(filled.contiguous(memory_format=torch.channels_last), self.weight, self.bias)

    def _sides(self, length: int) -> tuple[int, int]:
        """Blocks of zeros before and after, such that as many outputs come as from the convolution."""
        outputs = (length + 2 * self.padding - self.kernel) // 2 + 1
        return -self.first, outputs - (length + 1) // 2 + self.first + self.taps - 1

    def _blocks(self, weight: Tensor) -> Tensor:
        """Kernel (O, C, k, k) to (O, 4 C filled up, taps, taps), channels ordered by row, column, colour."""
        made = weight.new_zeros(len(weight), 2, 2, weight.shape[1], self.taps, self.taps)
        for y in range(self.kernel):
            for x in range(self.kernel):
                (down, row), (right, column) = divmod(y - self.padding, 2), divmod(x - self.padding, 2)
                made[:, row, column, :, down - self.first, right - self.first] = weight[:, :, y, x]
        flat = made.flatten(1, 3)
        return pad(flat, (0, 0, 0, 0, 0, self.channels - flat.shape[1]))
