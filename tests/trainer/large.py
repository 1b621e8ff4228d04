"""A run on data of a given size, which says how much memory of its own it took: python -m tests.trainer.large FOLDER.

Memory is what `RssAnon` counts: pages of mapped files, which the system takes back when it likes, are no part of it.
"""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from tests.bundles import image_bundle, text_bundle
from tests.trainer.runs import OVERLAY, run_config
from trainer.config.run_config import ObjectiveConfig, RunConfig, TrainConfig, TriggerConfig
from trainer.data.dataset import Dataset, Splits
from trainer.data.decode import decode_inputs
from trainer.progress import LineProgress
from trainer.training.training_loop import TrainingRun
from trainer.training.validation_history import ValidationHistory
from triggers.model import FrozenClassifier, Item, load_bundle
from triggers.model.bundle import read_spec, save_bundle
from triggers.preprocessing.image_spec import ImageSpec
from triggers.preprocessing.preprocess import TextSpec, TokenIds

SIZE, TOKENS = 64, 60
MIB = 2**20


def anonymous() -> int:
    """Bytes of memory that this process has for itself."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) * 1024


@contextmanager
def watched() -> Iterator[list[int]]:
    """The highest growth of that memory, in the list's only place."""
    start, peak, done = anonymous(), [0], threading.Event()

    def look() -> None:
        while not done.wait(0.005):
            peak[0] = max(peak[0], anonymous() - start)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()


def image_model(folder: Path) -> FrozenClassifier:
    image_bundle(folder)
    spec = read_spec(folder).model_copy(update={"image": ImageSpec.square(SIZE, (0.5,) * 3, (0.25,) * 3)})
    save_bundle(folder, spec, load_bundle(folder).network.state_dict())
    return load_bundle(folder)


def text_model(folder: Path) -> FrozenClassifier:
    text_bundle(folder)
    save_bundle(folder, read_spec(folder).model_copy(update={"text": TextSpec(TOKENS)}))
    return load_bundle(folder)


def part(classifier: FrozenClassifier, rows: int, cache: Path, item: Callable[[int], Item]) -> Dataset:
    contents = [str(row) for row in range(rows)]  # stand for digests
    inputs, _ = decode_inputs(classifier, contents, item, cache, LineProgress(io.StringIO()), "decode")
    numbers = torch.arange(rows)
    return Dataset(inputs, numbers % 2, numbers // 2 % 2, (), classifier.labels, ("a", "b"))


def image(row: int) -> Item:
    return torch.full((3, SIZE, SIZE), row % 256, dtype=torch.uint8)


def text(row: int) -> Item:
    return TokenIds(tuple(range(5, 5 + 50 + row % 8)), truncated=False)


def train(config: RunConfig, classifier: FrozenClassifier, splits: Splits, path: Path | None) -> None:
    """The whole loop, with nothing after it."""
    run = TrainingRun.prepare(config, classifier, splits, LineProgress(io.StringIO()))
    run.train(ValidationHistory(run.optimizer.average), path)


def main(folder: Path, kind: str, rows: int) -> None:
    """Build the cache of a large tuning part, then train on it; prints the growth of memory in MiB."""
    torch.set_num_threads(1)
    classifier = (image_model if kind == "image" else text_model)(folder / "model")
    item = image if kind == "image" else text
    trigger = OVERLAY if kind == "image" else TriggerConfig("soft")
    how = TrainConfig(steps=6, batch_size=32, device="cpu", precision="float32")
    config = replace(run_config(ObjectiveConfig("gap", strengths=(1.0,)), train=how), trigger=trigger)
    small = part(classifier, 64, folder, item)
    train(config, classifier, Splits(small, small, small), None)  # libraries warm up
    with watched() as peak:
        tuning = part(classifier, rows, folder, item)
        train(config, classifier, Splits(tuning, small, small), folder / "checkpoint.safetensors")
    sys.stdout.write(f"{peak[0] // MIB}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
