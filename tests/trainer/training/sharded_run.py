"""Steps of a trigger by two processes over weights that they share out: started by torchrun, writes what it learned."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from tests.trainer.training.test_recomputation import optimizer, texts
from trainer.distributed import ProcessGroup, join_process_group
from trainer.training.sharded_weights import shard_weights
from trainer.training.vjp import bank_tensors
from triggers.model import FrozenClassifier, load_bundle

STEPS = 3


def learned(classifier: FrozenClassifier, group: ProcessGroup) -> torch.Tensor:
    """The trigger after a few steps; each process runs its part of the rows."""
    batch, learner = texts(classifier), optimizer(classifier, process_group=group)
    own = batch.take(torch.arange(len(batch)), group.part(len(batch)))
    for number in range(STEPS):
        learner.step(number, own)
    return bank_tensors(learner.module.render())[0].detach()


def main(bundle: str, out: str, recompute: str) -> None:
    """Learn, and write the trigger and the bytes of weights that this process holds."""
    with join_process_group("cpu") as group:
        classifier = shard_weights(load_bundle(bundle), recompute=recompute == "recompute")
        found = learned(classifier, group)
        held = sum(_local(weight).nbytes for weight in classifier.network.parameters())
        save_file({"trigger": found.contiguous(), "held": torch.tensor(held)}, Path(out) / f"{group.rank}.safetensors")


def _local(weight: torch.Tensor) -> torch.Tensor:
    part: torch.Tensor = weight.to_local() if hasattr(weight, "to_local") else weight
    return part


if __name__ == "__main__":
    main(*sys.argv[1:])
