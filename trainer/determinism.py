"""Settings of torch under which the same run on a CPU gives the same bits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def reproducible(device: torch.device, threads: int | None) -> Iterator[None]:
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
