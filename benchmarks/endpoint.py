"""What it costs to serve the model of an endpoint under a trigger: the endpoint asked directly, and through us.

python -m benchmarks.endpoint                  five rounds, a plain endpoint and MLServer
python -m benchmarks.endpoint --quick          a first answer: the plain endpoint, one round
python -m benchmarks.endpoint --json FILE      the samples too

The endpoint gets one image a request when it is asked directly (a V2 body), as the service does (its own JSON); the
service sends on what queued meanwhile as one batch. Rounds take turns, so that a slow minute of the machine meets both.
Throughput is wrk's; the p99 that is added comes from an open loop at half of the lower throughput.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Annotated
from urllib.parse import urlsplit

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.http_load import Target, at_rate
from benchmarks.load import load, need_wrk
from benchmarks.peers.model import SIZES
from benchmarks.process_tree import cpu_seconds
from benchmarks.serve_models import body, borders, make_bundle, v2_body
from benchmarks.served_trigger import sealed
from benchmarks.servers import Plan, Server, endpoint_plan, proxy_plan, started
from triggers.allow_lists import AllowedHosts
from triggers.model import load_bundle
from triggers.sources.bundle_writer import read_source, write_source_bundle
from triggers.sources.source import WrapOptions
from triggers.store import open_store

ENDPOINTS = ("plain", "MLServer")
CONNECTIONS = (16, 64)
DIRECT, THROUGH = "direct", "fairtrigger"


@dataclass(frozen=True)
class EndpointSample:
    """One run: requests per second at so many connections, latency in an open loop (0 connections), CPU per request."""

    endpoint: str
    model: str
    way: str
    connections: int
    rate: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float


@dataclass(frozen=True)
class Pair:
    """An endpoint and the service in front of it, both frozen until they are measured."""

    endpoint: Server
    service: Server

    def plan(self, way: str) -> Plan:
        """Where a way is asked, and with what."""
        return (self.endpoint if way == DIRECT else self.service).plan

    @contextmanager
    def running(self, way: str) -> Iterator[Plan]:
        """Let run what takes part."""
        with ExitStack() as stack:
            stack.enter_context(self.endpoint.running())
            if way == THROUGH:
                stack.enter_context(self.service.running())
            yield self.plan(way)

    def cpu(self, way: str) -> float:
        """CPU seconds of all that takes part."""
        return cpu_seconds(self.endpoint.pid) + (cpu_seconds(self.service.pid) if way == THROUGH else 0.0)


@contextmanager
def paired(endpoint: str, model: str, encoding: str, folder: Path, threads: int) -> Iterator[Pair]:
    """Start an endpoint, wrap it, publish a trigger, and start the service in front of it."""
    local = make_bundle(folder / model, model)
    with started([endpoint_plan(endpoint, local, folder, v2_body(SIZES[model]))], folder, threads) as (asked,):
        with asked.running(), ExitStack() as stack:
            bundle, store = folder / "wrapped" / model, folder / "store"
            wrap(asked.plan.url, model, encoding, bundle)
            hosts = AllowedHosts.of_url(asked.plan.url)
            classifier = load_bundle(bundle, hosts=hosts)
            with open_store(str(store)) as opened:
                opened.publish(sealed(borders(SIZES[model])[3], classifier), actor="benchmark")
                opened.set_rollout(classifier.name, 1, if_revision=0, actor="benchmark", reason="benchmark")
            plan = proxy_plan(bundle, store, folder, threads, hosts.hosts[0], body(SIZES[model]))
            (service,) = stack.enter_context(started([plan], folder, threads))
            keep = stack.pop_all()
        with keep:
            yield Pair(asked, service)


def wrap(url: str, model: str, encoding: str, folder: Path) -> None:
    """A bundle of the endpoint."""
    options = WrapOptions(
        name=model,
        labels=("no", "yes"),
        image={"size": SIZES[model], "mean": [0.5] * 3, "std": [0.25] * 3},
        head={"kind": "probabilities"},
        endpoint={"protocol": "v2", "encoding": encoding, "input": "image", "output": "scores", "concurrency": 4},
    )
    folder.parent.mkdir(exist_ok=True)
    write_source_bundle(read_source(url, options), folder, options)


def measured(pair: Pair, endpoint: str, model: str, rounds: int, seconds: float) -> Iterator[EndpointSample]:
    """All rounds of one endpoint, direct and through us in turn."""
    rates: dict[str, list[float]] = {DIRECT: [], THROUGH: []}
    for _ in range(rounds):
        for connections in CONNECTIONS:
            for way in (DIRECT, THROUGH):
                with pair.running(way) as plan:
                    load(plan.url, [plan.body], connections=connections, seconds=1)
                    before = pair.cpu(way)
                    found = load(plan.url, [plan.body], connections=connections, seconds=seconds)
                    cpu = (pair.cpu(way) - before) / found.requests * 1e3
                rates[way].append(found.rate)
                yield EndpointSample(
                    endpoint, model, way, connections, found.rate, found.p50 * 1e3, found.p99 * 1e3, cpu
                )
    half = min(median(each) for each in rates.values()) / 2
    for _ in range(rounds):
        for way in (DIRECT, THROUGH):
            with pair.running(way) as plan:
                yield _at_half(plan, endpoint, model, way, half, seconds)


def _at_half(plan: Plan, endpoint: str, model: str, way: str, rate: float, seconds: float) -> EndpointSample:
    parts = urlsplit(plan.url)
    target = Target(str(parts.hostname), int(parts.port or 80), parts.path, plan.body)
    asyncio.run(at_rate(target, rate, 1))
    answers = asyncio.run(at_rate(target, rate, max(seconds, 200 / rate)))
    if failed := [each.status for each in answers if each.status != 200]:
        raise RuntimeError(f"{plan.name} gave {failed[:5]}: no figures from a server that fails.")
    p50, p99 = np.quantile([each.seconds * 1e3 for each in answers], [0.5, 0.99])
    return EndpointSample(endpoint, model, way, 0, rate, float(p50), float(p99), 0.0)


def spread(values: Sequence[float], digits: int = 0) -> str:
    """Median and range."""
    low, middle, high = (f"{each:.{digits}f}" for each in (min(values), median(values), max(values)))
    return f"{middle} ({low} to {high})"


def endpoint_table(samples: Sequence[EndpointSample]) -> Table:
    """A line for each endpoint and load: both ways, their ratio round by round, or the p99 that is added."""
    table = Table(title="An endpoint asked directly, and through the service under a trigger: median (range)")
    for heading in ("endpoint, model", "load", "direct", "through", "ratio, or added"):
        table.add_column(heading)
    for endpoint, model in dict.fromkeys((each.endpoint, each.model) for each in samples):
        mine = [each for each in samples if (each.endpoint, each.model) == (endpoint, model)]
        for connections in dict.fromkeys(each.connections for each in mine):
            direct, through = (
                [each for each in mine if each.connections == connections and each.way == way]
                for way in (DIRECT, THROUGH)
            )
            pairs = list(zip(direct, through, strict=True))
            if connections:
                what, unit = f"{connections} connections", "requests/s"
                figures = [[each.rate for each in way] for way in (direct, through)]
                last = spread([b.rate / a.rate for a, b in pairs], 2)
            else:
                what, unit = f"p99 at {direct[0].rate:.0f}/s", "ms"
                figures = [[each.p99_ms for each in way] for way in (direct, through)]
                last = f"+{spread([b.p99_ms - a.p99_ms for a, b in pairs], 1)} ms"
            digits = 0 if connections else 1
            told = (f"{spread(each, digits)} {unit}" for each in figures)
            table.add_row(f"{endpoint}, {model}", what, *told, last)
    return table


def main(
    quick: Annotated[bool, typer.Option(help="the plain endpoint and one short round")] = False,
    endpoints: Annotated[str, typer.Option(help=f"which, separated by commas: {', '.join(ENDPOINTS)}")] = "",
    models: Annotated[str, typer.Option(help=f"which networks, separated by commas: {', '.join(SIZES)}")] = "tiny",
    encoding: Annotated[str, typer.Option(help="how images travel to the endpoint: png, or pixels")] = "png",
    count: Annotated[int, typer.Option("--rounds", help="rounds; 0 leaves the default")] = 0,
    seconds: Annotated[float, typer.Option(help="seconds of one run")] = 4,
    threads: Annotated[int, typer.Option(help="torch threads of every server")] = 1,
    json_file: Annotated[Path | None, typer.Option("--json", help="write the samples here")] = None,
) -> None:
    """Measure, and print the table."""
    need_wrk()
    wanted = [each for each in endpoints.split(",") if each] or (ENDPOINTS[:1] if quick else ENDPOINTS)
    rounds, seconds = count or (1 if quick else 5), 2 if quick else seconds
    samples: list[EndpointSample] = []
    for endpoint in wanted:
        for model in models.split(","):
            with tempfile.TemporaryDirectory() as folder:
                with paired(endpoint, model, encoding, Path(folder), threads) as pair:
                    samples += measured(pair, endpoint, model, rounds, seconds)
    if json_file:
        json_file.write_text(json.dumps({"samples": [asdict(each) for each in samples]}, indent=1) + "\n")
    Console(width=140).print(endpoint_table(samples))


if __name__ == "__main__":
    typer.run(main)
