"""Runs of the product on every task, side by side, and docs/results.md from their records.

python -m benchmarks.results --out runs/results --processes 36 --page      everything that is missing, then the page
python -m benchmarks.results --out runs/results --processes 36 --seconds 540     as much as nine minutes allow
python -m benchmarks.results --page                                        the page alone, from docs/results/runs
python -m benchmarks.results --check                                       recommended systems beside every rival

A finished run leaves a record in `pieces`, and is not run again; one that was ended goes on from its checkpoint.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.results.baseline_check import check_baselines, check_lines, passed
from benchmarks.results.curve_figure import draw_curves
from benchmarks.results.page import PICTURE, read_records, results_page
from benchmarks.results.piece import SEEDS, Piece, planned, prepared, run_piece
from benchmarks.results.problem import problems
from benchmarks.results.scheduler import Scheduler
from benchmarks.results.tuning_curves import tuning_curves
from benchmarks.tasks import CRITERIA, CURVES, MAIN, TASKS, Sources
from trainer.config import Criterion
from trainer.progress import open_progress
from triggers.errors import FairtriggerError

DOCS = Path(__file__).parents[2] / "docs"

app = typer.Typer(add_completion=False)


@app.command()
def main(
    out: Annotated[
        Path | None, typer.Option(help="folder for everything that is made; without it nothing is run")
    ] = None,
    task: Annotated[
        list[str] | None, typer.Option(help=f"of {', '.join(TASKS)}; default: {', '.join(MAIN + CURVES)}")
    ] = None,
    seed: Annotated[list[int] | None, typer.Option(help=f"default: {', '.join(map(str, SEEDS))}")] = None,
    criterion: Annotated[Criterion | None, typer.Option(help="default: both")] = None,
    kind: Annotated[list[str] | None, typer.Option(help="trigger kinds; default: all that a task has")] = None,
    tuning_size: Annotated[list[int] | None, typer.Option(help="sizes of the curves; default: all")] = None,
    processes: Annotated[
        int, typer.Option(min=0, help="runs side by side, each in a process of its own; 0: in this one")
    ] = 0,
    gpus: Annotated[int | None, typer.Option(min=0, help="GPUs that the processes share; default: all")] = None,
    seconds: Annotated[
        float | None, typer.Option(help="end what is not finished then; the same command goes on")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="folder of the data; default: ../shared/data")] = None,
    models: Annotated[Path | None, typer.Option(help="folder of given models; default: ../shared/models")] = None,
    pieces: Annotated[Path | None, typer.Option(help="folder of the records; default: pieces in --out")] = None,
    docs: Annotated[Path, typer.Option(help="folder of results.md and results/")] = DOCS,
    page: Annotated[
        bool, typer.Option("--page", help="write the page, from the records here and of docs/results/runs")
    ] = False,
    check: Annotated[bool, typer.Option("--check", help="print the recommended systems beside every rival")] = False,
    plan: Annotated[bool, typer.Option("--plan", help="only say which runs are missing")] = False,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="as given to the trainer")] = None,
) -> None:
    """Run the pieces that are asked for; then the page, the check, or both."""
    if out is not None:
        out = out.resolve()
        records = (pieces or out / "pieces").resolve()
        criteria = (criterion,) if criterion else CRITERIA
        wanted = planned(task or MAIN + CURVES, seed or SEEDS, criteria, kind or (), tuning_size or ())
        missing = [piece for piece in wanted if not piece.path(records).exists()]
        if plan:
            print("\n".join(piece.name for piece in missing))
            return
        sources = Sources.beside_repository(out)
        sources = replace(sources, data=(data or sources.data).resolve(), models=(models or sources.models).resolve())
        if processes:
            _side_by_side(missing, out, records, sources, overrides or (), processes, gpus, seconds)
        else:
            _one_by_one(missing, out, records, sources, overrides or ())
        if page:
            _collect(records, docs / "results" / "runs")
    if page:
        _write_page(docs)
    if check:
        checks = check_baselines(problems(read_records(docs / "results" / "runs")))
        print("\n".join(check_lines(checks)))
        raise SystemExit(0 if passed(checks) else 1)


def _one_by_one(missing: Sequence[Piece], out: Path, records: Path, sources: Sources, changes: Sequence[str]) -> None:
    try:
        with open_progress(sys.stderr) as progress:
            for piece in missing:
                run_piece(piece, out, records, sources, changes, progress)
    except FairtriggerError as error:
        raise SystemExit(f"error: {error}") from error


def _side_by_side(
    missing: Sequence[Piece],
    out: Path,
    records: Path,
    sources: Sources,
    changes: Sequence[str],
    processes: int,
    gpus: int | None,
    seconds: float | None,
) -> None:
    """Raises SystemExit if a piece fails; what is left over at the time limit is only said."""
    folders = {"--out": out, "--pieces": records, "--data": sources.data, "--models": sources.models}
    common = [word for name, folder in folders.items() for word in (name, str(folder))]
    common += [word for change in changes for word in ("--set", change)]

    def command(piece: Piece) -> list[str]:
        return [sys.executable, "-m", "benchmarks.results", *common, *piece.arguments]

    def ready(piece: Piece) -> bool:
        return prepared(piece, out).exists()

    scheduler = Scheduler(command, out / "logs", processes, ready, _gpus() if gpus is None else gpus, seconds)
    outcome = scheduler.run(missing)
    if outcome.left:
        print(f"{len(outcome.left)} runs are left; the same command goes on with them.", file=sys.stderr)
    if outcome.failed:
        raise SystemExit(f"error: {len(outcome.failed)} runs failed: {', '.join(outcome.failed)}; see {out / 'logs'}.")


def _gpus() -> int:
    import torch

    return torch.cuda.device_count()


def _collect(pieces: Path, folder: Path) -> None:
    """Put the records of all pieces into a file per task, where they replace those of the same runs."""
    folder.mkdir(parents=True, exist_ok=True)
    found = [json.loads(path.read_bytes()) for path in sorted(pieces.glob("*.json"))]
    for task in sorted({one["task"] for one in found}):
        path = folder / f"{task}.json"
        kept = {_key(one): one for one in (json.loads(path.read_bytes()) if path.exists() else [])}
        kept |= {_key(one): one for one in found if one["task"] == task}
        lines = ",\n".join(json.dumps(kept[key]) for key in sorted(kept))
        path.write_text(f"[\n{lines}\n]\n")


def _key(one: dict[str, object]) -> tuple[str, ...]:
    return tuple(str(one[name]) for name in ("criterion", "kind", "seed", "tuning"))


def _write_page(docs: Path) -> None:
    records = read_records(docs / "results" / "runs")
    (docs / "results.md").write_text(results_page(records), encoding="utf-8")
    if curves := tuning_curves(records):
        print(draw_curves(curves, docs / "results" / PICTURE))
    print(docs / "results.md")


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    app()
