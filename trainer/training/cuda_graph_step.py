"""Training steps recorded once as a CUDA graph and replayed, without the cost of launching kernels one by one.

Nothing in a step may wait for the GPU or depend on numbers that only the CPU knows; what changes from step to step
(the batch, learning rates) lies in tensors. Each shape of batch is recorded after a few ordinary steps. Of several
processes all must record the same step: their batches have the same shapes, or all different ones, at the same time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from torch import Tensor

from trainer.data import Dataset
from triggers.preprocessing import TextBatch

WARMUP_STEPS = 3
"""Ordinary steps before recording: compilers and cuDNN settle, optimisers make their state."""

StepFn: TypeAlias = Callable[[Dataset], tuple[Tensor, ...]]


@dataclass(frozen=True, eq=False)
class _Recording:
    graph: torch.cuda.CUDAGraph
    batch: Dataset
    results: tuple[Tensor, ...]


class CudaGraphStep:
    """A recorded step; call it like the step itself. Results are copies, valid after the next step too."""

    def __init__(self, step: StepFn) -> None:
        self._step = step
        self._seen: dict[tuple[object, ...], int] = {}
        self._recordings: dict[tuple[object, ...], _Recording] = {}
        self._stream = torch.cuda.Stream()

    def __call__(self, batch: Dataset) -> tuple[Tensor, ...]:
        key = _shape(batch)
        seen = self._seen[key] = self._seen.get(key, 0) + 1
        if seen <= WARMUP_STEPS:
            return self._warm(batch)
        recording = self._recordings.get(key) or self._record(key, batch)
        for static, new in zip(_tensors(recording.batch), _tensors(batch), strict=True):
            static.copy_(new)
        recording.graph.replay()
        return tuple(result.clone() for result in recording.results)

    def _warm(self, batch: Dataset) -> tuple[Tensor, ...]:
        """An ordinary step on a side stream, as recording requires."""
        main = torch.cuda.current_stream()
        self._stream.wait_stream(main)
        with torch.cuda.stream(self._stream):
            results = self._step(batch)
        main.wait_stream(self._stream)
        return results

    def _record(self, key: tuple[object, ...], batch: Dataset) -> _Recording:
        copied = _rebuilt(batch, [tensor.clone() for tensor in _tensors(batch)])
        graph = torch.cuda.CUDAGraph()
        # thread_local: the communicator's own thread queries its events meanwhile, which must not end the recording
        with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
            results = self._step(copied)
        recording = self._recordings[key] = _Recording(graph, copied, results)
        return recording


def _tensors(batch: Dataset) -> list[Tensor]:
    inputs = batch.inputs
    content = [inputs.ids, inputs.lengths] if isinstance(inputs, TextBatch) else [inputs]
    return [*content, batch.labels, batch.groups]


def _rebuilt(batch: Dataset, tensors: list[Tensor]) -> Dataset:
    *content, labels, groups = tensors
    if isinstance(batch.inputs, TextBatch):
        return replace(
            batch, inputs=replace(batch.inputs, ids=content[0], lengths=content[1]), labels=labels, groups=groups
        )
    return replace(batch, inputs=content[0], labels=labels, groups=groups)


def _shape(batch: Dataset) -> tuple[object, ...]:
    pieces = batch.inputs.pieces if isinstance(batch.inputs, TextBatch) else ()
    return (pieces, *(tuple(tensor.shape) for tensor in _tensors(batch)))
