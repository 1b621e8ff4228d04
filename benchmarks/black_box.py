"""What triggers learned from scores or from labels leave of a gap, against exact gradients on the same rows.

python -m benchmarks.black_box run --out runs/black-box                       everything that is not done yet, a GPU
python -m benchmarks.black_box run --out runs/black-box --task age --seed 0 --gradient scores       one piece
python -m benchmarks.black_box table --out runs/black-box                     the table, and curves.png

Every piece is a training that leaves a file; several processes, started alike, share the pieces among them, and the
same command goes on where it was stopped. `--again` does pieces again whose process died. The models are in memory, so
that exact gradients can be had, and the rows that are asked are counted as an endpoint's would be.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import typer

from benchmarks.tasks import TASKS, Sources
from trainer.config import RunConfig
from trainer.evaluation import TrainingResult
from trainer.evaluation.selection import selection_criterion
from trainer.formatting import format_number
from trainer.progress import Progress, open_progress
from trainer.train import prepare_data
from trainer.training import train_triggers
from triggers.model import FrozenClassifier
from triggers.storage import write_atomically

BUDGET = 0.01
"""Accuracy that a trigger may cost on validation."""
GRADIENTS: Mapping[str, int | None] = {"exact": None, "scores": 200_000, "labels": 1_000_000}
"""Rows that a training may ask."""

_ASKED = ("train.flip=false", "train.shift=0", "objective.calibrate=true", "select.folds=1", "select.measure=accuracy")
_FACES = ("objective.name=adversarial", "objective.criterion=equalized_odds", "objective.strengths=[1.0, 3.0, 10.0]")
_WORDS = ("trigger.kind=hard", "trigger.tokens=2", "objective.name=gap", "objective.strengths=[3.0, 30.0, 300.0]")
_AGE = ("split.tuning=2500", "split.val=1500", "split.test=1500")
CHANGES: Mapping[str, tuple[str, ...]] = {
    "age": (*_ASKED, *_FACES, *_AGE),
    "attractive": (*_ASKED, *_FACES),
    "toxic": (*_ASKED, *_WORDS),
}
"""By task what all of its trainings have in common: three strengths that share their queries."""
EXACT: Mapping[str, tuple[str, ...]] = {
    "age": ("train.epochs=40", "train.lr=0.02"),
    "attractive": ("train.epochs=20", "train.lr=0.02"),
    "toxic": ("train.epochs=15", "train.lr=0.03"),
}
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass(frozen=True)
class Piece:
    """One training."""

    task: str
    gradient: str
    seed: int

    @property
    def name(self) -> str:
        """Its file's name."""
        return f"{self.task}-{self.gradient}-{self.seed}"

    def config(self, out: Path, changes: Sequence[str], progress: Progress) -> RunConfig:
        """Its configuration; what its task needs is made in `out`. Raises ConfigError."""
        task = TASKS[self.task]
        where = task.prepare(Sources.beside_repository(out / "made"), self.seed, progress)
        return task.config(out / "models", self.seed, (*where, *CHANGES[self.task], *self._steps(), *changes))

    def _steps(self) -> tuple[str, ...]:
        if self.gradient == "exact":
            return EXACT[self.task]
        return ("train.lr=0.05", f"objective.gradient={self.gradient}", f"train.max_queries={GRADIENTS[self.gradient]}")


def pieces(tasks: Sequence[str], gradients: Sequence[str], seeds: Sequence[int]) -> list[Piece]:
    """All pieces, the cheapest kind of every task and seed first."""
    return [Piece(*each) for each in product(tasks, gradients, seeds)]


def claimed(out: Path, todo: Sequence[Piece], *, again: bool) -> Iterator[Piece]:
    """Pieces that nobody has done or is doing; each is claimed when it is due."""
    out.mkdir(parents=True, exist_ok=True)
    for piece in todo:
        claim = out / f"{piece.name}.claim"
        if (out / f"{piece.name}.json").exists():
            continue
        if again:
            claim.unlink(missing_ok=True)
        try:
            claim.touch(exist_ok=False)
        except FileExistsError:
            continue
        yield piece


def measured(config: RunConfig, cache: Path, progress: Progress) -> dict[str, Any]:
    """Train, and say what came of it as JSON values."""
    classifier, splits = prepare_data(config, cache, progress)
    began = time.monotonic()
    result = train_triggers(config, classifier, splits, progress)
    return {"seconds": time.monotonic() - began, **figures(config, classifier, result)}


