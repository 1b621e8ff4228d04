"""The same example with several seeds, each from fitting the classifier to the replay: one seed proves nothing.

python -m examples.seeds examples/celeba/run.toml --out runs/celeba-seeds --set train.device=cuda

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

from examples.real_run import Document, held_out, published, serve_and_replay
from trainer.config import load_config
from trainer.progress import Progress, open_progress
from trainer.train import train
from triggers.errors import FairtriggerError


def run_seed(path: Path, overrides: Sequence[str], folder: Path, seed: int, progress: Progress) -> Document:
    """Fit, train, publish, serve and replay with one seed, everything in `folder`."""
    own = (f"model.bundle={folder / 'model'}", f"publish.store={folder / 'store'}")
    seeds = (f"{section}.seed={seed}" for section in ("base", "split", "train"))
    config = load_config(path, [*overrides, *own, *seeds])
    began = time.monotonic()
    finished = train(config, folder, progress)
    trained = time.monotonic()
    device = "cuda" if finished.classifier.device.type == "cuda" else "cpu"
    found = serve_and_replay(
        config, held_out(config, folder.parent / "data-cache", progress), published(config), device, progress
    )
    best = finished.outcome.best
    strength = None if best is None else finished.outcome.candidates[best].strength
    chosen = next((f"v{place.version}" for place in finished.published if place.strength == strength), "bare")
    seconds = {
        "base_and_data": round(trained - began - finished.outcome.seconds, 1),
        "triggers": round(finished.outcome.seconds, 1),
        "replay": round(time.monotonic() - trained, 1),
    }
    return {
        "seed": seed,
        "recommended": chosen,
        "device": finished.outcome.device,
        "model_fingerprint": finished.classifier.fingerprint,
        "seconds": seconds,
        **found,
    }


def main(
    config: Annotated[Path, typer.Argument(metavar="RUN.TOML", help="an example's configuration")],
    out: Annotated[Path, typer.Option(help="folder for everything that is made")],
    seeds: Annotated[int, typer.Option(help="how many: 0, 1, 2, ...")] = 3,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="as given to the trainer")] = None,
) -> None:
    """Run an example with several seeds and collect what the service said about each."""
    began, runs = time.monotonic(), list[Document]()
    command = shlex.join(["python", "-m", "examples.seeds", *sys.argv[1:]])
    out = out.resolve()
    for seed in range(seeds):
        try:
            with open_progress(sys.stderr) as progress:
                runs.append(run_seed(config, overrides or (), out / f"seed-{seed}", seed, progress))
        except FairtriggerError as error:
            raise SystemExit(f"error: seed {seed}: {error}") from error
        results = {"command": command, "device": runs[-1]["device"], "seconds": time.monotonic() - began, "seeds": runs}
        (out / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    print(out / "results.json")


if __name__ == "__main__":
    typer.run(main)
