"""Shared memory for inputs: fixed slots, one preprocessed input each.

The memory has no name and no file: it is passed on as an open descriptor and freed with the last process that holds it.
A slot holds 8-bit pixels in the model's shape, 32-bit token ids, or a file of no more bytes. Only slots that were ever
used take physical memory, and the slot given back last is used first.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from service.engine.types import EncodedFile
from triggers.errors import ModelError
from triggers.model import BundleSpec, Item
from triggers.preprocessing import TokenIds


@dataclass(frozen=True)
class SlotLayout:
    """Position of one model's slots: `count` slots of `size` bytes from byte `start`; `shape` (C, H, W) of images."""

    start: int
    size: int
    count: int
    shape: tuple[int, int, int] | None

    @classmethod
    def of(cls, spec: BundleSpec, count: int, start: int) -> SlotLayout:
        """The layout of `count` slots for a model's inputs, from byte `start`."""
        if spec.image:
            shape = spec.image.pixel_shape
            return cls(start, shape[0] * shape[1] * shape[2], count, shape)
        assert spec.text
        return cls(start, 4 * spec.text.max_tokens, count, None)

    @property
    def end(self) -> int:
        """The first page boundary after the last slot, in bytes."""
        return -(-(self.start + self.size * self.count) // mmap.PAGESIZE) * mmap.PAGESIZE


def shared_memory(size: int) -> int:
    """A descriptor of `size` bytes of shareable memory (memfd); no file system bounds it, not even /dev/shm."""
    descriptor = os.memfd_create("fairtrigger-slots")
    os.ftruncate(descriptor, size)
    return descriptor


class SharedSlots:
    """The slots of one model, in either process."""

    def __init__(self, memory: mmap.mmap, layout: SlotLayout) -> None:
        self._bytes = np.frombuffer(memory, dtype=np.uint8)[layout.start : layout.start + layout.size * layout.count]
        self._layout = layout
        self._images = _images(self._bytes, layout)
        self._free = list(range(layout.count - 1, -1, -1))

    def take(self, count: int) -> list[int] | None:
        """Numbers of free slots, or None if there are not so many."""
        if count > len(self._free):
            return None
        return [self._free.pop() for _ in range(count)]

    def release(self, taken: list[int]) -> None:
        """These slots are free again."""
        self._free.extend(taken)

    def write(self, slot: int, item: Item | EncodedFile) -> int:
        """Write an input into a slot; returns its length in bytes, negative for a file."""
        if isinstance(item, EncodedFile):
            self._part(slot, len(item.data))[:] = np.frombuffer(item.data, dtype=np.uint8)
            return -len(item.data)
        if isinstance(item, Tensor):
            if item.shape != self._images[slot].shape:  # copy_ would broadcast a smaller one
                raise ModelError(f"An input of shape {tuple(item.shape)} is none of {self._layout.shape}.")
            self._images[slot].copy_(item)
            return item.nbytes
        ids = np.array(item.ids, dtype=np.int32)
        self._part(slot, ids.nbytes).view(np.int32)[:] = ids
        return ids.nbytes

    def read(self, slot: int, length: int) -> Item | EncodedFile:
        """The input in a slot; an image stays where it is and is not copied."""
        if length < 0:
            return EncodedFile(self._part(slot, -length).tobytes())
        if self._images:
            return self._images[slot]
        return TokenIds(tuple(self._part(slot, length).view(np.int32).tolist()), truncated=False)

    def _part(self, slot: int, length: int) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
        if not (0 <= slot < self._layout.count and 0 <= length <= self._layout.size):
            raise ModelError(f"An input of {length} bytes does not fit into slot {slot}, of {self._layout.size} bytes.")
        start = slot * self._layout.size
        return self._bytes[start : start + length]


def _images(pixels: np.ndarray[tuple[int], np.dtype[np.uint8]], layout: SlotLayout) -> Sequence[Tensor]:
    """Every slot as an image (C, H, W), channels last in memory, as JPEGs are decoded: copies need no reordering."""
    if layout.shape is None:
        return ()
    channels, height, width = layout.shape
    return torch.from_numpy(pixels).view(layout.count, height, width, channels).permute(0, 3, 1, 2).unbind()
