"""The command `demo`: everything once, on two small models that it fits itself."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import typer

from fairtrigger.extras import require_extra

PACKAGES = ("fastapi", "httpx", "matplotlib", "sklearn", "uvicorn")


def register_demo_command(app: typer.Typer) -> None:
    """Register the command."""
    app.command(epilog="Example: fairtrigger demo --exit; or fairtrigger demo --out /tmp/demo --seed 7 --port 8099")(
        demo
    )


def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for everything that is made.")] = Path("demo-out"),
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the data, the models and the triggers.")] = 0,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Of the service; 0 picks a free one.")] = 0,
    leave: Annotated[bool, typer.Option("--exit", help="End after the table instead of serving on.")] = False,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting of the trainer, for both models.")
    ] = None,
) -> None:
    """Learn triggers for two small models, serve them, swap them live, and see.

    Fits a CNN on tinted digits and a tiny BERT on generated comments, both on
    collections in which the group goes along with the label, and freezes them.
    Trains triggers for each with the real trainer, publishes them, starts the
    real service, and replays held-out inputs over HTTP: first without a trigger,
    then through a live swap.

    Takes a minute or two on two cores the first time, and needs no network; the
    models and triggers are reused after that.
    """
    require_extra("demo", *PACKAGES)
    from fairtrigger.demo.demo import run_demo

    for number in (signal.SIGINT, signal.SIGTERM):  # both end the service as well
        signal.signal(number, signal.default_int_handler)
    try:
        run_demo(out, seed=seed, port=port, leave=leave, overrides=overrides or ())
    except KeyboardInterrupt:
        raise SystemExit(130) from None
