"""Raw inputs to what the classifier reads, through the serving code, kept on disk as .npy files mapped into memory.

A file is named after the digest of its contents and of the preprocessing, so it is never stale and can be deleted at
will.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from trainer.progress import Progress
from triggers.classifier import FrozenClassifier, Item
from triggers.errors import DataError
from triggers.preprocess import Inputs, TextBatch

T = TypeVar("T")
R = TypeVar("R")

THREADS = min(8, os.cpu_count() or 1)
CACHE_VERSION = 1


def decoded(
    classifier: FrozenClassifier,
    contents: Sequence[str],
    item: Callable[[int], Item],
    cache: Path,
    progress: Progress,
    title: str,
) -> Inputs:
    """N inputs: item(0) to item(N - 1), from the cache when inputs of the same `contents` digests are there."""
    key = json.dumps([CACHE_VERSION, classifier.preprocessing_fingerprint, list(contents)])
    name = hashlib.sha256(key.encode()).hexdigest()[:32]
    cache.mkdir(parents=True, exist_ok=True)
    if classifier.spec.image:
        path = cache / f"{name}.npy"
        if not path.exists():
            _cache_images(classifier, _watched(item, range(len(contents)), progress, title), len(contents), path)
        return _mapped(path)
    ids, lengths = cache / f"{name}.ids.npy", cache / f"{name}.lengths.npy"
    if not (ids.exists() and lengths.exists()):
        items = list(_watched(item, range(len(contents)), progress, title))
        _cache_texts(classifier, items, ids, lengths, progress, title)
    return TextBatch(_mapped(ids).long(), _mapped(lengths).long())


def in_threads(work: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
    """Results in order, a window at a time so that memory stays bounded. Decoding releases the interpreter lock."""
    window = 64 * THREADS
    with ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(items), window):
            yield from pool.map(work, items[start : start + window])


def _watched(item: Callable[[int], Item], rows: Sequence[int], progress: Progress, title: str) -> Iterator[Item]:
    with progress.task(title, len(rows)) as task:
        for one in in_threads(item, rows):
            task.advance()
            yield one


def _cache_images(classifier: FrozenClassifier, images: Iterator[Any], count: int, path: Path) -> None:
    spec = classifier.spec.image
    assert spec
    with _whole(path) as partial:
        shape = (count, spec.channels, spec.size, spec.size)
        pixels = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)
        for row, image in enumerate(images):
            pixels[row] = image.numpy()
        pixels.flush()


def _cache_texts(
    classifier: FrozenClassifier, items: Sequence[Any], ids: Path, lengths: Path, progress: Progress, title: str
) -> None:
    cut = sum(item.truncated for item in items)
    if cut:
        progress.note(f"{title}: {cut} of {len(items)} texts are longer than the model reads and were cut")
    batch = TextBatch.of([item.ids for item in items], classifier.tokenizer.pad_token_id or 0)
    for path, array in ((ids, batch.ids), (lengths, batch.lengths)):
        with _whole(path) as partial, partial.open("wb") as file:
            np.save(file, array.int().numpy(), allow_pickle=False)


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A file that appears under its name only when it is complete; what is left of a failure is removed."""
    partial = path.with_suffix(f".{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _mapped(path: Path) -> Tensor:
    """A cached array as a tensor over copy-on-write pages, so nothing can change the file."""
    try:
        return torch.from_numpy(np.load(path, mmap_mode="c", allow_pickle=False))
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"The cached data {path} is damaged ({error}); delete it.") from error
