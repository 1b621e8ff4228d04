"""Tasks of the benchmarks: a data set with a label and a group, as one of the examples' configurations with changes."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TypeAlias

from trainer.config import Criterion, RunConfig, load_config
from trainer.progress import Progress
from triggers.allow_lists import FACTORIES_VARIABLE
from triggers.model.bundle import SPEC_FILE

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
CRITERIA: tuple[Criterion, ...] = ("demographic_parity", "equalized_odds")
RARE_SHARE = 0.1
"""Share of toxic posts in the task of rare positives."""


@dataclass(frozen=True)
class Sources:
    """Folders: of the shared data, of the shared models, and of what is made from them."""

    data: Path
    models: Path
    made: Path

    @classmethod
    def beside_repository(cls, made: Path) -> Sources:
        """Those of `../shared`, where the examples look for them."""
        shared = Path(__file__).resolve().parents[2] / "shared"
        return cls(shared / "data", shared / "models", made)


Prepare: TypeAlias = Callable[[Sources, int, Progress], tuple[str, ...]]
"""Changes of a configuration that say where a task's data and models lie, which this may make first for a seed."""


@dataclass(frozen=True)
class TuningSizes:
    """A curve over the rows of tuning: its sizes, shares of one drawn part, and the criterion that it is drawn for."""

    rows: tuple[int, ...]
    criterion: Criterion

    @property
    def largest(self) -> int:
        """Rows of the whole part."""
        return max(self.rows)


@dataclass(frozen=True)
class Task:
    """One data set with a label and a group.

    `fitted`: each seed fits a classifier of its own; else `prepare` names the bundle. `own_trigger`: the example's
    trigger and training are used as they are. `curve`: the task is run at several sizes of the tuning part.
    """

    name: str
    data: str
    target: str
    group: str
    example: str
    prepare: Prepare
    changes: tuple[str, ...] = ()
    fitted: bool = True
    own_trigger: bool = False
    curve: TuningSizes | None = None

    @property
    def title(self) -> str:
        """The task in a heading."""
        return f"{self.data}: {self.target} given {self.group}"

    def heading(self, criterion: str) -> str:
        """The task under a criterion, in a heading."""
        return f"{self.title}, {criterion.replace('_', ' ')}"

    def config(self, folder: Path, seed: int, changes: tuple[str, ...] = ()) -> RunConfig:
        """The configuration of a seed, with its base classifier in `folder`. Raises ConfigError."""
        seeded = ("base", "split", "train") if self.fitted else ("split", "train")
        seeds = tuple(f"{section}.seed={seed}" for section in seeded)
        bundle = f'model.bundle="{folder / f"{self.name}-{seed}"}"'
        own = (bundle, "base.early_stopping=false") if self.fitted else ()
        always: tuple[str, ...] = () if self.own_trigger else ("objective.calibrate=true",)
        always += (f"split.tuning={self.curve.largest}",) if self.curve else ()
        return load_config(
            ROOT / self.example, ["publish.enabled=false", *always, *self.changes, *own, *seeds, *changes]
        )


def _celeba(sources: Sources, _seed: int, _progress: Progress) -> tuple[str, ...]:
    return (f'data.path="{sources.data / "celeba10k.tar"}"',)


def _posts(sources: Sources, _seed: int, _progress: Progress) -> tuple[str, ...]:
    return (f'data.path="{sources.data / "hatexplain.csv"}"', f'base.encoder="{sources.models / "minilm"}"')


def _rare_posts(sources: Sources, seed: int, progress: Progress) -> tuple[str, ...]:
    path = sources.made / "rare.csv"
    if not path.exists():
        rare_posts(sources.data / "hatexplain.csv", path)
    return (*_posts(sources, seed, progress), f'data.path="{path}"')


def rare_posts(data: Path, out: Path) -> None:
    """Write the posts with only so many of the toxic ones that they are RARE_SHARE of all."""
    with data.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    fine = [row for row in rows if row["toxic"] == "0"]
    toxic = [row for row in rows if row["toxic"] == "1"]
    kept = Random(0).sample(toxic, round(len(fine) * RARE_SHARE / (1 - RARE_SHARE)))
    _write_table(out, [*fine, *kept], list(rows[0]))


