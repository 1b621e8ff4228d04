"""The same example with several seeds, each from fitting the classifier to the replay: one seed proves nothing.

python -m examples.seeds examples/celeba/run.toml --out runs/celeba-seeds --at-once 3

Each seed sets the classifier's start, the drawing of its rows and of the tuning rows, and the trigger's training.
Leaves results.json with the service's own counts and figures; `python -m examples.results_table` makes a table of it.
"""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from examples.real_run import Document, held_out, quiet_transformers, serve_and_replay
from fairtrigger.demo.work import Work, run_all
from trainer.config import RunConfig, load_config
from trainer.progress import Progress, open_progress
from trainer.publish import store_url
from trainer.train import FinishedRun, train
from triggers.errors import FairtriggerError
from triggers.store import open_store

RESULT = "replay.json"
"""What one seed leaves in its own folder."""


def run_seed(progress: Progress, path: Path, overrides: Sequence[str], folder: Path, seed: int) -> None:
    """Fit, train, publish, serve and replay with one seed, everything in `folder`; leaves RESULT there."""
    own = (f"model.bundle={folder / 'model'}", f"publish.store={folder / 'store'}")
    seeds = (f"{section}.seed={seed}" for section in ("base", "split", "train"))
    config = load_config(path, [*overrides, *own, *seeds])
    quiet_transformers(config)
    began = time.monotonic()
    finished = train(config, folder, progress)
    trained = time.monotonic()
    found = _replayed(config, finished, folder, progress)
    seconds = {
        "base_and_data": round(trained - began - finished.result.seconds, 1),
        "triggers": round(finished.result.seconds, 1),
        "replay": round(time.monotonic() - trained, 1),
    }
    document = {
        "seed": seed,
        "recommended": _recommended(finished),
        "device": finished.result.device,
        "model_fingerprint": finished.classifier.fingerprint,
        "seconds": seconds,
        **found,
    }
    (folder / RESULT).write_text(json.dumps(document, indent=2) + "\n")


def _replayed(config: RunConfig, finished: FinishedRun, folder: Path, progress: Progress) -> Document:
    open_store(store_url(config)).close()  # a run that recommends nothing published nothing, and is served bare
    rows = held_out(config, folder.parent / "data-cache", progress)
    versions = [f"v{place.version}" for place in finished.published]
    return serve_and_replay(config, rows, versions, finished.classifier.device.type, progress)


def _recommended(finished: FinishedRun) -> str:
    best = finished.result.best
    strength = None if best is None else finished.result.candidates[best].strength
    return next((f"v{place.version}" for place in finished.published if place.strength == strength), "bare")


def main(
    config: Annotated[Path, typer.Argument(metavar="RUN.TOML", help="an example's configuration")],
    out: Annotated[Path, typer.Option(help="folder for everything that is made")],
    seeds: Annotated[int, typer.Option(min=1, max=10, help="how many: 0, 1, 2, ...")] = 3,
    at_once: Annotated[int, typer.Option(min=1, help="seeds that run side by side")] = 1,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="as given to the trainer")] = None,
) -> None:
    """Run an example with several seeds and collect what the service said about each."""
    began, out = time.monotonic(), out.resolve()
    command = shlex.join(["python", "-m", "examples.seeds", *sys.argv[1:]])
    works = [
        Work(f"seed {seed}", run_seed, (config, tuple(overrides or ()), out / f"seed-{seed}", seed))
        for seed in range(seeds)
    ]
    try:
        with open_progress(sys.stderr) as progress:
            for start in range(0, seeds, at_once):
                run_all(works[start : start + at_once], progress)
    except FairtriggerError as error:
        raise SystemExit(f"error: {error}") from error
    runs = [json.loads((out / f"seed-{seed}" / RESULT).read_bytes()) for seed in range(seeds)]
    seconds = round(time.monotonic() - began, 1)
    results = {"command": command, "device": runs[0]["device"], "seconds": seconds, "seeds": runs}
    (out / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    print(out / "results.json")


if __name__ == "__main__":
    typer.run(main)
