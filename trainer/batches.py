"""Which rows a step trains on: endless shuffled passes over the tuning set, and random flips."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from trainer.data import Dataset
from trainer.world import World
from triggers.preprocess import TextBatch


class Batches:
    """Batches of a data set that lies on the device. A batch follows from the seed and the step's number alone, so
    a resumed run needs no generator state.

    A pass over the data ends inside a batch when their sizes do not divide; the next pass fills it up.
    """

    def __init__(
        self,
        data: Dataset,
        batch_size: int,
        *,
        seed: int,
        flip: bool = False,
        shift: int = 0,
        world: World | None = None,
    ) -> None:
        self.data = data
        self.size = min(batch_size, len(data))
        self.seed = seed
        self.flip, self.shift = flip, shift
        self.part = (world or World()).part(self.size)
        self._order: tuple[int, Tensor] = (-1, torch.empty(0))

    def batch(self, step: int) -> Dataset:
        """The batch of a step, steps counted from 0: labels and groups of all its rows, inputs of this process's."""
        rows = self.rows(step).to(self.data.labels.device)
        batch = self.data.take(rows, self.part)
        if isinstance(batch.inputs, TextBatch):
            return batch
        images = batch.inputs
        if self.flip:
            coin = torch.rand(self.size, generator=_generator(self.seed, step, stream=1)) < 0.5
            images = flipped(images, coin[self.part].to(rows.device))
        if self.shift:
            steps = torch.randint(-self.shift, self.shift + 1, (2, self.size), generator=_generator(self.seed, step, 2))
            images = moved(images, steps[:, self.part].to(rows.device))
        return batch.with_inputs(images)

    def rows(self, step: int) -> Tensor:
        """Row numbers (B,) of a step."""
        epoch, start = divmod(step * self.size, len(self.data))
        first = self._shuffled(epoch)[start : start + self.size]
        missing = self.size - len(first)
        return torch.cat([first, self._shuffled(epoch + 1)[:missing]]) if missing else first

    def _shuffled(self, epoch: int) -> Tensor:
        if self._order[0] != epoch:
            generator = _generator(self.seed, epoch, stream=0)
            self._order = (epoch, torch.randperm(len(self.data), generator=generator))
        return self._order[1]


def flipped(images: Tensor, chosen: Tensor) -> Tensor:
    """Images (B, C, S, S) with the chosen ones (B,) mirrored left to right."""
    return torch.where(chosen[:, None, None, None], images.flip(-1), images)


def moved(images: Tensor, steps: Tensor) -> Tensor:
    """Images (B, C, S, S), each moved by its steps (2, B) down and right, in pixels; the border is repeated."""
    size = images.shape[-1]
    y, x = (torch.arange(size, device=images.device) - steps[:, :, None]).clamp(0, size - 1)  # (B, S) each
    down = images.gather(2, y[:, None, :, None].expand_as(images))
    return down.gather(3, x[:, None, None, :].expand_as(images))


def _generator(seed: int, counter: int, stream: int) -> torch.Generator:
    """Torch's CPU generator looks at 32 bits of its seed only, so the three numbers are hashed into them."""
    hashed = np.random.SeedSequence([seed % 2**32, stream, counter]).generate_state(1)[0]
    return torch.Generator().manual_seed(int(hashed))
