"""How fast the service is beside LitServe and MLServer, and what triggers cost it: real servers, real HTTP, one wrk.

python -m benchmarks.serve --quick          a first answer within a minute: the small network, one round
python -m benchmarks.serve                  five rounds of everything
python -m benchmarks.serve --json FILE      the same as JSON; with --more, added to the rounds that FILE holds

Every server runs the same network on one thread and gets the same JPEG. All are started, but only the one that is
measured runs; rounds go through all of them in turn, so that a slow minute of the machine meets everybody. CPU time
and memory are those of the whole process tree. A GPU has a program of its own: benchmarks/serve_gpu.py.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.load import Load, load, need_wrk
from benchmarks.peers.model import SIZES
from benchmarks.process_tree import cpu_seconds, memory_mb
from benchmarks.serve_models import VERSIONS, body, make_bundle, make_store
from benchmarks.serve_tables import PLAIN, WAYS, Sample, peers_table, triggers_table
from benchmarks.servers import OURS, PEER_NAMES, Server, our_plan, peer_plan, started

CONNECTIONS = (16, 64)
OUR_WAYS = ((0, ""), (1, ""), (2, ""), (2, "cpu,cpu"))
"""Our ways to run: one process, so many HTTP processes beside the one that holds the model, and beside two such."""
TRIGGERS_AT = 64
"""Connections of the runs that compare ways to use triggers."""


@dataclass(frozen=True)
class Effort:
    """How long to measure: rounds, seconds of one run, of warming up, of watching an idle server."""

    models: tuple[str, ...] = tuple(SIZES)
    rounds: int = 5
    seconds: float = 4
    warm_up: float = 1
    idle: float = 3


QUICK = Effort(models=("tiny",), rounds=1, seconds=2, idle=1)


def trigger_bodies(model: str) -> dict[str, list[bytes]]:
    """What a client asks for in each line of the second table."""
    size = SIZES[model]
    return {
        "bare": [body(size, trigger="none")],
        PLAIN: [body(size)],
        f"{VERSIONS} triggers mixed": [body(size, trigger=f"v{n}") for n in range(1, VERSIONS + 1)],
        "twin on all": [body(size, twin=True)],
    }


def measured(server: Server, model: str, effort: Effort) -> Iterator[Sample]:
    """One round of one server: idle, then every number of connections; ours also in all ways to use triggers."""
    url, plain = server.plan.url, [server.plan.body]
    with server.running():
        load(url, plain, connections=16, seconds=effort.warm_up)
        before = cpu_seconds(server.pid)
        time.sleep(effort.idle)
        idle = (cpu_seconds(server.pid) - before) / effort.idle
        for connections in CONNECTIONS:
            yield _sample(server, model, PLAIN, plain, connections, effort.seconds, idle)
        if server.plan.name == OURS:
            for what, bodies in trigger_bodies(model).items():
                load(url, bodies, connections=TRIGGERS_AT, seconds=effort.warm_up)  # loads the versions
                yield _sample(server, model, f"{WAYS}{what}", bodies, TRIGGERS_AT, effort.seconds, idle)


def _sample(
    server: Server, model: str, what: str, bodies: Sequence[bytes], connections: int, seconds: float, idle: float
) -> Sample:
    before = cpu_seconds(server.pid)
    found: Load = load(server.plan.url, bodies, connections=connections, seconds=seconds)
    cpu = (cpu_seconds(server.pid) - before) / found.requests
    return Sample(
        model=model,
        server=server.plan.name,
        what=what,
        connections=connections,
        rate=found.rate,
        p50_ms=found.p50 * 1e3,
        p99_ms=found.p99 * 1e3,
        cpu_ms=cpu * 1e3,
        idle_percent=idle * 100,
        memory_mb=memory_mb(server.pid),
    )


def rounds(model: str, peers: Sequence[str], effort: Effort, folder: Path, threads: int) -> Iterator[Sample]:
    """Start every server for one model, and measure them in turn."""
    bundle, store = make_bundle(folder / model, model), folder / "store"
    make_store(store, bundle)
    ours = [our_plan(bundle, store, folder, threads, workers, devices) for workers, devices in OUR_WAYS]
    plans = [*ours, *(peer_plan(name, bundle, folder) for name in peers)]
    with started(plans, folder, threads) as servers:
        for _ in range(effort.rounds):
            for server in servers:
                yield from measured(server, model, effort)


def read(path: Path) -> list[Sample]:
    """The samples of an earlier run."""
    return [Sample(**each) for each in json.loads(path.read_text())["samples"]]


def main(
    quick: Annotated[bool, typer.Option(help="the small network and one round: an answer within a minute")] = False,
    peers: Annotated[bool, typer.Option(help="compare with LitServe and MLServer (their packages are fetched)")] = True,
    models: Annotated[str, typer.Option(help=f"which networks, separated by commas: {', '.join(SIZES)}")] = "",
    count: Annotated[int, typer.Option("--rounds", help="rounds through all servers; 0 leaves the default")] = 0,
    threads: Annotated[int, typer.Option(help="torch threads of every server")] = 1,
    json_file: Annotated[Path | None, typer.Option("--json", help="write the samples here")] = None,
    more: Annotated[bool, typer.Option(help="add to the samples that the JSON file holds")] = False,
) -> None:
    """Measure, and print both tables."""
    need_wrk()
    effort = QUICK if quick else Effort()
    wanted = tuple(name for name in models.split(",") if name) or effort.models
    effort = Effort(wanted, count or effort.rounds, effort.seconds, effort.warm_up, effort.idle)
    samples = read(json_file) if json_file and more and json_file.exists() else []
    for model in effort.models:
        with tempfile.TemporaryDirectory() as folder:
            samples += rounds(model, PEER_NAMES if peers else (), effort, Path(folder), threads)
    if json_file:
        json_file.write_text(json.dumps({"samples": [asdict(each) for each in samples]}, indent=1) + "\n")
    console = Console(width=140)
    console.print(peers_table(samples), triggers_table(samples))


if __name__ == "__main__":
    typer.run(main)
