"""One run of the results: the product itself on a task, for a criterion, a seed, a trigger kind and a tuning size."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import get_args

from benchmarks.results.run_record import run_record
from benchmarks.systems import System, trigger_systems
from benchmarks.tasks import CRITERIA, TASKS, Sources, Task
from trainer.config import Criterion, RunConfig
from trainer.config.comparison_config import Baseline, BaselinesConfig
from trainer.config.report_config import ReportConfig
from trainer.progress import Progress
from trainer.train import DATA_CACHE, prepare_data, train
from triggers.storage import write_atomically

SEEDS = (0, 1, 2, 3, 4)
FULL = 2000
"""Rows of tuning whose number of steps smaller parts are trained for as well."""
BUDGET = "select.max_accuracy_drop=0.01"
"""The product's default, which some examples change."""


@dataclass(frozen=True)
class Piece:
    """A run; `tuning`: rows of the tuning part, None for all that the task has."""

    task: str
    criterion: Criterion
    seed: int
    kind: str
    tuning: int | None = None

    @property
    def name(self) -> str:
        """Name of its files."""
        size = "" if self.tuning is None else f"-{self.tuning}"
        return f"{self.task}-{self.criterion}-{self.seed}-{self.kind}{size}"

    @property
    def base(self) -> str:
        """Name of the classifier and data that it shares with other pieces."""
        return f"{self.task}-{self.seed}"

    @property
    def arguments(self) -> list[str]:
        """The options of `python -m benchmarks.results` that mean this piece alone."""
        own = ["--task", self.task, "--criterion", self.criterion, "--seed", str(self.seed), "--kind", self.kind]
        return own + ([] if self.tuning is None else ["--tuning-size", str(self.tuning)])

    @property
    def cost(self) -> float:
        """How long it takes beside others: only the order counts, longest first."""
        plain = kinds(TASKS[self.task])[0] == self.kind
        texts = 1.5 if TASKS[self.task].data == "HateXplain" else 1.0
        return texts * (3.0 if plain else 1.0) * max(1.0, (self.tuning or FULL) / FULL)

    def path(self, folder: Path) -> Path:
        """Where its record lies."""
        return folder / f"{self.name}.json"


def kinds(task: Task) -> list[str]:
    """Names of the trigger kinds that a task can be run with, the plain one first."""
    if task.own_trigger:
        return [{"digits": "overlay", "comments": "embedding"}[task.name.removesuffix("-sizes")]]
    return [system.name for system in trigger_systems("text" if "hatexplain" in task.example else "image")]


def planned(
    tasks: Iterable[str],
    seeds: Sequence[int],
    criteria: Sequence[Criterion] = CRITERIA,
    wanted: Sequence[str] = (),
    sizes: Sequence[int] = (),
) -> list[Piece]:
    """The pieces of some tasks and seeds; `wanted` kinds and `sizes`, where given, leave out all others."""
    found = []
    for task in (TASKS[name] for name in tasks):
        rows: Sequence[int | None] = (None,)
        own, compared = list(criteria), [kind for kind in kinds(task) if not wanted or kind in wanted]
        if task.curve:
            rows = [size for size in task.curve.rows if not sizes or size in sizes]
            own, compared = [task.curve.criterion], compared[:1]
        found += [Piece(task.name, c, seed, kind, n) for seed in seeds for c in own for kind in compared for n in rows]
    return found


def run_piece(
    piece: Piece, folder: Path, pieces: Path, sources: Sources, changes: Sequence[str], progress: Progress
) -> None:
    """Run a piece in `folder` and leave its record in `pieces`, unless it is there. Raises the trainer's errors.

    Pieces that share a classifier wait for the one that fits it. A piece that was killed goes on from its checkpoint.
    """
    path = piece.path(pieces)
    if path.exists():
        return
    with _locked(folder / "locks" / piece.task), _locked(folder / "locks" / piece.base):
        where = TASKS[piece.task].prepare(sources, piece.seed, progress)
        config = configured(piece, folder, (*where, *changes))
        prepare_data(config, folder / "runs" / DATA_CACHE, progress)
        prepared(piece, folder).touch()
    out = folder / "runs" / piece.name
    train(config, out, progress)
    path.parent.mkdir(parents=True, exist_ok=True)
    found = run_record(
        piece.task, piece.seed, piece.kind, piece.tuning, json.loads((out / "metrics.json").read_bytes())
    )
    write_atomically(path, json.dumps(found).encode() + b"\n")


def prepared(piece: Piece, folder: Path) -> Path:
    """A file that is there once the piece's classifier and data are."""
    return folder / "locks" / f"{piece.base}.prepared"


def configured(piece: Piece, folder: Path, changes: Sequence[str] = ()) -> RunConfig:
    """The configuration of a piece, with classifiers in `folder`. Raises ConfigError."""
    task = TASKS[piece.task]
    share = () if piece.tuning is None else (f"split.tuning_ratio={_share(task, piece.tuning)}",)
    base = task.config(folder / "models", piece.seed, (BUDGET, *share, *changes))
    config = replace(base, report=ReportConfig(enabled=False))
    if task.own_trigger:
        config = replace(config, objective=replace(config.objective, criterion=piece.criterion))
    else:
        system = next(one for one in trigger_systems(config.modality) if one.name == piece.kind)
        config = replace(system.config(config, piece.criterion), baselines=_baselines(system, config))
    config = config if piece.tuning is None else _as_many_steps(config, piece.tuning, 20)
    return _as_asked(config, base, changes)


def _as_asked(config: RunConfig, asked: RunConfig, changes: Sequence[str]) -> RunConfig:
    """The configuration with the values of `asked` for the keys that `changes` name, whatever a kind's own are."""
    for section in ("objective", "train", "baselines"):
        names = [name.strip() for name, _, _ in (change.partition("=") for change in changes)]
        keys = [name.removeprefix(f"{section}.") for name in names if name.startswith(f"{section}.")]
        given = {key: getattr(getattr(asked, section), key) for key in keys}
        config = replace(config, **{section: replace(getattr(config, section), **given)})
    return config


def _share(task: Task, rows: int) -> float:
    assert task.curve
    return rows / task.curve.largest


def _baselines(system: System, config: RunConfig) -> BaselinesConfig:
    """The whole models that this kind's run trains; AdvIN only where the classifier is fitted here."""
    known = [name for name in system.baselines.get("systems", ()) if name in get_args(Baseline)]
    able = [name for name in known if name != "adv_in" or config.base]
    if not able:
        return BaselinesConfig()
    return replace(config.baselines, **{**system.baselines, "systems": tuple(able)})


def _as_many_steps(config: RunConfig, rows: int, epochs_of_models: int) -> RunConfig:
    """The configuration with at least the steps that FULL rows would be trained for: fewer rows are seen more often."""

    def epochs(batch: int, at_full: int) -> int:
        return at_full if rows >= FULL else ceil(at_full * ceil(FULL / batch) / ceil(rows / min(batch, rows)))

    made = config
    if config.train.steps is None:
        trigger = epochs(config.train.batch_size, config.train.epochs or 20)
        made = replace(made, train=replace(config.train, epochs=trigger))
    batch = config.baselines.batch_size or (128 if config.modality == "image" else 32)
    models = epochs(batch, config.baselines.epochs or epochs_of_models)
    return replace(made, baselines=replace(made.baselines, epochs=models))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """A lock between processes, freed when one ends, however it ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
