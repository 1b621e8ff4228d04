"""The command `score`: all rows of a file under one or several triggers, into a Parquet or CSV file."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fairtrigger.cli.options import DEFAULT_STORE, Chosen, open_existing_store, trust_of
from triggers.errors import ConfigError

if TYPE_CHECKING:
    from fairtrigger.scoring import ScoreResult
    from triggers.store import Store


def register_score_command(app: typer.Typer) -> None:
    """Register the command."""
    app.command(
        epilog="Example: fairtrigger score models/comments comments.csv --text body --group gender --label toxic "
        "--trigger none,champion --out scores.parquet"
    )(score)


def score(
    context: typer.Context,
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A model bundle.", show_default=False)],
    inputs: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT",
            help="A CSV, JSONL or Parquet file or a folder of them, a `datasets` folder, a folder or tar of images.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="The score file, .parquet or .csv.", show_default=False)],
    trigger: Annotated[
        str,
        typer.Option(
            "--trigger", help="By commas: none, v3, champion, challenger, artifact files. Default: champion, or none."
        ),
    ] = "",
    store: Annotated[str | None, typer.Option("--store", help="The trigger store, as before the command.")] = None,
    text: Annotated[str | None, typer.Option("--text", help="Column of the texts; default text.")] = None,
    image: Annotated[
        str | None, typer.Option("--image", help="Column of the images or their paths; default path or image.")
    ] = None,
    id: Annotated[str | None, typer.Option("--id", help="Column that names a row.")] = None,
    label: Annotated[str | None, typer.Option("--label", help="Column of the true label.")] = None,
    label_map: Annotated[
        list[str] | None, typer.Option("--label-map", help="VALUE=LABEL: what a value of --label means; repeat.")
    ] = None,
    group: Annotated[list[str] | None, typer.Option("--group", help="Column of a group attribute; repeat.")] = None,
    format: Annotated[str, typer.Option("--format", help="csv, jsonl, parquet, datasets or files.")] = "auto",
    root: Annotated[Path | None, typer.Option("--root", help="Folder or tar that image paths start from.")] = None,
    columns_from_path: Annotated[
        str | None, typer.Option("--columns-from-path", help="Columns in files' paths, as {label}/{group}_*.jpg.")
    ] = None,
    delimiter: Annotated[str | None, typer.Option("--delimiter", help="Of a CSV file; default: found out.")] = None,
    encoding: Annotated[str | None, typer.Option("--encoding", help="Such as cp1252; default UTF-8.")] = None,
    device: Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1, or all GPUs: all.")] = "cpu",
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Rows of a forward pass.")] = 32,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Threads that decode; default: one a core.")
    ] = None,
    bad_rows: Annotated[
        Literal["stop", "skip"], typer.Option("--bad-rows", help="Skipped rows go to OUT.bad.csv.")
    ] = "stop",
    count_into: Annotated[
        str | None,
        typer.Option("--count-into", help="Ledger (file or redis URL) of a service that each row is counted in, once."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Begin anew; OUT may be there.")] = False,
    checkpoint_seconds: Annotated[
        float, typer.Option("--checkpoint-seconds", min=0, help="Seconds of work that a kill may cost.")
    ] = 5.0,
) -> None:
    """Score every row of a file, with and without triggers. The same command goes on after a kill."""
    from fairtrigger.scoring import score as score_file
    from trainer.progress import open_progress

    chosen: Chosen = context.obj
    if store:
        context.obj = chosen = replace(chosen, store=store)
    words = [word.strip() for word in trigger.split(",") if word.strip()]
    opened = _store(context, words)
    try:
        with open_progress(sys.stderr) as progress:
            result = score_file(
                bundle,
                inputs,
                out,
                trigger=words,
                store=opened,
                text=text,
                image=image,
                id=id,
                label=label,
                label_map=_label_map(label_map or []),
                group=group or [],
                format=format,
                root=root,
                columns_from_path=columns_from_path,
                delimiter=delimiter,
                encoding=encoding,
                device=device,
                batch_size=batch_size,
                workers=workers,
                bad_rows=bad_rows,
                count_into=count_into,
                overwrite=overwrite,
                checkpoint_seconds=checkpoint_seconds,
                progress=progress,
                trust=trust_of(context),
                certified=chosen.require_certified,
            )
    finally:
        if opened:
            opened.close()
    _print_result(result, count_into)


def _store(context: typer.Context, words: list[str]) -> Store | None:
    """The store, if there is one; it must be there if it was named, or a word needs it."""
    chosen: Chosen = context.obj
    if chosen.store == DEFAULT_STORE and not Path(chosen.store).is_dir():
        return None
    return open_existing_store(context)


def _label_map(entries: list[str]) -> dict[str, str]:
    pairs = [entry.partition("=") for entry in entries]
    for value, equals, name in pairs:
        if not (value and equals and name):
            raise ConfigError(f"--label-map {value}{equals}{name}: write VALUE=LABEL, as in --label-map 1=toxic.")
    return {value: name for value, _, name in pairs}


def _print_result(result: ScoreResult, ledger: str | None) -> None:
    typer.echo(
        f"{result.out}: {result.scored} rows under {', '.join(result.versions)}"
        + (f", {result.resumed} of the input's {result.rows} rows from before" if result.resumed else "")
        + f", in {result.seconds:.1f} s"
    )
    if result.bad:
        typer.echo(f"{result.bad_file}: {result.bad} of {result.rows} rows left out, and why")
    if result.cut:
        typer.echo(f"{result.cut} texts are longer than the model reads and were cut")
    if result.counted is not None:
        typer.echo(f"{ledger}: {result.counted} predictions counted that were not counted before")
