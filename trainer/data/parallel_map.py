"""A parallel map in threads, for decoding and hashing, which release the interpreter lock."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_T = TypeVar("_T")
_R = TypeVar("_R")

MAP_THREADS = min(8, os.cpu_count() or 1)
WINDOW = 64 * MAP_THREADS
"""Results computed ahead at most."""


def parallel_map(work: Callable[[_T], _R], items: Sequence[_T]) -> Iterator[_R]:
    """Results in order, a window at a time so that memory stays bounded."""
    with ThreadPoolExecutor(MAP_THREADS) as pool:
        for start in range(0, len(items), WINDOW):
            yield from pool.map(work, items[start : start + WINDOW])
