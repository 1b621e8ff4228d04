"""The forward pass: its interface (bind triggers, then items and trigger rows to scores), and its eager form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, TypeAlias

import torch
from torch import Tensor

from triggers.model import Bank, FrozenClassifier, Item, Trigger, scores
from triggers.model.reprogram import reprogram

BoundForward: TypeAlias = Callable[[Sequence[Item], Sequence[int]], Tensor]
"""Items (N) and the row of each one's trigger to class scores (N, labels), float32 on the CPU."""


class Forward(Protocol):
    """Computes batches of one model, from any thread; `max_concurrency` threads at once keep the device busy."""

    @property
    def max_concurrency(self) -> int: ...

    def bind(self, triggers: Sequence[Trigger]) -> BoundForward:
        """A pass whose rows index these triggers; later calls do not affect it."""
        ...

    def warm(self, blank: Item) -> None:
        """Run every batch size once, so that no client waits for the first run of a size."""
        ...


def build_eager_forward(classifier: FrozenClassifier) -> EagerForward:
    """The eager pass as the bundle declares."""
    return EagerForward(classifier.for_inference())


class EagerForward:
    """Runs the model eagerly: the default on a CPU, the fallback on a GPU."""

    def __init__(self, classifier: FrozenClassifier, sizes: Sequence[int] = (1,), max_concurrency: int = 1) -> None:
        self._classifier, self._sizes, self.max_concurrency = classifier, sizes, max_concurrency

    def bind(self, triggers: Sequence[Trigger]) -> BoundForward:
        """A pass over a bank of its own."""
        return partial(self._run, self._classifier.bank(triggers))

    def warm(self, blank: Item) -> None:
        """Run every size once, without a trigger."""
        bare = self.bind([self._classifier.null_trigger()])
        for size in self._sizes:
            bare([blank] * size, [0] * size)

    @torch.inference_mode()
    def _run(self, bank: Bank, items: Sequence[Item], rows: Sequence[int]) -> Tensor:
        index = torch.tensor(rows, device=self._classifier.device)
        return scores(reprogram(self._classifier, self._classifier.batch(items), bank, index)).cpu()
