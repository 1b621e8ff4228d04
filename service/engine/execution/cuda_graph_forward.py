"""The forward pass of image batches as CUDA graphs, one per batch size, over static buffers and a trigger bank.

Every size has two graphs: one for batches in which no trigger shrinks the image, one for all others. Graphs run one
after the other; while one runs, the next batch is gathered and queued behind it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from functools import partial
from queue import SimpleQueue
from typing import cast

import torch
from torch import Tensor

from service.engine.execution.batch_sizes import BatchSizes
from service.engine.execution.cuda_graph_recorder import GraphedFn, Recorder
from service.engine.execution.eager_forward import BoundForward, EagerForward
from service.engine.execution.static_buffers import PinnedStaging, StaticBuffers
from service.engine.execution.trigger_bank import DeviceTriggerBank, apply_plain, apply_resized
from triggers.model import FrozenClassifier, Item, Trigger, scores
from triggers.trigger import ImageTrigger

logger = logging.getLogger(__name__)

MAX_CONCURRENCY = 2
"""Batches in work at once: one is computed, one is gathered."""


class CudaGraphForward:
    """Runs an image classifier by CUDA graphs of up to `max_rows` rows and `max_triggers` different triggers."""

    def __init__(self, classifier: FrozenClassifier, recorder: Recorder, *, max_rows: int, max_triggers: int) -> None:
        spec = classifier.spec.image
        assert spec
        self._classifier, self.recorder = classifier, recorder
        self._buckets = BatchSizes(max_rows)
        with recorder.stream_scope():
            self.buffers = StaticBuffers(max_rows, spec.pixel_shape, len(classifier.labels), classifier.device)
            self.bank = DeviceTriggerBank(max_triggers, spec.pixel_shape, classifier.device, classifier.dtype)
        self._programs: dict[tuple[int, bool], GraphedFn] = {}
        self._fused = {False: recorder.compile_fn(apply_plain), True: recorder.compile_fn(apply_resized)}
        self._eager = EagerForward(classifier)
        self._turn = threading.Lock()  # the buffers, the bank and the graphs' memory serve one batch at a time
        self.max_concurrency = MAX_CONCURRENCY if classifier.device.type == "cuda" else 1
        self._desks = SimpleQueue[PinnedStaging]()
        for _ in range(self.max_concurrency):
            self._desks.put(PinnedStaging(self.buffers))

    @property
    def recorded_count(self) -> int:
        """Number of graphs recorded so far."""
        return len(self._programs)

    def bind(self, triggers: Sequence[Trigger]) -> BoundForward:
        """Copy new triggers to the device. If one shrinks too far for MAX_TAPS, the pass runs eagerly."""
        images = tuple(cast(Sequence[ImageTrigger], triggers))
        if not all(self.bank.fits(trigger) for trigger in images):
            smallest = min(images, key=lambda trigger: trigger.inner)
            logger.warning("a trigger shrinks %d pixels to %d: batches run unrecorded", smallest.size, smallest.inner)
            return self._eager.bind(triggers)
        with self._turn, self.recorder.stream_scope():
            self.bank.rows(images)
            self.recorder.synchronize()
        return partial(self._run, images)

    def warm(self, blank: Item) -> None:
        """Record every size, the largest first: the others then reuse its memory."""
        with self._turn:
            for size in reversed(self._buckets.sizes):
                for shrinks in (False, True):
                    self.graphed_fn(size, shrinks)

    @torch.no_grad()
    def _run(self, triggers: Sequence[ImageTrigger], items: Sequence[Item], rows: Sequence[int]) -> Tensor:
        images, most = cast(Sequence[Tensor], items), self._buckets.largest
        chosen = [triggers[row] for row in rows]
        staging = self._desks.get()
        try:
            parts = [
                self._part(staging, images[start : start + most], chosen[start : start + most])
                for start in range(0, len(images), most)
            ]
        finally:
            self._desks.put(staging)
        return torch.cat(parts)

    def _part(self, staging: PinnedStaging, images: Sequence[Tensor], triggers: Sequence[ImageTrigger]) -> Tensor:
        shrinks = any(trigger.inner != trigger.size for trigger in triggers)
        staging.gather(images)
        with self._turn:
            program = self.graphed_fn(self._buckets.round_up(len(images)), shrinks)
            with self.recorder.stream_scope():
                self.buffers.fill(staging, images, self.bank.rows(triggers))
                program()
                found = self.buffers.fetch(staging, len(images))
                wait = self.recorder.record_event()
        wait()
        return found.clone()

    @torch.no_grad()
    def graphed_fn(self, size: int, shrinks: bool) -> GraphedFn:
        """The graph of a size, recorded on first use."""
        if (size, shrinks) not in self._programs:
            self._programs[size, shrinks] = self.recorder.record(partial(self._compute, size, shrinks))
        return self._programs[size, shrinks]

    def _compute(self, size: int, shrinks: bool) -> None:
        """On the first `size` rows of the buffers: apply the triggers, run the model, write the scores."""
        bank, buffers = self.bank, self.buffers
        taps = bank.taps if shrinks else ()
        inputs = (buffers.pixels[:size], buffers.rows[:size], bank.keep, bank.delta)
        images = self._fused[shrinks](self._classifier.dtype, *inputs, *taps)
        buffers.scores[:size].copy_(scores(self._classifier.image_logits(images)))
