"""Prefetching of batches that do not lie on the device: gathered by a thread, copied while the device computes.

The thread touches memory and files only, never the device, so that it cannot disturb a step that is being recorded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeAlias, TypeVar

import torch
from torch import Tensor

from trainer.data.dataset import Dataset
from triggers.preprocessing import TextBatch

_T = TypeVar("_T")
GatherFn: TypeAlias = Callable[[_T, Tensor | None], Dataset]
"""Makes the batch of an item, say a step's number; images go into the buffer if there is one."""

PREFETCH_DEPTH = 3
"""Batches ahead: one that is being copied, two that are being gathered."""


def stream_batches(
    gather: GatherFn[_T], items: Iterable[_T], data: Dataset, rows: int, device: torch.device
) -> Iterator[Dataset]:
    """A batch per item, in order, on the device; each has at most `rows` rows of `data`.

    Where the data lies on the device already, batches are gathered when they are asked for.
    """
    if data.labels.device.type == device.type:
        return (gather(item, None) for item in items)
    return prefetch_batches(gather, items, device, [_buffer(data, rows, device) for _ in range(PREFETCH_DEPTH)])


def prefetch_batches(
    gather: GatherFn[_T], items: Iterable[_T], device: torch.device, buffers: Sequence[Tensor | None]
) -> Iterator[Dataset]:
    """As `stream_batches`, in the background, with as many batches ahead as there are buffers."""
    todo, copies = iter(items), _Copies(device)
    gathering: deque[tuple[Future[Dataset], Tensor | None]] = deque()
    thread = ThreadPoolExecutor(1, thread_name_prefix="gather")

    def refill(free: Iterable[Tensor | None]) -> None:
        for buffer in free:
            gathering.extend((thread.submit(gather, item, buffer), buffer) for item in islice(todo, 1))

    try:
        refill(buffers)
        landing: tuple[Dataset, Tensor | None] | None = None
        while gathering or landing:
            future, buffer = gathering.popleft() if gathering else (None, None)
            gathered = future.result() if future else None
            landed = landing
            if landed:
                copies.finish(landed[0])
            landing = (copies.start(gathered), buffer) if gathered else None
            if landed:
                refill([landed[1]])
                yield landed[0]
    finally:
        thread.shutdown(cancel_futures=True)


class _Copies:
    """Copies to the device, on a GPU on a stream of their own."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def start(self, batch: Dataset) -> Dataset:
        """Start to copy a batch; it may be used after `finish`."""
        with torch.cuda.stream(self._stream):
            return batch.to(self._device, non_blocking=True)

    def finish(self, batch: Dataset) -> None:
        """Wait until the copy is complete."""
        if self._stream:
            self._stream.synchronize()
            for tensor in batch.tensors():
                tensor.record_stream(torch.cuda.current_stream(self._device))


def _buffer(data: Dataset, rows: int, device: torch.device) -> Tensor | None:
    """A buffer, pinned for a GPU, so that copies need no waiting; None for texts, which are too small to need one."""
    if isinstance(data.inputs, TextBatch):
        return None
    with torch.inference_mode(False):  # written by the gathering thread, which is never in inference mode
        return torch.empty(rows, *data.inputs.shape[1:], dtype=torch.uint8, pin_memory=device.type == "cuda")
