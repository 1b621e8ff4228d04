"""The commands that move artifacts between files and stores: push, pull."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from fairtrigger.cli.options import (
    ActorOption,
    BundleOption,
    ModelArgument,
    ReasonOption,
    VersionArgument,
    classifier_of,
    current_user,
    open_existing_store,
    open_or_create_store,
    parse_version,
)
from triggers.artifact.artifact import load_artifact, read_limited
from triggers.errors import FairtriggerError
from triggers.storage import write_atomically
from triggers.store import artifact_gate
from triggers.store.store import version_name


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    app.command(
        epilog="Example: fairtrigger push faces-v2.safetensors --model faces --reason 'from the training machine'"
    )(push)
    app.command(epilog="Example: fairtrigger pull faces v2 -o faces-v2.safetensors")(pull)


def push(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="An artifact's file.", show_default=False)],
    model: Annotated[str | None, typer.Option("--model", help="The model it must be for.")] = None,
    reason: ReasonOption = "",
    bundle: BundleOption = None,
    actor: ActorOption = "",
) -> None:
    """Check an artifact's file and store it as the next version of its model."""
    data = read_limited(file)
    push = partial(artifact_gate.push_artifact, model=model, classifier=classifier_of(bundle), file=file.name)
    with open_or_create_store(context) as store:
        version = push(store, data, actor=actor or current_user(), reason=reason)
    artifact = load_artifact(data)
    typer.echo(f"{artifact.manifest.model} {version_name(version)}  {artifact.digest}")


def pull(
    context: typer.Context,
    model: ModelArgument,
    version: VersionArgument,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Default: MODEL-vN.safetensors.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Copy a version's file out of the store, checked on the way."""
    chosen = parse_version(version)
    path = output or Path(f"{model}-{version_name(chosen)}.safetensors")
    if path.exists() and not force:
        raise FairtriggerError(f"{path} exists; choose another name with -o, or overwrite it with --force.")
    with open_existing_store(context) as store:
        store.get(model, chosen)
        write_atomically(path, store.get_bytes(model, chosen))
    typer.echo(str(path))
