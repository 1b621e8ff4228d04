"""The demo's first half: fit and freeze the two models, train their triggers with the real trainer, publish them.

Each model has a process of its own, so two cores are busy. What is finished stays in the output folder; a second run
with the same seed, settings and code reuses it, and one that was interrupted goes on.
"""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import torch

from examples.demo import comments, digits, small_cnn, tiny_bert
from examples.demo.work import Work, run_all
from trainer.config import load_config
from trainer.progress import Progress
from trainer.train import Finished, train
from triggers.bundle import SPEC_FILE
from triggers.durable import write_whole
from triggers.errors import DataError
from triggers.fingerprint import json_digest

HERE = Path(__file__).parent
MODELS = ("digits", "comments")
STORE, DATA = "store", "data"
STAMP, FINISHED = "demo.json", "finished.json"
COMMENTS = {"base": 12_000, "tuning": 1_500, "val": 2_000, "test": 2_000}


@dataclass(frozen=True)
class Prepared:
    """One model ready to be served: its bundle, its published versions, and the one that validation recommends."""

    name: str
    bundle: Path
    versions: tuple[str, ...]
    recommended: str


def prepare(out: Path, seed: int, progress: Progress, overrides: Sequence[str] = ()) -> list[Prepared]:
    """Both models, fitted, frozen and with published triggers; at once if `out` already holds them.

    `overrides` are the trainer's "key=value". Raises DataError, ConfigError, ModelError or StoreError.
    """
    _claim(out, _stamp(seed, overrides))
    missing = [name for name in MODELS if not (out / name / FINISHED).exists()]
    if not missing:
        progress.note(f"The models and triggers in {out} are reused: seed, settings and code are as they were.")
    run_all([Work(name, prepare_one, (name, out, seed, tuple(overrides))) for name in missing], progress)
    return [_finished(out, name) for name in MODELS]


def prepare_one(progress: Progress, name: str, out: Path, seed: int, overrides: Sequence[str]) -> None:
    """One model in a process of its own: data, base classifier, triggers, published versions."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process
    torch.set_num_threads(1)
    folder = out / name
    folder.mkdir(exist_ok=True)
    _FITTERS[name](folder, seed, progress)
    run = out / f"{name}.toml"
    shutil.copy(HERE / run.name, run)  # its relative paths start from `out`
    config = load_config(run, [f"train.seed={seed}", *overrides])
    _write_finished(folder, train(config, folder / "run", progress))


def _fit_digits(folder: Path, seed: int, progress: Progress) -> None:
    parts = digits.draw_parts(np.random.default_rng(seed))
    population = [(part, parts[part]) for part in parts if part != "base"]
    with progress.task("draw digits", sum(len(drawings) for _, drawings in population)) as task:
        for done in digits.write_images(folder / "images", folder / "digits.csv", population):
            task.advance(done)
    if not (folder / "model" / SPEC_FILE).exists():
        with progress.task("fit a small CNN", small_cnn.STEPS) as task:
            small_cnn.fit_cnn(folder / "model", parts["base"], seed, task.advance)


def _fit_comments(folder: Path, seed: int, progress: Progress) -> None:
    parts = comments.comment_parts(COMMENTS, Random(seed))
    population = [(part, made) for part, made in parts.items() if part != "base"]
    comments.write_manifest(folder / "comments.csv", population)
    if not (folder / "model" / SPEC_FILE).exists():
        with progress.task("fit a tiny BERT", tiny_bert.STEPS) as task:
            tiny_bert.fit_bert(folder / "model", parts["base"], seed, task.advance)


_FITTERS: dict[str, Callable[[Path, int, Progress], None]] = {"digits": _fit_digits, "comments": _fit_comments}


def _write_finished(folder: Path, finished: Finished) -> None:
    best = finished.outcome.best
    if best is None:
        notes = " ".join(finished.outcome.notes)
        raise DataError(f"No trigger for {folder.name} passed validation. {notes} Or try another --seed.")
    versions = {one.digest: f"v{one.version}" for one in finished.published}
    found = {"versions": list(versions.values()), "recommended": versions[finished.artifacts[best].digest]}
    write_whole(folder / FINISHED, json.dumps(found).encode())


def _finished(out: Path, name: str) -> Prepared:
    found = json.loads((out / name / FINISHED).read_bytes())
    return Prepared(name, out / name / "model", tuple(found["versions"]), found["recommended"])


def _claim(out: Path, stamp: str) -> None:
    """Make `out` the folder of this run: what another seed, other settings or other code left there is removed."""
    mark = out / STAMP
    if mark.exists() and mark.read_text() == stamp:
        return
    if out.exists() and any(out.iterdir()) and not mark.exists():
        raise DataError(f"{out} holds files that are not the demo's; name an empty or new folder with --out.")
    for name in (*MODELS, STORE, DATA):
        shutil.rmtree(out / name, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    write_whole(mark, stamp.encode())


def _stamp(seed: int, overrides: Sequence[str]) -> str:
    """What the models and triggers depend on: seed, settings, and the code that makes the data and the models."""
    paths = [Path(module.__file__ or "") for module in (digits, small_cnn, comments, tiny_bert)]
    paths += [HERE / f"{name}.toml" for name in MODELS]
    code = {path.name: path.read_text() for path in [*paths, Path(__file__)]}
    return json_digest({"seed": seed, "overrides": list(overrides), "code": code})
