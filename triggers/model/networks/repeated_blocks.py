"""The blocks that a network repeats, found by their classes, and their activations computed again on the way back.

A transformer is a list of equal blocks (`nn.ModuleList` of `transformers`, `nn.Sequential` of torchvision). Where a
block's activations are not kept but computed again, what stays between the passes is one input for each block.
"""

from __future__ import annotations

import copy
from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint

from triggers.errors import ModelError


def repeated_blocks(network: nn.Module) -> list[nn.Module]:
    """The blocks of the network's largest list of modules of one class; empty if it repeats none."""
    lists = [list(module) for module in network.modules() if isinstance(module, nn.ModuleList | nn.Sequential)]
    repeated = [blocks for blocks in lists if len(blocks) > 1 and len({type(block) for block in blocks}) == 1]
    return max(repeated, key=lambda blocks: sum(map(_entries, blocks)), default=[])


def shared_copy(network: nn.Module) -> nn.Module:
    """A copy of the modules over the same weights and buffers. Raises ModelError for one that cannot be copied."""
    tensors = [*network.parameters(), *network.buffers()]
    try:
        return copy.deepcopy(network, {id(tensor): tensor for tensor in tensors})
    except (TypeError, RuntimeError) as error:  # the network holds a lock, say, or a tensor with a gradient history
        message = f"The network cannot be copied ({error}): serve it on a CPU, in float32 and without compile."
        raise ModelError(message) from error


def with_recomputation(network: nn.Module) -> nn.Module:
    """A copy over the same weights whose blocks keep only their inputs, and compute again for a gradient.

    Outputs and gradients are the same. Raises ModelError for a network without repeated blocks.
    """
    copied = shared_copy(network)
    blocks = repeated_blocks(copied)
    if not blocks:
        raise ModelError(f"{type(network).__name__} repeats no blocks whose activations could be computed again.")
    for block in blocks:
        again = partial(checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False)
        setattr(block, "forward", again)  # noqa: B010 - a method of this one module
    return copied


def _entries(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
