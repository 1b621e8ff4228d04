"""What each part of the serving path brings: the service as it is beside the service without that part.

python -m benchmarks.ablation --quick           one short round
python -m benchmarks.ablation                   seven rounds, several minutes
python -m benchmarks.ablation --device cuda     of a network that is recorded as CUDA graphs

All services are started, but only the one that is measured runs. Rounds go through all of them in turn, every other
round backwards. A part is judged by its ratio to the whole service within one round, so that a slow minute of the
machine meets both; the spread over the rounds says what a ratio is worth. CPU time is that of the whole process tree.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median, quantiles
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.ablated_service import PARTS
from benchmarks.load import load, need_wrk
from benchmarks.process_tree import cpu_seconds
from benchmarks.serve_models import make_bundle, make_store
from benchmarks.servers import Plan, Server, our_plan, started

WHOLE = "everything"
CONNECTIONS = (16, 64)


@dataclass(frozen=True)
class Sample:
    """One run of one service: requests per second, CPU milliseconds per request, a latency in milliseconds."""

    round: int
    service: str
    connections: int
    rate: float
    cpu_ms: float
    p99_ms: float


def plans(model: str, folder: Path, threads: int, device: str) -> Iterator[Plan]:
    """The whole service, and one without each part; settings take out what has a setting."""
    bundle, store = make_bundle(folder / model, model), folder / "store"
    make_store(store, bundle)
    settings: dict[str, tuple[str, ...]] = {WHOLE: ()}
    if device == "cpu":
        settings |= {"without inline": ("--inline", "false"), "with 2 HTTP workers": ("--http-workers", "2")}
    else:
        settings |= {"without CUDA graphs": ("--graphs", "false")}
    for name, options in settings.items():
        yield _plan(name, bundle, store, folder, threads, ["service"], ["--device", device, *options])
    for part in PARTS:
        started_by = ["benchmarks.ablated_service", part]
        yield _plan(f"without {part}", bundle, store, folder, threads, started_by, ["--device", device])


def _plan(
    name: str, bundle: Path, store: Path, folder: Path, threads: int, module: Sequence[str], options: Sequence[str]
) -> Plan:
    own = folder / name.replace(" ", "-")
    own.mkdir()
    plan = our_plan(bundle, store, own, threads)
    python, flag, _, *rest = plan.command
    return replace(plan, name=name, command=[python, flag, *module, *rest, *options])


def measured(server: Server, turn: int, seconds: float) -> Iterator[Sample]:
    """One round of one service, at every number of connections."""
    url, bodies = server.plan.url, [server.plan.body]
    with server.running():
        load(url, bodies, connections=CONNECTIONS[0], seconds=1)
        for connections in CONNECTIONS:
            before = cpu_seconds(server.pid)
            found = load(url, bodies, connections=connections, seconds=seconds)
            cpu = (cpu_seconds(server.pid) - before) / found.requests
            yield Sample(turn, server.plan.name, connections, found.rate, cpu * 1e3, found.p99 * 1e3)


def rounds(chosen: Sequence[Plan], folder: Path, count: int, seconds: float, threads: int) -> Iterator[Sample]:
    """Start every service, and measure them in turn."""
    with started(chosen, folder, threads) as servers:
        for turn in range(count):
            for server in servers[:: -1 if turn % 2 else 1]:
                yield from measured(server, turn, seconds)


def ratios(samples: Sequence[Sample], service: str, connections: int, figure: str) -> list[float]:
    """A figure of one service by that of the whole one, round by round."""
    found = {
        name: {each.round: getattr(each, figure) for each in samples if (each.service, each.connections) == kind}
        for name, kind in (("part", (service, connections)), ("whole", (WHOLE, connections)))
    }
    return [value / found["whole"][turn] for turn, value in found["part"].items()]


def spread(values: Sequence[float], digits: int) -> str:
    """Median and quartiles, such as 1.04 (1.02 to 1.07)."""
    low, middle, high = quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def table(samples: Sequence[Sample]) -> Table:
    """Every service at every number of connections."""
    made = Table("connections", "service", title="Requests with one image: medians; ratios with their quartiles")
    for heading in ("requests/s", "to everything", "CPU ms", "to everything", "p99 ms"):
        made.add_column(heading, justify="right")
    for connections, service in sorted(dict.fromkeys((each.connections, each.service) for each in samples)):
        own = [each for each in samples if (each.service, each.connections) == (service, connections)]
        rate, cpu = (ratios(samples, service, connections, figure) for figure in ("rate", "cpu_ms"))
        figures = [f"{median(each.rate for each in own):.0f}", spread(rate, 3)]
        figures += [f"{median(each.cpu_ms for each in own):.3f}", spread(cpu, 3)]
        figures.append(f"{median(each.p99_ms for each in own):.1f}")
        made.add_row(str(connections), service, *figures)
    return made


def main(
    quick: Annotated[bool, typer.Option(help="one short round")] = False,
    model: Annotated[str, typer.Option(help="tiny or resnet18")] = "tiny",
    count: Annotated[int, typer.Option("--rounds", help="rounds through all services")] = 7,
    seconds: Annotated[float, typer.Option(help="of one run")] = 4,
    threads: Annotated[int, typer.Option(help="torch threads of every service")] = 1,
    device: Annotated[str, typer.Option(help="cpu, or cuda for the CUDA graphs too")] = "cpu",
) -> None:
    """Measure, and print the table."""
    need_wrk()
    samples: list[Sample] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        chosen = list(plans(model, folder, threads, device))
        for each in rounds(chosen, folder, 1 if quick else count, 2 if quick else seconds, threads):
            samples.append(each)
            print(each, file=sys.stderr)
    Console(width=140).print(table(samples))


if __name__ == "__main__":
    typer.run(main)
