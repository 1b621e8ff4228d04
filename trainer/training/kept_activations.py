"""The memory that a forward pass keeps for the way back, and whether a GPU has room for it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from trainer.training.vjp import forward_with_vjp
from triggers.model import Bank, FrozenClassifier
from triggers.model.networks.repeated_blocks import repeated_blocks
from triggers.preprocessing import Inputs, TextBatch

ACTIVATIONS_SHARE = 0.8
"""Share of the free memory that kept activations may take; the rest is for what a pass needs for a moment."""


def bytes_kept(run: Callable[[], object], network: nn.Module) -> int:
    """Bytes of the tensors that autograd keeps in a forward pass, without the network's own weights."""
    weights = {tensor.untyped_storage().data_ptr() for tensor in (*network.parameters(), *network.buffers())}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = run()  # alive until all is counted, so that no address is used twice
    del result
    return sum(size for pointer, size in kept.items() if pointer not in weights)


def batch_bytes(classifier: FrozenClassifier, inputs: Inputs, bank: Bank, dtype: torch.dtype) -> int:
    """Bytes that a pass of K triggers over the whole batch keeps, by one of a single row of its widest."""
    if isinstance(inputs, TextBatch):
        longest = int(inputs.lengths.argmax())
        one: Inputs = TextBatch(inputs.ids[longest : longest + 1], inputs.lengths[longest : longest + 1])
    else:
        one = inputs[:1]
    kept = bytes_kept(lambda: forward_with_vjp(classifier, one, bank, dtype, antisymmetric=False), classifier.network)
    return kept * len(inputs)


def must_recompute(classifier: FrozenClassifier, inputs: Inputs, bank: Bank, dtype: torch.dtype) -> bool:
    """Whether a batch keeps more than a GPU has room for, and the network repeats blocks that can do with less.

    Of weights that are shared out (sharded_weights.py) it was decided before.
    """
    sharded = any(isinstance(weight, DTensor) for weight in classifier.network.parameters())
    if classifier.device.type != "cuda" or sharded or not repeated_blocks(classifier.network):
        return False
    free = torch.cuda.mem_get_info(classifier.device)[0]
    unused = torch.cuda.memory_reserved(classifier.device) - torch.cuda.memory_allocated(classifier.device)
    return batch_bytes(classifier, inputs, bank, dtype) > ACTIVATIONS_SHARE * (free + unused)
