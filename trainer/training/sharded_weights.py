"""Frozen weights shared out among processes (FSDP2), for a model that does not fit into one GPU.

Every process keeps its part of each block's weights, and gathers a block's for its pass, forward and back; no gradient
of a weight is summed, as there is none. Embeddings, norms outside the blocks and the head, which triggers and losses
touch, are in every process. All processes must run the model equally often: a pass waits for the others.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from triggers.errors import ConfigError
from triggers.model import FrozenClassifier
from triggers.model.bundle import QUANTIZED
from triggers.model.networks.repeated_blocks import repeated_blocks


def shard_weights(
    classifier: FrozenClassifier, dtype: torch.dtype | None = None, *, recompute: bool = False
) -> FrozenClassifier:
    """The accelerated classifier with its blocks' weights shared out among all processes; drop the one given.

    Raises ConfigError if its network repeats no blocks, or keeps their weights in 8 or 4 bits.
    """
    if classifier.spec.precision in QUANTIZED:
        raise ConfigError(
            f"{classifier.name!r} is in {classifier.spec.precision}: only bf16 and float32 are shared out."
        )
    sharded = classifier.with_network(classifier.accelerated(dtype, recompute=recompute).network)
    blocks = repeated_blocks(sharded.network)
    if not blocks:
        raise ConfigError(f"{type(classifier.network).__name__} repeats no blocks that processes could share out.")
    mesh = init_device_mesh(classifier.device.type, (dist.get_world_size(),))
    inside = {parameter for block in blocks for parameter in block.parameters()}
    for block in blocks:
        fully_shard(block, mesh=mesh)
    outside = {parameter for parameter in sharded.network.parameters() if parameter not in inside}
    fully_shard(sharded.network, mesh=mesh, ignored_params=outside)
    return sharded