def figures(config: RunConfig, classifier: FrozenClassifier, result: TrainingResult) -> dict[str, Any]:
    """Accuracy and gap by split, bare, of every strength, and of the one that validation picks within BUDGET."""
    by_split = {split: selection_criterion(config, classifier, counts).score for split, counts in result.bare.items()}

    def both(counts: Mapping[str, Any]) -> dict[str, tuple[float, float | None]]:
        scores = {split: score(counts[split]) for split, score in by_split.items()}
        return {split: (one.accuracy, one.gap) for split, one in scores.items()}

    bare, ones = both(result.bare), [both(one.counts) for one in result.candidates]
    within = [one for one in ones if one["val"][0] >= bare["val"][0] - BUDGET]
    picked = min([bare, *within], key=lambda one: 1.0 if one["val"][1] is None else one["val"][1])
    return {
        "bare": bare,
        "strengths": [one.strength for one in result.candidates],
        "candidates": ones,
        "picked": picked,
        "queries": result.queries,
        "words": [getattr(one.trigger, "words", None) for one in result.candidates],
    }


def table(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Lines of a Markdown table: by task and gradient means over seeds, and the gap as a multiple of the exact one."""
    lines = [
        "| task | gradient | seeds | rows asked | gap on test, no trigger | gap | change of accuracy | times exact |"
        " gap on validation, change |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for task in CHANGES:
        exact = _mean_gap([one for name, one in found.items() if name.startswith(f"{task}-exact-")])
        for gradient in GRADIENTS:
            own = [one for name, one in found.items() if name.startswith(f"{task}-{gradient}-")]
            if not own:
                continue
            asked = mean((one["queries"] or {}).get("total", 0) for one in own)
            bare, gap = mean(one["bare"]["test"][1] for one in own), _mean_gap(own)
            change = mean(100 * (one["picked"]["test"][0] - one["bare"]["test"][0]) for one in own)
            times = f"{gap / exact:.2f}" if exact and gap is not None else "-"
            cells = (task, gradient, str(len(own)), f"{asked:,.0f}", format_number(bare), format_number(gap or 0.0))
            seen = mean(one["picked"]["val"][1] for one in own)
            moved = mean(100 * (one["picked"]["val"][0] - one["bare"]["val"][0]) for one in own)
            judged = f"{format_number(seen)}, {moved:+.1f}"
            lines.append(f"| {' | '.join(cells)} | {change:+.1f} | {times} | {judged} |")
    return lines


def _mean_gap(ones: Sequence[Mapping[str, Any]]) -> float | None:
    return mean(one["picked"]["test"][1] for one in ones) if ones else None


def load(out: Path) -> dict[str, dict[str, Any]]:
    """What is done, by name."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(out.glob("*.json"))}


@app.command()
def run(
    out: Annotated[Path, typer.Option(help="Folder of pieces and fitted models.")],
    task: Annotated[list[str] | None, typer.Option(help="age, attractive, toxic; may be given again.")] = None,
    gradient: Annotated[list[str] | None, typer.Option(help="exact, scores, labels; may be given again.")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="May be given again.")] = None,
    changes: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE")] = None,
    again: Annotated[bool, typer.Option(help="Do pieces again that a process left unfinished.")] = False,
) -> None:
    """Do pieces until none is left."""
    todo = pieces(task or list(CHANGES), gradient or list(GRADIENTS), seed or [0, 1, 2])
    with open_progress(sys.stderr) as progress:
        for piece in claimed(out, todo, again=again):
            config = piece.config(out.resolve(), changes or (), progress)
            found = measured(config, out / "data", progress)
            write_atomically(out / f"{piece.name}.json", json.dumps(found).encode())
            typer.echo(f"{piece.name}: {found['bare']['test']} -> {found['picked']['test']}, {found['seconds']:.0f} s")


@app.command("table")
def print_table(out: Annotated[Path, typer.Option(help="Folder of pieces.")]) -> None:
    """Print the table of what is done, and draw the curves of gaps over rows asked."""
    from trainer.report.figures.queries import draw_curves

    found = load(out)
    typer.echo("\n".join(table(found)))
    drawn = {name: one["queries"] for name, one in found.items() if one["queries"]}
    if drawn:
        typer.echo(str(draw_curves(out / "curves.png", drawn)))


if __name__ == "__main__":
    app()
