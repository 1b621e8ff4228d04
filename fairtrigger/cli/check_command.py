"""The command `check`: the self-check of a model bundle, one line a check."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from triggers.errors import ModelError


def register_check_command(app: typer.Typer) -> None:
    """Register the command."""
    app.command(epilog="Example: fairtrigger check models/faces")(check)


def check(
    bundle: Annotated[Path, typer.Argument(metavar="FOLDER", help="A model bundle.", show_default=False)],
    device: Annotated[str, typer.Option("--device", help="Where to run it: cpu, cuda or cuda:1.")] = "cpu",
) -> None:
    """Check whether a model bundle answers as its model does, as every load of it does."""
    from triggers.model.bundle_loader import read_bundle
    from triggers.model.self_check import run_checks

    loaded = read_bundle(bundle, device)
    failures = 0
    for result in run_checks(loaded):
        typer.echo(f"{'FAILED' if result.fault else 'ok':6}  {result.check:9}  {result.fault or result.note}")
        failures += bool(result.fault)
    spec = loaded.classifier.spec
    typer.echo(f"{'':6}  source     {spec.comparison.sentence if spec.comparison else 'never compared with any'}")
    if failures:
        raise ModelError(f"{failures} of these checks failed: {spec.name!r} would not be served.")
