"""The trainer's command line, `python -m trainer run.toml`: learns fairness triggers for a frozen classifier.

Exit code 0: the run is complete; 1: it failed; 2: the command line or the configuration is wrong; 130: interrupted.
"""

from __future__ import annotations

import gc
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from trainer.config import EXAMPLE_CONFIG
from triggers.allow_lists import FACTORIES_VARIABLE, HOSTS_VARIABLE
from triggers.errors import ConfigError, FairtriggerError

if TYPE_CHECKING:
    from trainer.config import RunConfig
    from trainer.distributed import ProcessGroup

HELP = """Learn fairness triggers for a frozen classifier and publish them to a store.

Reads a TOML file. Fits the classifier first if its bundle is missing and section "base" says how. Finds the useful
strengths, trains one trigger for each, recommends one on validation data, leaves metrics.json, a model card and a
report in the output folder.

Look first: `--look` tells in seconds what the data is, how the bare model does and what a run of this size can show.

Was it killed? The same command goes on from the last checkpoint; a model behind an address is asked no row again.

Section "track" keeps a run's history in MLflow and TensorBoard as well (docs/tracking.md).

Several GPUs, or several processes on CPUs: `torchrun --nproc-per-node 2 -m trainer run.toml` gives the same triggers.
"""

EPILOG = """Start here:  python -m trainer --example > run.toml

Look:  python -m trainer run.toml --look

Then:  python -m trainer run.toml --set train.steps=600 --set train.device=cuda"""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="markdown")


def _print_example(wanted: bool) -> None:
    if wanted:
        typer.echo(EXAMPLE_CONFIG, nl=False)
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
            envvar=FACTORIES_VARIABLE,
            help="Modules, with commas, whose functions may build a network; their code is run.",
        ),
    ] = "",
    endpoint_hosts: Annotated[
        str,
        typer.Option(
            metavar="HOSTS",
            envvar=HOSTS_VARIABLE,
            help="Hosts, with commas, where a bundle whose model is only an address may ask it (docs/endpoints.md).",
        ),
    ] = "",
    look: Annotated[
        bool,
        typer.Option(
            "--look",
            help="Train nothing: tell in seconds what the data is, how the bare model does, what such a run can show.",
        ),
    ] = False,
    example: Annotated[
        bool, typer.Option("--example", help="Print a commented configuration.", is_eager=True, callback=_print_example)
    ] = False,
) -> None:
    """Load the configuration; run the training and print its summary, or only the overview."""
    folder = out or Path("runs") / config.stem
    allowed = {"--allow-factories": allow_factories, "--endpoint-hosts": endpoint_hosts}
    os.environ.update({FACTORIES_VARIABLE: allow_factories, HOSTS_VARIABLE: endpoint_hosts})  # also for child processes
    try:
        if look:
            _look(config, overrides or (), folder, allowed)
        else:
            _run(config, overrides or (), folder, fresh=fresh)
    except FairtriggerError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2 if isinstance(error, ConfigError) else 1) from error
    except KeyboardInterrupt as error:
        typer.echo(f"interrupted{error}", err=True)
        raise typer.Exit(130) from error


def _run(config: Path, overrides: Sequence[str], folder: Path, *, fresh: bool) -> None:
    """Run the training. What it needs is imported only here, so that help and the example appear at once."""
    from trainer.config import load_config
    from trainer.distributed import join_process_group
    from trainer.overview import print_summary
    from trainer.progress import open_progress
    from trainer.queries import ANSWERS_FILE
    from trainer.train import CHECKPOINT, train

    settings = load_config(config, overrides)
    _quiet_transformers(settings)
    try:
        with (
            join_process_group(settings.train.device) as process_group,
            _stream(process_group) as stream,
            open_progress(stream) as progress,
        ):
            finished = train(settings, folder, progress, fresh=fresh, process_group=process_group)
    except KeyboardInterrupt as error:
        found = [folder / name for name in (CHECKPOINT, ANSWERS_FILE) if (folder / name).exists()]
        kept = f"; {found[0]} is kept, the same command goes on from it" if found else ""
        raise KeyboardInterrupt(kept) from error
    if process_group.is_main_process:
        print_summary(settings, folder, finished)


def _look(config: Path, overrides: Sequence[str], folder: Path, allowed: Mapping[str, str]) -> None:
    """Print the overview of the run that the same command without --look would start."""
    gc.disable()  # a short time in which much is made and nothing thrown away: modules, rows
    try:
        from trainer.config import load_config
        from trainer.overview import make_overview, print_overview
        from trainer.progress import open_progress
        from trainer.train import DATA_CACHE

        settings = load_config(config, overrides)
        _quiet_transformers(settings)
        with open_progress(sys.stderr) as progress:
            overview = make_overview(settings, folder.parent / DATA_CACHE, progress)
    finally:
        gc.enable()
    words = [str(config), *(word for each in overrides for word in ("--set", each))]
    words += [word for option, value in allowed.items() if value for word in (option, value)]
    words += ["--out", str(folder)] if folder != Path("runs") / config.stem else []
    print_overview(overview, f"python -m trainer {shlex.join(words)}")


def _stream(process_group: ProcessGroup) -> AbstractContextManager[TextIO]:
    """Stream of the progress display: stderr in the main process, the null device in the others."""
    return nullcontext(sys.stderr) if process_group.is_main_process else open(os.devnull, "w")


def _quiet_transformers(config: RunConfig) -> None:
    """Switch off the bars and load reports of `transformers`, which would break up the trainer's own."""
    if config.modality == "text":
        from transformers.utils import logging

        logging.set_verbosity_error()
        logging.disable_progress_bar()


def main() -> None:
    """Entry point of `python -m trainer`."""
    app(prog_name="python -m trainer")


if __name__ == "__main__":
    main()