def _aligned_faces(sources: Sources, _seed: int, _progress: Progress) -> tuple[str, ...]:
    """Its table lies in the tar of the faces; without its partition, for the network was fitted on none of them."""
    faces, table, bundle = sources.data / "faces64.tar", sources.made / "faces64.csv", sources.made / "models" / "age"
    if not table.exists():
        with tarfile.open(faces) as tar:
            file = tar.extractfile("faces64.csv")
            assert file
            rows = list(csv.DictReader(file.read().decode().splitlines()))
        columns = ["path", "age", "gender"]
        _write_table(table, [{name: row[name] for name in columns} for row in rows], columns)
    if not (bundle / SPEC_FILE).exists():
        example, network = EXAMPLES / "dlib-age", sources.models / "dlib-faces" / "age-v1.onnx"
        meaning = [f"--{name}={example / name}.json" for name in ("image", "head")]
        command = [sys.executable, "-m", "fairtrigger", "wrap", str(network), "--out", str(bundle), "--name", "age"]
        subprocess.run([*command, "--labels", "old,young", *meaning], check=True, stdout=sys.stderr)
    return (f'data.path="{table}"', f'data.root="{faces}"', f'model.bundle="{bundle}"')


def _write_table(path: Path, rows: list[dict[str, str]], columns: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    with unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    unfinished.rename(path)


def _demo(name: str) -> Prepare:
    """The demo's data and model of a seed."""

    def prepare(sources: Sources, seed: int, progress: Progress) -> tuple[str, ...]:
        from fairtrigger.demo.fitting import FITTERS

        os.environ.setdefault(FACTORIES_VARIABLE, "fairtrigger.demo.small_cnn")
        folder = sources.made / "demo" / f"{name}-{seed}"
        if not (folder / "model" / SPEC_FILE).exists():
            folder.mkdir(parents=True, exist_ok=True)
            FITTERS[name](folder, seed, progress)
        return (f'data.path="{folder / name}.csv"', f'model.bundle="{folder / "model"}"')

    return prepare


def _face(name: str, attribute: str, *changes: str, curve: TuningSizes | None = None) -> Task:
    own = ("base.shift=0", f"data.label={attribute}", "base.labels=[]", f"base.name=celeba-{attribute.lower()}")
    return Task(name, "CelebA", attribute, "Male", "examples/celeba/run.toml", _celeba, (*own, *changes), curve=curve)


def _post(name: str, target: str, prepare: Prepare, *changes: str, curve: TuningSizes | None = None) -> Task:
    group = "names an identity"
    return Task(name, "HateXplain", target, group, "examples/hatexplain/run.toml", prepare, changes, curve=curve)


def _drawn(name: str, data: str, target: str, group: str, sizes: TuningSizes | None = None) -> Task:
    example = f"fairtrigger/demo/{name.removesuffix('-sizes')}.toml"
    prepare = _demo(name.removesuffix("-sizes"))
    models = ('baselines.systems=["adv_post"]', "baselines.strengths=[1.0, 5.0]", "baselines.epochs=3")
    return Task(name, data, target, group, example, prepare, models, fitted=False, own_trigger=True, curve=sizes)


SIZES = (250, 500, 1000, 2000, 5000)

TASKS: Mapping[str, Task] = {
    task.name: task
    for task in (
        _face("attractive", "Attractive"),
        _face("smiling", "Smiling"),
        _face("eyeglasses", "Eyeglasses"),  # 7 % of the faces
        _post("toxic", "toxic", _posts),
        _post("rare", "toxic, one post in ten", _rare_posts, "split.base=0.45", "split.val=0.17", "split.test=0.17"),
        Task(
            "age",
            "dlib's age network",
            "young",
            "gender",
            "examples/dlib-age/run.toml",
            _aligned_faces,
            ("split.val=3500", "split.test=4000", "baselines.systems=[]"),
            fitted=False,
        ),
        _drawn("digits", "Drawn digits (demo)", "large", "tint"),
        _drawn("comments", "Drawn comments (demo)", "toxic", "a mention"),
        _face(
            "attractive-sizes",
            "Attractive",
            "split.base=2000",
            curve=TuningSizes(SIZES, "equalized_odds"),
        ),
        _post(
            "toxic-sizes",
            "toxic",
            _posts,
            "split.base=7400",
            curve=TuningSizes(SIZES, "demographic_parity"),
        ),
        _drawn("digits-sizes", "Drawn digits (demo)", "large", "tint", TuningSizes(SIZES[:3], "demographic_parity")),
    )
}

MAIN = ("attractive", "smiling", "eyeglasses", "toxic", "rare", "age")
"""The tasks on which all systems are compared."""

CURVES = ("attractive-sizes", "toxic-sizes")
"""Those of the curves over sizes of the tuning part."""
