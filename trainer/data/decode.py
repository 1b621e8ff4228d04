"""Preprocessed inputs, decoded by the serving code and cached on disk as .npy files that are mapped into memory.

Inputs are written as they are decoded, and pages of the files come and go as they are read, so neither building nor
using the cache needs memory for the whole. A file is named after the digest of its contents and of the preprocessing,
so it is never stale and can be deleted at will.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from trainer.data.parallel_map import parallel_map
from trainer.data.sources.bad_rows import BadRecord
from trainer.progress import Progress
from triggers.errors import DataError
from triggers.model import FrozenClassifier, Item
from triggers.preprocessing import Inputs, TextBatch
from triggers.storage import write_atomically

CACHE_VERSION = 1


class DecodedPart(NamedTuple):
    """The inputs that could be decoded; what was wrong with the others, by their places among all."""

    inputs: Inputs
    failed: Mapping[int, str]


def decode_inputs(
    classifier: FrozenClassifier,
    contents: Sequence[str],
    item: Callable[[int], Item | BadRecord],
    cache: Path,
    progress: Progress,
    title: str,
) -> DecodedPart:
    """Inputs item(0) to item(N - 1) without bad ones, from the cache when those of the same `contents` are there."""
    key = json.dumps([CACHE_VERSION, classifier.preprocessing_fingerprint, list(contents)])
    name = hashlib.sha256(key.encode()).hexdigest()[:32]
    cache.mkdir(parents=True, exist_ok=True)
    failed = cache / f"{name}.failed.json"
    items = _decodable(_watched(item, range(len(contents)), progress, title), failed)
    if classifier.spec.image:
        path = cache / f"{name}.npy"
        if not path.exists():
            _cache_images(classifier, items, len(contents), path)
        problems = _problems(failed)
        return DecodedPart(_mapped(path)[: len(contents) - len(problems)], problems)
    ids, lengths = cache / f"{name}.ids.npy", cache / f"{name}.lengths.npy"
    if not (ids.exists() and lengths.exists()):
        cut = _cache_texts(classifier, items, len(contents), ids, lengths)
        if cut:
            progress.note(f"{title}: {cut} of {len(contents)} texts are longer than the model reads and were cut")
    problems = _problems(failed)
    kept = len(contents) - len(problems)
    sizes = _mapped(lengths)[:kept].long()
    longest = int(sizes.max()) if kept else 0
    return DecodedPart(TextBatch(_mapped(ids)[:kept, :longest], sizes), problems)


def _decodable(items: Iterator[Item | BadRecord], failed: Path) -> Iterator[Item]:
    """The items without bad ones, whose places and problems are in the file `failed` once all are through."""
    problems: dict[int, str] = {}
    for at, item in enumerate(items):
        if isinstance(item, BadRecord):
            problems[at] = item.problem
        else:
            yield item
    if problems:
        write_atomically(failed, json.dumps(problems).encode())


def _problems(failed: Path) -> dict[int, str]:
    """What was wrong with the inputs that are not in the cache, by their places."""
    return {int(at): str(each) for at, each in json.loads(failed.read_bytes()).items()} if failed.exists() else {}


def _watched(
    item: Callable[[int], Item | BadRecord], rows: Sequence[int], progress: Progress, title: str
) -> Iterator[Item | BadRecord]:
    with progress.task(title, len(rows)) as task:
        for one in parallel_map(item, rows):
            task.advance()
            yield one


def _cache_images(classifier: FrozenClassifier, images: Iterator[Any], count: int, path: Path) -> None:
    spec = classifier.spec.image
    assert spec
    with _whole(path) as partial:
        shape = (count, *spec.pixel_shape)
        pixels = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)
        for row, image in enumerate(images):
            pixels[row] = image.numpy()
        pixels.flush()


def _cache_texts(classifier: FrozenClassifier, texts: Iterator[Any], count: int, ids: Path, lengths: Path) -> int:
    """Write token ids padded to the model's limit, text by text; returns how many texts had to be cut."""
    spec, pad_id = classifier.spec.text, classifier.pad_id
    assert spec
    cut, sizes = 0, np.zeros(count, dtype=np.int32)
    with _whole(ids) as partial:
        table = np.lib.format.open_memmap(partial, mode="w+", dtype=np.int32, shape=(count, spec.max_tokens))
        for row, text in enumerate(texts):
            sizes[row] = len(text.ids)
            table[row, : len(text.ids)] = text.ids
            table[row, len(text.ids) :] = pad_id
            cut += text.truncated
        table.flush()
    with _whole(lengths) as partial, partial.open("wb") as file:
        np.save(file, sizes, allow_pickle=False)
    return cut


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """Partial file that takes its name only when it is complete, and is removed after a failure."""
    partial = path.with_suffix(f".{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _mapped(path: Path) -> Tensor:
    """A cached array as a tensor over copy-on-write pages, so that its file cannot change. Raises DataError."""
    try:
        return torch.from_numpy(np.load(path, mmap_mode="c", allow_pickle=False))
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"The cached data {path} is damaged ({error}); delete it.") from error
