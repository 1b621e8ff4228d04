"""`python -m examples.demo`: learn triggers for two small models, serve them, swap them live, see what that did."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console

from examples.demo.closing import next_steps, serve_again
from examples.demo.prepare import DATA, STORE, Prepared, prepare
from examples.demo.traffic import held_out, replay
from examples.fairness_table import fairness_table
from examples.live import Client, Row, running_service
from trainer.progress import open_progress
from triggers.allow_lists import FACTORIES_VARIABLE
from triggers.errors import FairtriggerError, StoreUnavailable

HELP = """Learn fairness triggers for two small models, serve them, swap them live, and see what that did.

Fits a CNN on tinted handwritten digits and a tiny BERT on generated comments, both on collections in which the group
goes along with the label, and freezes them. Trains a front of triggers for each with the real trainer, publishes them,
starts the real service, and replays held-out inputs over HTTP: first without a trigger, then through a live swap.

Takes a minute or two on two cores the first time; the models and triggers are reused after that.
"""

EPILOG = (
    """Examples:  python -m examples.demo --exit  or  python -m examples.demo --out /tmp/demo --seed 7 --port 8099"""
)

WATCH_SECONDS = 2.0
FACTORY = "examples.demo.small_cnn"
"""The module whose function builds the network of the digits."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="markdown")


@app.command(help=HELP, epilog=EPILOG)
def main(
    out: Annotated[Path, typer.Option(help="Folder for everything that is made.")] = Path("demo-out"),
    seed: Annotated[int, typer.Option(min=0, help="Of the data, the models and the triggers.")] = 0,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the service; 0 picks a free one.")] = 0,
    leave: Annotated[bool, typer.Option("--exit", help="End after the table instead of serving on.")] = False,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting of the trainer, for both models.")
    ] = None,
) -> None:
    """Run the demo; ends with 1 and one line if it fails, and with 130 if it is interrupted before the table."""
    for number in (signal.SIGINT, signal.SIGTERM):  # both end the service as well
        signal.signal(number, signal.default_int_handler)
    try:
        run(out, seed, port, leave, overrides or [])
    except FairtriggerError as error:
        raise SystemExit(f"error: {error}") from error
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def run(out: Path, seed: int, port: int, leave: bool, overrides: list[str]) -> None:
    """The whole demo. Raises FairtriggerError."""
    os.environ[FACTORIES_VARIABLE] = FACTORY  # for the trainer, also in the processes that it starts
    console, began = Console(soft_wrap=True, highlight=False), time.monotonic()
    with ExitStack() as stack:
        with open_progress(sys.stderr) as progress:
            models = prepare(out, seed, progress, overrides)
            rows = {model.name: held_out(model.manifest) for model in models}
            progress.note("starting the service")
            url, token = stack.enter_context(_service(out, models, port))
            served: dict[str, Any] = {}
            for model in models:
                with Client(url, model.name, token) as client:
                    replay(client, rows[model.name], model.recommended, progress)
                    served[model.name] = client.fairness()
        _show(console, out, models, rows["digits"], served)
        console.print(f"\n{time.monotonic() - began:.0f} seconds in all.", style="dim")
        if leave:
            console.print(f"The service has ended; this serves again:  {serve_again(out, seed)}", markup=False)
        else:
            console.print(next_steps(out, url, token, models), markup=False)
            _serve_on(console, url)


def _service(out: Path, models: list[Prepared], port: int) -> Any:
    """The real service on both models; what it counted in an earlier run is removed."""
    shutil.rmtree(out / DATA, ignore_errors=True)
    bundles = [model.bundle for model in models]
    return running_service(bundles, str(out / STORE), out / DATA, port=port, log=out / "service.log")


def _show(console: Console, out: Path, models: list[Prepared], images: list[Row], served: dict[str, Any]) -> None:
    """The tables from the service, and the pictures."""
    for model in models:
        document = served[model.name]
        selected = document["labels"][document["pos_label"]]
        title = f"{model.name} (selected means {selected}), as the service counted it"
        console.print(fairness_table(document, ("bare", model.recommended), title), "")
    console.print("Bare counts the whole first pass, and what was answered before the swap in the second.", style="dim")
    from examples.demo.gallery import draw_all  # torch and matplotlib: seconds that the traffic need not wait for

    pictures = draw_all(out, models, images, served)
    console.print(f"Pictures: {'  '.join(map(str, pictures))}", markup=False)


def _serve_on(console: Console, url: str) -> None:
    """Until Ctrl-C. Raises StoreUnavailable when the service has ended on its own."""
    console.print("\nThe service runs until Ctrl-C.", style="bold")
    try:
        while True:
            time.sleep(WATCH_SECONDS)
            httpx.get(f"{url}/healthz").raise_for_status()
    except KeyboardInterrupt:
        console.print("Stopped.")
    except httpx.HTTPError as error:
        raise StoreUnavailable(f"The service at {url} does not answer any more: {error}") from error


if __name__ == "__main__":
    app(prog_name="python -m examples.demo")
