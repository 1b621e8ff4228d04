"""Serve what a configuration trained, and replay its test part over HTTP: first bare, then under the trigger.

The inputs are the data's own bytes and words; labels and groups come late, through feedback. The table shows what the
service's fairness endpoint says. `python -m examples.celeba` and `python -m examples.hatexplain` are this program.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console

from fairtrigger.demo.fairness_table import fairness_table
from fairtrigger.demo.live_service import ReplayClient, Row, running_service
from trainer.config import RunConfig, load_config
from trainer.data import DataLoader
from trainer.progress import Progress, open_progress
from trainer.publish import store_url
from triggers.errors import DataError, FairtriggerError
from triggers.model import load_bundle
from triggers.model.bundle import read_spec
from triggers.store import open_store

Document = dict[str, Any]
CLIENTS = 8


def quiet_transformers(config: RunConfig) -> None:
    """Its load reports and bars would tear a text example's own progress apart."""
    if config.modality == "text":
        from transformers.utils import logging

        logging.set_verbosity_error()
        logging.disable_progress_bar()


def held_out(config: RunConfig, cache: Path, progress: Progress) -> list[Row]:
    """The test part as clients would send it. `cache` is the trainer's folder of decoded data."""
    classifier = load_bundle(config.model.bundle)
    loader = DataLoader(config, classifier.labels, cache, progress)
    test = loader.load(classifier, "test")
    labels, groups = test.labels.tolist(), test.groups.tolist()
    return [
        Row(content, test.label_names[label], test.group_names[group])
        for (_, content), label, group in zip(loader.raw("test"), labels, groups, strict=True)
    ]


def recommended(folder: Path) -> str:
    """The version that the training run in `folder` recommends. Raises DataError."""
    try:
        report = json.loads((folder / "metrics.json").read_bytes())
    except OSError as error:
        raise DataError(f"Cannot read {folder / 'metrics.json'}: train first, or name a --version.") from error
    for candidate in report["candidates"]:
        if candidate["strength"] == report["best"] and candidate["published"]:
            return f"v{candidate['published']['version']}"
    raise DataError(
        f"{folder / 'metrics.json'} recommends no trigger: {' '.join(report['notes'])} Or name a --version."
    )


def published(config: RunConfig) -> list[str]:
    """All versions of the model in the configuration's store, oldest first."""
    with open_store(store_url(config), create=False) as store:
        return [f"v{info.version}" for info in store.versions(read_spec(config.model.bundle).name)]


def replay(client: ReplayClient, rows: Sequence[Row], versions: Sequence[str], progress: Progress) -> Document:
    """Bare, then under each version after a live swap: what the clients saw (`passes`) and the service's `fairness`."""
    passes = []
    for version in (None, *versions):
        client.swap(version, "replay of the test part")
        traffic = client.replay(rows, version, CLIENTS)
        shown = f"{traffic.requests} requests in {traffic.seconds:.1f} s, median {traffic.median_ms:.1f} ms"
        progress.note(f"replayed under {version or 'no trigger'}: {shown}")
        passes.append({"version": version or "bare", **asdict(traffic)})
    return {"passes": passes, "fairness": client.fairness()}


def serve_and_replay(
    config: RunConfig, rows: Sequence[Row], versions: Sequence[str], device: str, progress: Progress
) -> Document:
    """The same with a service of its own, started for it and ended after it; its counts start from nothing."""
    bundle, model = config.model.bundle, read_spec(config.model.bundle).name
    with tempfile.TemporaryDirectory() as data:
        with running_service([bundle], store_url(config), Path(data), device) as (url, token):
            with ReplayClient(url, model, token) as client:
                return replay(client, rows, versions, progress)


def program(path: Path) -> typer.Typer:
    """The command line of an example whose configuration is `path`."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

    @app.command(
        help=f"Serve the model and triggers that {path.parent.name}/{path.name} made, and replay its test part."
    )
    def run(
        version: Annotated[list[str] | None, typer.Option(help="such as v3; default: the recommended one")] = None,
        every: Annotated[bool, typer.Option("--every", help="replay under every published version")] = False,
        overrides: Annotated[list[str] | None, typer.Option("--set", help="as given to the trainer")] = None,
        url: Annotated[str | None, typer.Option(help="a service that runs already, such as http://host:8080")] = None,
        token: Annotated[str, typer.Option(envvar="FAIRTRIGGER_ADMIN_TOKEN", help="its admin token")] = "",
        device: Annotated[str, typer.Option(help="where a service of our own runs: cpu or cuda")] = "cpu",
        as_json: Annotated[bool, typer.Option("--json", help="print JSON instead of a table")] = False,
    ) -> None:
        try:
            config = load_config(path, overrides or ())
            quiet_transformers(config)
            folder = config.model.bundle.parent
            with open_progress(sys.stderr) as progress:
                rows = held_out(config, folder.parent / "data-cache", progress)
                versions = published(config) if every else version or [recommended(folder)]
                if url:
                    with ReplayClient(url, read_spec(config.model.bundle).name, token) as client:
                        found = replay(client, rows, versions, progress)
                else:
                    found = serve_and_replay(config, rows, versions, device, progress)
        except FairtriggerError as error:
            raise SystemExit(f"error: {error}") from error
        except httpx.TransportError as error:
            raise SystemExit(f"error: No service answers at {url} ({error}); start one or leave --url out.") from error
        if as_json:
            typer.echo(json.dumps(found, indent=2))
        else:
            title = f"{read_spec(config.model.bundle).name}, {len(rows)} rows of the test part"
            Console().print(fairness_table(found["fairness"], ["bare", *versions], title))

    return app
