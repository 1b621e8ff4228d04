"""Training batches: endless shuffled passes over a data set, with random flips, shifts and crops."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from trainer.data.dataset import Dataset
from trainer.data.prefetch import stream_batches
from trainer.data.random_resized_crop import random_crops, resize_crops
from trainer.distributed import ProcessGroup
from triggers.preprocessing import TextBatch

WIDTH_STEP = 16
"""Widths of text batches are multiples of this, so that only few shapes are compiled and recorded."""


class Batches:
    """Batches of a data set, on a `device` (None: where the data lies). A batch follows from the seed and the step's
    number alone, so a resumed run needs no generator state.

    A pass over the data ends inside a batch when their sizes do not divide; the next pass fills it up.
    Texts come sorted by length, in `pieces` pieces of one width each.
    """

    def __init__(
        self,
        data: Dataset,
        batch_size: int,
        *,
        seed: int,
        flip: bool = False,
        shift: int = 0,
        crop: Sequence[float] | None = None,
        process_group: ProcessGroup | None = None,
        pieces: int = 4,
        device: torch.device | None = None,
    ) -> None:
        self.data, self.device = data, device or data.labels.device
        self.size = min(batch_size, len(data))
        self.seed = seed
        self.flip, self.shift, self.crop = flip, shift, crop
        self.process_group = process_group or ProcessGroup()
        self.part = self.process_group.part(self.size)
        self.pieces = pieces
        self._lengths = data.inputs.lengths.cpu() if isinstance(data.inputs, TextBatch) else None
        self._order: tuple[int, Tensor] = (-1, torch.empty(0))

    def batch(self, step: int) -> Dataset:
        """The batch of a step, steps counted from 0: labels and groups of all its rows, inputs of this process's."""
        return self._finished(step, self._gathered(step, None).to(self.device))

    def each(self, steps: range) -> Iterator[Dataset]:
        """The batches of these steps, made ahead where the data does not lie on the device."""
        gathered = stream_batches(self._gathered, steps, self.data, len(range(self.size)[self.part]), self.device)
        for step, batch in zip(steps, gathered, strict=True):
            yield self._finished(step, batch)

    def _gathered(self, step: int, into: Tensor | None) -> Dataset:
        """Gather the rows of a batch where the data lies."""
        if self._lengths is not None:
            return self._texts(self.rows(step), self._lengths)
        return self.data.take(self.rows(step).to(self.data.labels.device), self.part, into)

    def _finished(self, step: int, batch: Dataset) -> Dataset:
        """Flip, shift and crop the images of a batch at random."""
        images = batch.inputs
        if isinstance(images, TextBatch):
            return batch
        if self.flip:
            coin = torch.rand(self.size, generator=_generator(self.seed, step, stream=1)) < 0.5
            images = flip_images(images, coin[self.part].to(self.device))
        if self.shift:
            steps = torch.randint(-self.shift, self.shift + 1, (2, self.size), generator=_generator(self.seed, step, 2))
            images = shift_images(images, steps[:, self.part].to(self.device))
        if self.crop:
            height, width = images.shape[-2:]
            crops = random_crops(self.size, (height, width), self.crop, _generator(self.seed, step, stream=3))
            images = resize_crops(images, crops[self.part].to(self.device))
        return batch.with_inputs(images)

    def _texts(self, rows: Tensor, all_lengths: Tensor) -> Dataset:
        """A batch of texts, sorted by length so that each piece pads little."""
        rows = rows[all_lengths[rows].argsort(stable=True)]
        rows = torch.cat(
            [rows[rank :: self.process_group.size] for rank in range(self.process_group.size)]
        )  # the same in every process
        inputs = self.data.inputs
        assert isinstance(inputs, TextBatch)
        sizes = [len(one) for one in rows[self.part].tensor_split(self.pieces) if len(one)]
        widths = self._widths(all_lengths[rows], inputs.ids.shape[1])[: len(sizes)]
        on_device = rows.to(inputs.ids.device)
        mine = on_device[self.part]
        texts = TextBatch(inputs.ids[mine, : widths[-1]], inputs.lengths[mine], tuple(zip(sizes, widths, strict=True)))
        return replace(
            self.data, inputs=texts, labels=self.data.labels[on_device], groups=self.data.groups[on_device], ids=()
        )

    def _widths(self, lengths: Tensor, widest: int) -> list[int]:
        """Widths of the pieces, the same in every process, so that all record or replay the same step."""
        parts = [
            lengths[ProcessGroup(rank, self.process_group.size).part(len(lengths))]
            for rank in range(self.process_group.size)
        ]
        pieces = zip(*(part.tensor_split(self.pieces) for part in parts), strict=True)
        cuts = [max(int(own[-1]) for own in piece if len(own)) for piece in pieces if any(map(len, piece))]
        return [min(-(-cut // WIDTH_STEP) * WIDTH_STEP, widest) for cut in cuts]

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


def flip_images(images: Tensor, chosen: Tensor) -> Tensor:
    """Images (B, C, H, W) with the chosen ones (B,) mirrored left to right."""
    return torch.where(chosen[:, None, None, None], images.flip(-1), images)


def shift_images(images: Tensor, steps: Tensor) -> Tensor:
    """Images (B, C, H, W), each moved by its steps (2, B) down and right, in pixels; the border is repeated."""
    y, x = (  # (B, H) and (B, W)
        (torch.arange(side, device=images.device) - step[:, None]).clamp(0, side - 1)
        for side, step in zip(images.shape[-2:], steps, strict=True)
    )
    down = images.gather(2, y[:, None, :, None].expand_as(images))
    return down.gather(3, x[:, None, None, :].expand_as(images))


def _generator(seed: int, counter: int, stream: int) -> torch.Generator:
    """A generator seeded by a hash of all three numbers: torch's CPU generator uses 32 bits of its seed only."""
    hashed = np.random.SeedSequence([seed % 2**32, stream, counter]).generate_state(1)[0]
    return torch.Generator().manual_seed(int(hashed))
