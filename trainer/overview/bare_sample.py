"""Predictions of the bare model on as many validation rows as some seconds allow, and what their inputs are like."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch

from trainer.data import DataLoader
from trainer.evaluation.counts import ConfusionCounts, evaluation_classifier
from triggers.errors import InputError
from triggers.model import FrozenClassifier, Item, sweep
from triggers.preprocessing import ImageLimits, TokenIds
from triggers.preprocessing.image_files import claimed_size

SAMPLE_CHUNK = 32
"""Rows that are read, decoded and predicted at a time."""
THREADS = 4


@dataclass(frozen=True)
class BareSample:
    """Counts of the bare model's predictions on validation rows, drawn at random out of `of`.

    `sizes`: files by (width, height). `cut`: texts longer than the model reads. `unusable`: a line for every input that
    is refused, which is not counted.
    """

    counts: ConfusionCounts
    of: int
    sizes: Counter[tuple[int, int]]
    grey: int
    cut: int
    unusable: Sequence[str]

    @property
    def rows(self) -> int:
        """Rows that were predicted."""
        return sum(self.counts.values())


def sample_bare(
    classifier: FrozenClassifier, loader: DataLoader, seconds: float, clock: Callable[[], float] = time.monotonic
) -> BareSample:
    """Predict validation rows until some seconds have passed, but at least SAMPLE_CHUNK. Test rows are never read."""
    rows = loader.rows("val")
    random.Random(0).shuffle(rows)
    counts: Counter[tuple[str, int | None, int]] = Counter()
    sample = _Inputs(classifier, loader)
    fast, bank = evaluation_classifier(classifier), classifier.bank([classifier.null_trigger()])
    end = clock() + seconds
    with ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(rows), SAMPLE_CHUNK):
            if start and clock() >= end:
                break
            chunk = rows[start : start + SAMPLE_CHUNK]
            items = sample.read([row for row, _, _ in chunk], pool)
            good = [(item, g, y) for item, (_, g, y) in zip(items, chunk, strict=True) if item is not None]
            if good:
                with torch.inference_mode():
                    logits = sweep(fast, fast.batch([item for item, _, _ in good]), bank)[0]
                    answers = classifier.decision.labels(logits).tolist()
                counts.update((group, label, answer) for (_, group, label), answer in zip(good, answers, strict=True))
    return BareSample(counts, len(rows), sample.sizes, sample.grey, sample.cut, sample.unusable)


class _Inputs:
    """Reads and preprocesses inputs, and counts what they are like."""

    def __init__(self, classifier: FrozenClassifier, loader: DataLoader) -> None:
        self._classifier, self._source = classifier, loader.source
        self.sizes: Counter[tuple[int, int]] = Counter()
        self.grey, self.cut = 0, 0
        self.unusable: list[str] = []

    def read(self, rows: Sequence[int], pool: ThreadPoolExecutor) -> list[Item | None]:
        """The items of rows of the source; None for one that cannot be used."""
        found: list[Item | None] = []
        for row, (item, size) in zip(rows, pool.map(self._item, rows), strict=True):
            if isinstance(item, InputError):
                self.unusable.append(f"{self._source.rows[row].id} cannot be used ({item.code}): {item}")
                found.append(None)
                continue
            if isinstance(item, TokenIds):
                self.cut += item.truncated
            else:
                self.grey += len(item) == 3 and torch.equal(item[0], item[1]) and torch.equal(item[1], item[2])
            self.sizes.update([size] if size else [])
            found.append(item)
        return found

    def _item(self, row: int) -> tuple[Item | InputError, tuple[int, int] | None]:
        raw = self._source.read(row)
        size = claimed_size(raw, ImageLimits()) if isinstance(raw, bytes) else None
        try:
            return self._classifier.preprocess(raw), size
        except InputError as error:
            return error, size
