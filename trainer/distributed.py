"""Distributed training: one process per GPU (or CPU share), as `torchrun` starts them, and reproducible settings.

Every process holds the same triggers and adversaries. Of a global batch it runs its own rows through the frozen model;
logits are gathered, so that losses, adversaries and the fair gradient are computed from the whole batch everywhere;
gradients of the triggers are summed. The result is that of one process with the same batch, up to float rounding.
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
"""Limit for waiting while the main process fits a classifier or decodes the data."""


@dataclass(frozen=True)
class ProcessGroup:
    """This process's rank among `size`; rank 0, the main process, writes, publishes and reports."""

    rank: int = 0
    size: int = 1

    @property
    def is_main_process(self) -> bool:
        """Whether this process writes, publishes and reports."""
        return self.rank == 0

    def part(self, rows: int) -> slice:
        """This process's own rows of a global batch."""
        small, larger = divmod(rows, self.size)
        start = self.rank * small + min(self.rank, larger)
        return slice(start, start + small + (self.rank < larger))

    def all_gather(self, own: Tensor, rows: int) -> Tensor:
        """Own rows (K, b, L) of all processes as (K, rows, L), in order of rank."""
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
        """Run the block in the main process first; the others run it afterwards and find the files that it left."""
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
    """Join the group that `torchrun` describes in the environment, or one of a single process: nccl on GPUs, else gloo.

    Raises ConfigError if a process has no GPU of its own. After an error inside, the process does not wait for the
    others: the program ends, and `torchrun` ends them.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ProcessGroup()
        return
    own = None if device == "cpu" or not torch.cuda.is_available() else _own_gpu(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if own else "gloo", timeout=COLLECTIVE_TIMEOUT, device_id=own)
    yield ProcessGroup(dist.get_rank(), dist.get_world_size())
    gc.collect()  # recorded steps hold the communicator, so they go first
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
    """On a CPU only deterministic algorithms, on `threads` threads (None: torch's present number), so that the same run
    gives the same bits; restores the settings afterwards.

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
