"""`fairtrigger demo`: learn triggers for two small models, serve them, swap them live, see what that did."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

from fairtrigger.demo.fairness_table import fairness_table
from fairtrigger.demo.live_service import ReplayClient, Row, running_service
from fairtrigger.demo.next_steps import next_steps, serve_again
from fairtrigger.demo.preparation import DATA, STORE, Prepared, prepare
from fairtrigger.demo.traffic import held_out, replay
from trainer.progress import open_progress
from triggers.allow_lists import FACTORIES_VARIABLE
from triggers.errors import StoreUnavailable

WATCH_SECONDS = 2.0
FACTORY = "fairtrigger.demo.small_cnn"
"""The module whose function builds the network of the digits."""


def run_demo(out: Path, *, seed: int = 0, port: int = 0, leave: bool = False, overrides: Sequence[str] = ()) -> None:
    """The whole demo in folder `out`, which serves on until Ctrl-C unless `leave`. `overrides` are the trainer's
    "key=value". Raises FairtriggerError.
    """
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
                with ReplayClient(url, model.name, token) as client:
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
    from fairtrigger.demo.gallery import draw_all  # torch and matplotlib: seconds that the traffic need not wait for

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
