"""`python -m trainer run.toml`: learn fairness triggers for a frozen classifier and publish them.

Ends with 0 when the run is complete, 1 when it failed, 2 when the command line or the configuration is wrong, and 130
when it was interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated, TextIO, get_args

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from trainer.comparison import in_short
from trainer.config import Criterion, RunConfig, load_config
from trainer.example import EXAMPLE
from trainer.outcome import Counts
from trainer.progress import open_progress
from trainer.publish import store_url
from trainer.report import report_of
from trainer.select import judged_gap
from trainer.train import CHECKPOINT, Finished, train
from trainer.world import World, joined_world
from triggers.address import without_password
from triggers.errors import ConfigError, FairtriggerError
from triggers.factories import VARIABLE
from triggers.fairness import FairnessReport

HELP = """Learn fairness triggers for a frozen classifier and publish them to a store.

Reads a TOML file. Fits the classifier first if its bundle is missing and section "base" says how. Trains one trigger
per strength, recommends one on validation data, leaves metrics.json, a model card and a report in the output folder.

Was it killed? The same command goes on from the last checkpoint.

Several GPUs, or several processes on CPUs: `torchrun --nproc-per-node 2 -m trainer run.toml` gives the same triggers.
"""

EPILOG = """Start here:  python -m trainer --example > run.toml

Then:  python -m trainer run.toml --set "objective.strengths=[1,5,20]" --set train.device=cuda"""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="markdown")


def _print_example(wanted: bool) -> None:
    if wanted:
        typer.echo(EXAMPLE, nl=False)
        raise typer.Exit


@app.command(help=HELP, epilog=EPILOG, no_args_is_help=True)
def run(
    config: Annotated[Path, typer.Argument(metavar="RUN.TOML", help="The run's configuration.", show_default=False)],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one key, as in TOML; may be given again."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Output folder; default runs/NAME after the file's name.", show_default=False)
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh/--resume", help="Ignore a checkpoint, or go on from it.")] = False,
    allow_factories: Annotated[
        str,
        typer.Option(
            metavar="MODULES",
            envvar=VARIABLE,
            help="Modules, with commas, whose functions may build a network; their code is run.",
        ),
    ] = "",
    example: Annotated[
        bool, typer.Option("--example", help="Print a commented configuration.", is_eager=True, callback=_print_example)
    ] = False,
) -> None:
    """Load the configuration, run it, say what came of it."""
    folder = out or Path("runs") / config.stem
    os.environ[VARIABLE] = allow_factories  # also for the processes that this one starts
    try:
        settings = load_config(config, overrides or ())
        _quiet_transformers(settings)
        with joined_world(settings.train.device) as world, _stream(world) as stream, open_progress(stream) as progress:
            finished = train(settings, folder, progress, fresh=fresh, world=world)
    except FairtriggerError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2 if isinstance(error, ConfigError) else 1) from error
    except KeyboardInterrupt as error:
        kept = f"; {folder / CHECKPOINT} is kept, the same command goes on from it" * (folder / CHECKPOINT).exists()
        typer.echo(f"interrupted{kept}", err=True)
        raise typer.Exit(130) from error
    if world.first:
        _tell(settings, folder, finished)


def _stream(world: World) -> AbstractContextManager[TextIO]:
    """Where progress goes: of several processes only the first one's is shown."""
    return nullcontext(sys.stderr) if world.first else open(os.devnull, "w")


def _quiet_transformers(config: RunConfig) -> None:
    """Its own bars and load reports would tear ours apart."""
    if config.modality == "text":
        from transformers.utils import logging

        logging.set_verbosity_error()
        logging.disable_progress_bar()


def _tell(config: RunConfig, folder: Path, finished: Finished) -> None:
    """The table of all strengths, what selection says, and where things are."""
    console = Console()
    console.print(_table(config, finished))
    for note in finished.outcome.notes:
        console.print(note, markup=False, highlight=False)
    names = {path.name for path in finished.files}
    for what, name in (("Figures", "metrics.json"), ("Card", "model-card.md"), ("Report", "report.html")):
        if name in names:
            console.print(f"{what}: {folder / name}", markup=False, highlight=False, soft_wrap=True)
    if finished.published:
        name = finished.classifier.name
        command = f"fairtrigger --store {without_password(store_url(config))} list {name}"
        console.print(f"Look at them: {command}", markup=False, highlight=False, soft_wrap=True)


def _table(config: RunConfig, finished: Finished) -> Table:
    classifier, outcome = finished.classifier, finished.outcome
    versions = {place.strength: f"v{place.version}" for place in finished.published}
    rows = [("none", outcome.bare, "")]
    for at, candidate in enumerate(outcome.candidates):
        mark = " best" if at == outcome.best else ""
        rows.append((f"{candidate.strength:g}", candidate.counts, versions.get(candidate.strength, "") + mark))
    title = f"{classifier.name}: {config.trigger.kind} trigger, {config.objective.criterion.replace('_', ' ')}"
    table = Table("strength", title=title, box=SIMPLE_HEAD)
    for split in ("val", "test"):
        for column in ("accuracy", "DP", "AOD"):
            table.add_column(f"{split}\n{column}", justify="right", no_wrap=True)
    table.add_column("published")
    for name, splits, note in rows:
        table.add_row(name, *_figures(config, finished, [splits]), note)
    table.add_section()
    for name, compared, chosen in in_short(outcome.comparisons):
        table.add_row(name, *_figures(config, finished, [one.counts for one in compared]), "best" if chosen else "")
    report = report_of(config, classifier, outcome.bare["test"])
    parity, odds = (judged_gap(report, criterion)[0] for criterion in get_args(Criterion))
    table.caption = f"DP: {parity}, AOD: {odds}; 0: groups alike"
    return table


def _figures(config: RunConfig, finished: Finished, several: Sequence[Mapping[str, Counts]]) -> list[str]:
    """Accuracy and gaps on both splits, as the mean over several systems."""
    reports = [[report_of(config, finished.classifier, one[split]) for split in ("val", "test")] for one in several]
    rows = [[value for report in splits for value in _values(report)] for splits in reports]
    return [_mean(column) for column in zip(*rows, strict=True)]


def _values(report: FairnessReport) -> list[float | None]:
    return [report.overall.accuracy.value, *(judged_gap(report, one)[1].value for one in get_args(Criterion))]


def _mean(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{sum(known) / len(known):.3f}" if len(known) == len(values) else "-"


def main() -> None:
    """Entry point."""
    app(prog_name="python -m trainer")


if __name__ == "__main__":
    main()
