"""One model of the demo, from its data to published triggers, in a process of its own."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch

from fairtrigger.demo import comments, digits, small_cnn, tiny_bert
from trainer.config import load_config
from trainer.progress import Progress
from trainer.train import FinishedRun, train
from triggers.errors import DataError
from triggers.model.bundle import SPEC_FILE

_HERE = Path(__file__).parent
COMMENTS = {"base": 12_000, "tuning": 1_500, "val": 2_500, "test": 2_500}


def fit_and_train(progress: Progress, name: str, out: Path, seed: int, overrides: Sequence[str]) -> dict[str, Any]:
    """Data, base classifier, triggers, published versions: returns their names and the recommended one.

    Raises DataError if validation passes none.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process
    torch.set_num_threads(1)
    folder = out / name
    folder.mkdir(exist_ok=True)
    FITTERS[name](folder, seed, progress)
    run = out / f"{name}.toml"
    shutil.copy(_HERE / run.name, run)  # its relative paths start from `out`
    config = load_config(run, [f"train.seed={seed}", *overrides])
    return _published(name, train(config, folder / "run", progress))


def _fit_digits(folder: Path, seed: int, progress: Progress) -> None:
    parts = digits.draw_parts(np.random.default_rng(seed))
    population = [(part, parts[part]) for part in parts if part != "base"]
    with progress.task("draw digits", sum(len(drawings) for _, drawings in population)) as task:
        for done in digits.write_images(folder / "images", folder / "digits.csv", population):
            task.advance(done)
    if not (folder / "model" / SPEC_FILE).exists():
        with progress.task("fit a small CNN", small_cnn.CNN_STEPS) as task:
            small_cnn.fit_cnn(folder / "model", parts["base"], seed, task.advance)


def _fit_comments(folder: Path, seed: int, progress: Progress) -> None:
    parts = comments.comment_parts(COMMENTS, Random(seed))
    population = [(part, made) for part, made in parts.items() if part != "base"]
    comments.write_manifest(folder / "comments.csv", population)
    if not (folder / "model" / SPEC_FILE).exists():
        with progress.task("fit a tiny BERT", tiny_bert.BERT_STEPS) as task:
            tiny_bert.fit_bert(folder / "model", parts["base"], seed, task.advance)


FITTERS: dict[str, Callable[[Path, int, Progress], None]] = {"digits": _fit_digits, "comments": _fit_comments}


def _published(name: str, finished: FinishedRun) -> dict[str, Any]:
    best = finished.result.best
    if best is None:
        notes = " ".join(finished.result.notes)
        raise DataError(f"No trigger for {name} passed validation. {notes} Or try another --seed.")
    versions = {one.digest: f"v{one.version}" for one in finished.published}
    return {"versions": list(versions.values()), "recommended": versions[finished.artifacts[best].digest]}
