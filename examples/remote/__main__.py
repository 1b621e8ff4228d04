"""`python -m examples.remote`: a model that is only an address gets a trigger, learned from its scores, and serves."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer
from rich.console import Console

from fairtrigger.demo.fairness_table import fairness_table
from fairtrigger.demo.live_service import ReplayClient, running_service
from trainer.progress import open_progress
from triggers.allow_lists import HOSTS_VARIABLE
from triggers.errors import DataError, EndpointUnavailable, FairtriggerError

HERE = Path(__file__).parent
START_SECONDS = 60.0

HELP = """A frozen model that is only an address gets a fairness trigger, learned from its scores alone.

Starts a small JSON server with an ONNX network on this machine (or takes --url, a server that runs already), wraps its
address, trains within a budget of rows, serves the model under the trigger, and sends held-out pictures over HTTP with
and without it. Without --model and --faces it draws digits and fits a small network to them first.
"""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=HELP)
def main(
    out: Annotated[Path, typer.Option(help="Folder for everything that is made.")] = Path("remote-out"),
    model: Annotated[Path | None, typer.Option(help="dlib's age-v1.onnx, with --faces.")] = None,
    faces: Annotated[Path | None, typer.Option(help="Tar of faces of 64 x 64 pixels and a table of them.")] = None,
    url: Annotated[str | None, typer.Option(help="A server with this network, such as MLServer's V2 address.")] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the example's own JSON server.")] = 8899,
    seed: Annotated[int, typer.Option(min=0, help="Of the digits, their network and the split.")] = 0,
    overrides: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="For the trainer.")] = None,
) -> None:
    """Run the example; ends with 1 and one line if it fails."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the server and the service as well
    if (model is None) != (faces is None):
        raise SystemExit("error: --model and --faces go together; leave out both for digits.")
    try:
        run(out, (model, faces) if model and faces else None, url, port, seed, overrides or [])
    except FairtriggerError as error:
        raise SystemExit(f"error: {error}") from error
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def run(
    out: Path, files: tuple[Path, Path] | None, url: str | None, port: int, seed: int, overrides: Sequence[str]
) -> None:
    """The whole example. Raises FairtriggerError."""
    from examples.remote import subject  # torch: --help need not wait for it

    _claim(out)
    about, console, began = subject.FACES if files else subject.DIGITS, Console(soft_wrap=True), time.monotonic()
    with open_progress(sys.stderr) as progress:
        if files:
            subject.prepare_faces(out, *files)
        else:
            subject.prepare_digits(out, seed, progress)
    with ExitStack() as stack:
        stated: list[str] = []
        if url is None:
            url = stack.enter_context(_json_server(out / subject.SERVER, port))
            stated = ["--endpoint", str(HERE / "endpoint.json")]
        os.environ[HOSTS_VARIABLE] = urlsplit(url).netloc
        _command("fairtrigger", "wrap", url, *stated, *about.wrap_options(), "--out", str(out / "bundle"))
        shutil.copy(about.config, out / "run.toml")  # its relative paths start from `out`
        changes = [f"--set={each}" for each in overrides]
        _command("trainer", str(out / "run.toml"), "--out", str(out / "run"), "--fresh", *changes)
        _serve(out, overrides, console)
    console.print(f"{time.monotonic() - began:.0f} seconds in all. In {out}: run/report.html says what came of it.")


def _claim(out: Path) -> None:
    """Make `out` this example's folder. Raises DataError where it holds something else."""
    mark = out / "remote-example"
    if out.exists() and any(out.iterdir()) and not mark.exists():
        raise DataError(f"{out} holds files that are not this example's; name an empty or new folder with --out.")
    for name in ("bundle", "store", "data"):
        shutil.rmtree(out / name, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    mark.touch()


def _command(module: str, *arguments: str) -> None:
    """Show a command of the product and run it. Raises DataError if it fails."""
    shown = "fairtrigger" if module == "fairtrigger" else f"python -m {module}"
    print(f"\n$ {shown} {shlex.join(arguments)}", flush=True)
    if subprocess.run([sys.executable, "-m", module, *arguments]).returncode:
        raise DataError(f"{shown} failed; it says why above.")


@contextmanager
def _json_server(folder: Path, port: int) -> Iterator[str]:
    """The example's own server; yields its address. Raises EndpointUnavailable."""
    command = [str(HERE / "server.py"), str(folder / "network.onnx"), str(folder / "image.json"), str(port)]
    print(f"\n$ python {shlex.join(command)} &", flush=True)
    with subprocess.Popen([sys.executable, *command]) as process:
        try:
            deadline = time.monotonic() + START_SECONDS
            while not _listens(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise EndpointUnavailable(f"The JSON server did not start; is port {port} free? See --port.")
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}/"
        finally:
            process.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as trial:
        return trial.connect_ex(("127.0.0.1", port)) == 0


def _serve(out: Path, overrides: Sequence[str], console: Console) -> None:
    """Held-out pictures over HTTP, bare and under the trigger, and what the service counted. Raises DataError."""
    from examples.real_run import held_out, replay
    from trainer.config import load_config

    config, hosts = load_config(out / "run.toml", overrides), os.environ[HOSTS_VARIABLE]
    metrics = json.loads((out / "run" / "metrics.json").read_bytes())
    version = _version(metrics)
    service = {"store": out / "store", "data-dir": out / "data", "endpoint-hosts": hosts}
    options = [f"--{name}={value}" for name, value in service.items()]
    print(f"\n$ python -m service {shlex.join(['--model', str(out / 'bundle'), *options])}", flush=True)
    with open_progress(sys.stderr) as progress:
        rows = held_out(config, out / "data-cache", progress)
        running = running_service([out / "bundle"], str(out / "store"), out / "data", endpoint_hosts=hosts)
        with running as (url, token), ReplayClient(url, "remote", token) as client:
            found = replay(client, rows, [version], progress)
    title = f"{len(rows)} held-out pictures, as the service counted them"
    console.print("", fairness_table(found["fairness"], ("bare", version), title))
    console.print(_queries(metrics["queries"], config.report.currency))


def _version(metrics: dict[str, Any]) -> str:
    """The published version that validation recommends, or else the one that the report looks at."""
    if metrics["best"] is None:
        print("Validation recommends no trigger, for the reasons above; the report's is shown.")
    (shown,) = (each for each in metrics["candidates"] if each["strength"] == metrics["shown"])
    return f"v{shown['published']['version']}"


def _queries(queries: dict[str, Any], currency: str) -> str:
    spent = ", ".join(f"{rows:,} for {purpose}" for purpose, rows in queries["spent"].items())
    price = "" if queries["cost"] is None else f"; {queries['cost']:.2f} {currency} at the stated price"
    known = queries["total"] - queries["asked"]
    before = f" {known:,} of them were known from an earlier run." if known else ""
    return f"Training asked {queries['total']:,} rows of {queries['budget']:,} at most ({spent}){price}.{before}"


if __name__ == "__main__":
    app(prog_name="python -m examples.remote")
