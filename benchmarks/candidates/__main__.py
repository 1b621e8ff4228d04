"""Command line of the lab of candidate trigger kinds."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.candidates.lab import Lab, check
from benchmarks.candidates.recipes import recipes_for
from benchmarks.candidates.table import load, table
from trainer.config import RunConfig, load_config
from trainer.progress import open_progress
from trainer.train import open_run
from triggers.errors import FairtriggerError

HELP = """Candidate kinds of triggers, trained by the product's own objective, picked on validation by its own rule.

\b
    python -m benchmarks.candidates run examples/celeba/run.toml --out runs/candidates --jobs 16
    python -m benchmarks.candidates run examples/celeba/run.toml --out runs/candidates --seed 0 --candidate gate
    python -m benchmarks.candidates table --out runs/candidates

`run` takes any configuration of the trainer with an overlay (images) or soft words (texts): frozen model, strengths,
steps and epsilon are the same for every candidate. Each piece (data, seed, candidate) leaves a JSON file, and one that
is there is not run again, so that pieces can run side by side and go on where they were stopped. A seed is that of the
split, of the training and of the base classifier, which is fitted once for all candidates of the seed; a foreign model
stays the same. `table` collects what is there.

Candidates of images: the constant overlay (the yardstick), with 2 or 4 views, the bare model with these views (what
views bring by themselves), an additive offset on the frozen penultimate features, overlay and offset together, four
overlays mixed by a gate on pixels, an overlay made for each image by a generator, overlay and offset for utility alone.
Of texts: soft words (the yardstick), offset, both, and each for utility alone.
"""

app = typer.Typer(help=HELP, add_completion=False, no_args_is_help=True, rich_markup_mode=None)
SEEDS = (0, 1, 2, 3, 4)
Out = Annotated[Path, typer.Option(help="folder for models, decoded data and records")]


@app.command()
def run(
    file: Annotated[Path, typer.Argument(metavar="RUN.toml")],
    out: Out,
    data: Annotated[str, typer.Option(help="name of the data in tables; default: the configuration's folder")] = "",
    seed: Annotated[list[int] | None, typer.Option(help="default: 0 to 4")] = None,
    candidate: Annotated[list[str] | None, typer.Option(help="by name; default: all of the modality")] = None,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="as given to the trainer")] = None,
    jobs: Annotated[int, typer.Option(help="processes side by side, on one device")] = 1,
    prepare: Annotated[bool, typer.Option("--prepare", help="only fit the base classifiers and decode")] = False,
) -> None:
    """Train candidates, and leave a record of each."""
    try:
        pieces = Pieces(file.resolve(), out.resolve(), data or file.resolve().parent.name, overrides or ())
        seeds, names = seed or list(SEEDS), pieces.names(candidate)
        if jobs > 1:
            pieces.spread(seeds, names, jobs)
        else:
            for number in seeds:
                pieces.run(number, [] if prepare else names)
    except FairtriggerError as error:
        raise SystemExit(f"error: {error}") from error


@app.command("table")
def show(out: Out) -> None:
    """Print the table of all records."""
    print(table(load(out / "records")))


class Pieces:
    """The pieces of one configuration: where each leaves its record, and how it is run."""

    def __init__(self, file: Path, out: Path, data: str, overrides: Sequence[str]) -> None:
        self.file, self.out, self.data, self.overrides = file, out, data, tuple(overrides)
        self.config = load_config(file, overrides)
        check(self.config)

    def names(self, wanted: Sequence[str] | None) -> list[str]:
        """The candidates to run. Raises SystemExit for one that there is not."""
        known = recipes_for(self.config)
        for name in wanted or ():
            if name not in known:
                raise SystemExit(
                    f"error: no candidate {name!r} of {self.config.modality}s; there are {', '.join(known)}"
                )
        return list(wanted or known)

    def path(self, seed: int, name: str) -> Path:
        """The record of a piece."""
        section = f"{self.data} {self.config.objective.criterion}".replace(" ", "-")
        return self.out / "records" / section / f"{seed}-{name.replace(', ', '-').replace(' ', '-')}.json"

    def missing(self, seed: int, names: Sequence[str]) -> list[str]:
        """The candidates without a record."""
        return [name for name in names if not self.path(seed, name).exists()]

    def run(self, seed: int, names: Sequence[str]) -> None:
        """Fit the seed's base classifier where it is missing, then run the candidates that have no record."""
        config, recipes = self.seeded(seed), recipes_for(self.config)
        left = self.missing(seed, names)
        if names and not left:
            return
        with open_progress(sys.stderr) as progress:
            classifier, loader = open_run(config, self.out / "data-cache", progress)
            splits = loader.splits(classifier)
            lab = Lab(config, classifier, splits, progress) if left else None
            for name in left:
                assert lab
                record = {"data": self.data, "seed": seed, **lab.record(name, recipes[name])}
                path = self.path(seed, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                part = path.with_suffix(".part")
                part.write_text(json.dumps(record, indent=1) + "\n")
                part.rename(path)

    def seeded(self, seed: int) -> RunConfig:
        """The configuration of a seed, with a base classifier of its own where the run fits one."""
        config = self.config
        config = replace(
            config,
            split=replace(config.split, seed=seed),
            train=replace(config.train, seed=seed),
            publish=replace(config.publish, enabled=False),
        )
        if config.base is None:
            return config
        bundle = self.out / "models" / f"{self.data}-{seed}".replace(" ", "-")
        return replace(config, base=replace(config.base, seed=seed), model=replace(config.model, bundle=bundle))

    def spread(self, seeds: Sequence[int], names: Sequence[str], jobs: int) -> None:
        """The pieces in processes of their own: first what the candidates of a seed share, then the candidates."""
        open_seeds = [seed for seed in seeds if self.missing(seed, names)]
        with ThreadPoolExecutor(jobs) as pool:
            failed = list(pool.map(self._piece, ([str(seed), "--prepare"] for seed in open_seeds)))
            pieces = self._pieces(open_seeds, names)
            failed += list(pool.map(self._piece, pieces))
        if wrong := sum(code != 0 for code in failed):
            raise SystemExit(f"error: {wrong} pieces failed; run the same command again for those that are missing")

    def _pieces(self, seeds: Sequence[int], names: Sequence[str]) -> Iterator[list[str]]:
        """Slow candidates first, so that none is left over at the end."""
        for name in sorted(names, key=lambda name: -recipes_for(self.config)[name].views):
            for seed in seeds:
                if self.missing(seed, [name]):
                    yield [str(seed), "--candidate", name]

    def _piece(self, arguments: Sequence[str]) -> int:
        sets = [part for override in self.overrides for part in ("--set", override)]
        command = [sys.executable, "-m", "benchmarks.candidates", "run", str(self.file), "--out", str(self.out)]
        return subprocess.run([*command, "--data", self.data, *sets, "--seed", *arguments], check=False).returncode


if __name__ == "__main__":
    app()
