"""The processes that train together, one per GPU (or CPU share), as `torchrun` starts them; one alone is a world too.

Every process holds the same triggers and adversaries. Of a global batch it runs its own rows through the frozen model;
logits are gathered, so that losses, adversaries and the fair gradient are computed from the whole batch everywhere;
gradients of the triggers are summed. The result is that of one process with the same batch, up to float rounding.

Settings of torch under which the same run on a CPU gives the same bits.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import torch
import torch.distributed as dist
from torch import Tensor

from triggers.errors import ConfigError

COLLECTIVE_TIMEOUT = timedelta(hours=12)

"""How long the others wait while the first process fits a classifier or decodes the data."""


@dataclass(frozen=True)
class ProcessGroup:
    """This process's place among `size`; the first one writes, publishes and reports."""

    rank: int = 0
    size: int = 1

    @property
    def is_main_process(self) -> bool:
        """Is this the process that speaks for all?"""
        return self.rank == 0

    def part(self, rows: int) -> slice:
        """Which rows of a global batch are this process's own."""
        small, larger = divmod(rows, self.size)
        start = self.rank * small + min(self.rank, larger)
        return slice(start, start + small + (self.rank < larger))

    def all_gather(self, own: Tensor, rows: int) -> Tensor:
        """Own rows (K, b, L) of all processes as (K, rows, L), in order."""
        if self.size == 1:
            return own
        widest = -(-rows // self.size)
        padded = torch.nn.functional.pad(own, (0, 0, 0, widest - own.shape[1])).contiguous()
        flat = padded.new_empty(self.size * len(padded), *padded.shape[1:])
        dist.all_gather_into_tensor(flat, padded)
        parts = flat.view(self.size, *padded.shape)
        lengths = [len(range(rows)[ProcessGroup(rank, self.size).part(rows)]) for rank in range(self.size)]
        return torch.cat([part[:, :length] for part, length in zip(parts, lengths, strict=True)], dim=1)

    def all_reduce_sum(self, tensors: Sequence[Tensor]) -> None:
        """Replace every tensor, all of one type, by its sum over the processes: one message for all of them."""
        if self.size == 1:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        dist.all_reduce(flat)
        for tensor, total in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(total.view_as(tensor))

    @contextmanager
    def main_process_first(self) -> Iterator[None]:
        """The first process does what follows alone; the others do it after it, and find what it left on disk."""
        if not self.is_main_process:
            self._wait()
        yield
        if self.is_main_process:
            self._wait()

    def _wait(self) -> None:
        if self.size > 1:
            dist.barrier()


@contextmanager
def join_process_group(device: Literal["auto", "cpu", "cuda"] = "auto") -> Iterator[ProcessGroup]:
    """The world that `torchrun` describes in the environment, or this process alone: nccl on GPUs, else gloo.

    Raises ConfigError if a process has no GPU of its own. After an error inside nobody waits for the others: the
    program ends, and `torchrun` ends them.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ProcessGroup()
        return
    own = None if device == "cpu" or not torch.cuda.is_available() else _own_gpu(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if own else "gloo", timeout=COLLECTIVE_TIMEOUT, device_id=own)
    yield ProcessGroup(dist.get_rank(), dist.get_world_size())
    gc.collect()  # recorded steps hold the communicator, which cannot be taken down before them
    dist.destroy_process_group()


def _own_gpu(number: int) -> torch.device:
    """The GPU of this process, made the current one."""
    found = torch.cuda.device_count()
    if number >= found:
        raise ConfigError(f"Process {number} of this machine finds {found} GPUs: use --nproc-per-node {found} at most.")
    torch.cuda.set_device(number)
    return torch.device("cuda", number)


@contextmanager
def deterministic_algorithms(device: torch.device, threads: int | None) -> Iterator[None]:
    """On a CPU only deterministic algorithms, on `threads` threads (None: as many as torch has now); then as before.

    On a GPU, which is not reproducible to the bit anyway, cuDNN looks for its fastest algorithms.
    """
    before = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads(), torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = device.type == "cuda"
    torch.use_deterministic_algorithms(device.type == "cpu")
    torch.set_num_threads(threads or before[1])
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.set_num_threads(before[1])
        torch.backends.cudnn.benchmark = before[2]
