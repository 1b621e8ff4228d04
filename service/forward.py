"""How a batch is computed: triggers first made ready, then items and trigger rows to scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, TypeAlias

import torch
from torch import Tensor

from triggers.classifier import Bank, FrozenClassifier, Item, Trigger
from triggers.errors import ModelError
from triggers.reprogram import reprogram, scores

Pass: TypeAlias = Callable[[Sequence[Item], Sequence[int]], Tensor]
"""Items (N) and the row of each one's trigger to class scores (N, labels), float32 on the CPU."""


class Forward(Protocol):
    """Computes batches of one model, from any thread; `lanes` threads at once keep the device busy."""

    @property
    def lanes(self) -> int: ...

    def over(self, triggers: Sequence[Trigger]) -> Pass:
        """A pass whose rows choose among these triggers; it stays right whatever is made ready later."""
        ...

    def warm(self, blank: Item) -> None:
        """Run every size of batch once, so that no client waits for what only the first run of a size does."""
        ...


def plain_forward(classifier: FrozenClassifier) -> EagerForward:
    """The model in float32 as it is; on a CPU an image model with its norms folded, channels last."""
    weights = any(True for _ in classifier.network.parameters())
    if classifier.spec.image is None or classifier.device.type != "cpu" or not weights:
        return EagerForward(classifier)
    try:
        return EagerForward(classifier.accelerated())
    except ModelError:  # its network cannot be copied
        return EagerForward(classifier)


class EagerForward:
    """Runs the model as it is: the whole path on a CPU, and what a GPU falls back to."""

    lanes = 1

    def __init__(self, classifier: FrozenClassifier, sizes: Sequence[int] = (1,)) -> None:
        self._classifier, self._sizes = classifier, sizes

    def over(self, triggers: Sequence[Trigger]) -> Pass:
        """A pass over a bank of its own."""
        return partial(self._run, self._classifier.bank(triggers))

    def warm(self, blank: Item) -> None:
        """Without a trigger, every size once."""
        bare = self.over([self._classifier.null_trigger()])
        for size in self._sizes:
            bare([blank] * size, [0] * size)

    @torch.inference_mode()
    def _run(self, bank: Bank, items: Sequence[Item], rows: Sequence[int]) -> Tensor:
        index = torch.tensor(rows, device=self._classifier.device)
        return scores(reprogram(self._classifier, self._classifier.batch(items), bank, index)).cpu()
