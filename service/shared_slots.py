"""Inputs in memory that two processes share: fixed slots, one preprocessed input each.

The memory has no name and no file: it is passed on as an open descriptor and gone with the last process that holds it.
A slot is 8-bit pixels in the model's shape, 32-bit token ids, or a file of no more bytes. Only slots that were ever
used take real memory, and the slot given back last is used first.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from service.file_item import File
from triggers.bundle import BundleSpec
from triggers.errors import ModelError
from triggers.preprocess import TokenIds
from triggers.preprocessor import Item


@dataclass(frozen=True)
class Region:
    """Where one model's slots lie: `count` slots of `size` bytes from `start`; `shape` of an image."""

    start: int
    size: int
    count: int
    shape: tuple[int, int, int] | None

    @classmethod
    def of(cls, spec: BundleSpec, count: int, start: int) -> Region:
        """Slots for the inputs of a model."""
        if spec.image:
            shape = (spec.image.channels, spec.image.size, spec.image.size)
            return cls(start, shape[0] * shape[1] * shape[2], count, shape)
        assert spec.text
        return cls(start, 4 * spec.text.max_tokens, count, None)

    @property
    def end(self) -> int:
        """The first byte after the last slot, on a page of its own."""
        return -(-(self.start + self.size * self.count) // mmap.PAGESIZE) * mmap.PAGESIZE


def shared_memory(size: int) -> int:
    """A descriptor of `size` bytes of memory that can be shared.

    No file system bounds it, /dev/shm's size neither: it can only run out together with all memory.
    """
    descriptor = os.memfd_create("fairtrigger-slots")
    os.ftruncate(descriptor, size)
    return descriptor


class Slots:
    """The slots of one model, as either process sees them."""

    def __init__(self, memory: mmap.mmap, region: Region) -> None:
        self._bytes = np.frombuffer(memory, dtype=np.uint8)[region.start : region.start + region.size * region.count]
        self._region = region
        self._images = _images(self._bytes, region)
        self._free = list(range(region.count - 1, -1, -1))

    def take(self, count: int) -> list[int] | None:
        """Numbers of free slots, or None if there are not so many."""
        if count > len(self._free):
            return None
        return [self._free.pop() for _ in range(count)]

    def give_back(self, taken: list[int]) -> None:
        """These slots are free again."""
        self._free.extend(taken)

    def write(self, slot: int, item: Item | File) -> int:
        """Put an input into a slot; returns its length in bytes, which of a file is negative."""
        if isinstance(item, File):
            self._part(slot, len(item.data))[:] = np.frombuffer(item.data, dtype=np.uint8)
            return -len(item.data)
        if isinstance(item, Tensor):
            if item.shape != self._images[slot].shape:  # copy_ would repeat a smaller one
                raise ModelError(f"An input of shape {tuple(item.shape)} is none of {self._region.shape}.")
            self._images[slot].copy_(item)
            return item.nbytes
        ids = np.array(item.ids, dtype=np.int32)
        self._part(slot, ids.nbytes).view(np.int32)[:] = ids
        return ids.nbytes

    def read(self, slot: int, length: int) -> Item | File:
        """The input in a slot; an image stays where it is and is not copied."""
        if length < 0:
            return File(self._part(slot, -length).tobytes())
        if self._images:
            return self._images[slot]
        return TokenIds(tuple(self._part(slot, length).view(np.int32).tolist()), truncated=False)

    def _part(self, slot: int, length: int) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
        if not (0 <= slot < self._region.count and 0 <= length <= self._region.size):
            raise ModelError(f"An input of {length} bytes does not fit into slot {slot}, of {self._region.size} bytes.")
        start = slot * self._region.size
        return self._bytes[start : start + length]


def _images(pixels: np.ndarray[tuple[int], np.dtype[np.uint8]], region: Region) -> Sequence[Tensor]:
    """Every slot as an image (C, S, S) whose colours lie side by side, as a JPEG's do: they are copied as they are."""
    if region.shape is None:
        return ()
    channels, height, width = region.shape
    return torch.from_numpy(pixels).view(region.count, height, width, channels).permute(0, 3, 1, 2).unbind()
