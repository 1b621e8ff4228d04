"""Recorders of functions over tensors at fixed addresses: as CUDA graphs, or run eagerly where there are none."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor

logger = logging.getLogger(__name__)

GraphedFn: TypeAlias = Callable[[], None]
"""Reads inputs from and writes results to tensors at fixed addresses, with the same control flow every time."""

WARMUP_RUNS = 3
"""Eager runs before recording, in which compilers and cuDNN settle."""


class Recorder(Protocol):
    """Turns a GraphedFn into one that replays it."""

    def record(self, program: GraphedFn) -> GraphedFn:
        """Run the function; returns its replay, to be called inside `stream_scope`."""
        ...

    def stream_scope(self) -> AbstractContextManager[None]:
        """A block whose work runs after that of the block before."""
        ...

    def synchronize(self) -> None:
        """Wait until all started work is done."""
        ...

    def record_event(self) -> Callable[[], None]:
        """Inside `stream_scope`: a function that waits until all work started so far is done."""
        ...

    def compile_fn(self, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """An elementwise function, in as few passes over memory as this recorder can."""
        ...


class EagerRecorder:
    """Runs functions eagerly, on any device."""

    def record(self, program: GraphedFn) -> GraphedFn:
        """The function itself, after one run."""
        program()
        return program

    def stream_scope(self) -> AbstractContextManager[None]:
        """Nothing to do: work is done in order."""
        return nullcontext()

    def synchronize(self) -> None:
        """Nothing to wait for on a CPU."""

    def record_event(self) -> Callable[[], None]:
        """Nothing to wait for here either."""
        return self.synchronize

    def compile_fn(self, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """The function itself."""
        return function


class CudaGraphRecorder:
    """Records on one stream of one GPU; all graphs share their scratch memory, so only one may run at a time."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)
        self._pool = torch.cuda.graph_pool_handle()
        torch.cuda.synchronize(device)  # weights are written on another stream

    @contextmanager
    def stream_scope(self) -> Iterator[None]:
        """Work inside goes to the stream of the graphs."""
        with torch.cuda.device(self._device), torch.cuda.stream(self._stream):
            yield

    def synchronize(self) -> None:
        """Wait until the stream is empty; other threads run meanwhile."""
        self._stream.synchronize()

    def record_event(self) -> Callable[[], None]:
        """Record an event on the stream; waiting for it sleeps, and leaves the core to other threads."""
        event = torch.cuda.Event(blocking=True)
        event.record(self._stream)
        return event.synchronize

    def record(self, program: GraphedFn) -> GraphedFn:
        """The function as a CUDA graph; if it cannot be recorded, the function itself, and the log says why."""
        with self.stream_scope():
            for _ in range(WARMUP_RUNS):
                program()
        self.synchronize()
        graph = torch.cuda.CUDAGraph()
        try:
            # other threads (a trigger that is loaded, another model) may use the GPU meanwhile
            with torch.cuda.graph(graph, self._pool, self._stream, capture_error_mode="thread_local"):
                program()
        except RuntimeError as error:
            logger.warning("this model cannot be recorded as a CUDA graph and runs step by step: %s", error)
            return program
        return graph.replay

    def compile_fn(self, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """The function compiled, or itself where there is no compiler."""
        return _Compiled(function)


class _Compiled:
    """A compiled function that falls back to the plain one when it cannot be compiled."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self._plain = function
        # indices come from tables made here, and checking each costs more than the computation
        self._run: Callable[..., Tensor] = torch.compile(function, options={"assert_indirect_indexing": False})

    def __call__(self, *arguments: Any) -> Tensor:
        try:
            return self._run(*arguments)
        except torch._dynamo.exc.TorchDynamoException as error:
            logger.warning("%s is not compiled, and slower: %s", self._plain.__name__, str(error).partition("\n")[0])
            self._run = self._plain
            return self._plain(*arguments)
