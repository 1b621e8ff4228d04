"""Samples of `benchmarks.serve` to tables: medians, their spread, and ratios to the best peer or to another line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from rich.table import Table

from benchmarks.servers import OURS

PLAIN = "one trigger"
WAYS = "triggers: "


@dataclass(frozen=True)
class Sample:
    """One run of one server: requests per second, latencies, CPU per request, idle CPU of one core, memory."""

    model: str
    server: str
    what: str
    connections: int
    rate: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    idle_percent: float
    memory_mb: float


@dataclass(frozen=True)
class Line:
    """All runs of one kind."""

    samples: Sequence[Sample]

    def middle(self, name: str) -> float:
        """Median of one figure."""
        return float(median(getattr(sample, name) for sample in self.samples))

    def spread(self, name: str) -> str:
        """Median and range of one figure, such as 4200 (4100 to 4300)."""
        values = [getattr(sample, name) for sample in self.samples]
        return f"{median(values):.0f} ({min(values):.0f} to {max(values):.0f})"


def lines(samples: Sequence[Sample]) -> dict[tuple[str, int, str, str], Line]:
    """Runs of one kind together, by (model, connections, what, server), in the order in which they came."""
    kinds = dict.fromkeys((each.model, each.connections, each.what, each.server) for each in samples)
    return {
        kind: Line([each for each in samples if (each.model, each.connections, each.what, each.server) == kind])
        for kind in kinds
    }


def best_peer(samples: Sequence[Sample], model: str, connections: int) -> float | None:
    """The highest median rate of a peer, in requests per second; None if none was measured."""
    rates = [
        line.middle("rate")
        for (name, at, what, server), line in lines(samples).items()
        if (name, at, what) == (model, connections, PLAIN) and not server.startswith(OURS)
    ]
    return max(rates, default=None)


def peers_table(samples: Sequence[Sample]) -> Table:
    """Every server at every number of connections."""
    table = Table("model", "connections", "server", title="Requests with one image: medians (range)")
    for heading in ("requests/s", "of best peer", "p50 ms", "p99 ms", "CPU ms", "idle CPU %", "memory MB"):
        table.add_column(heading, justify="right")
    for (model, connections, what, server), line in sorted(lines(samples).items()):
        if what != PLAIN:
            continue
        best = best_peer(samples, model, connections)
        table.add_row(
            model,
            str(connections),
            server,
            line.spread("rate"),
            f"{line.middle('rate') / best:.2f}" if best else "-",
            f"{line.middle('p50_ms'):.1f}",
            f"{line.middle('p99_ms'):.1f}",
            f"{line.middle('cpu_ms'):.3f}",
            f"{line.middle('idle_percent'):.1f}",
            f"{line.middle('memory_mb'):.0f}",
        )
    return table


def triggers_table(samples: Sequence[Sample]) -> Table:
    """What triggers cost: one against none, many against one, twins against one."""
    table = Table("model", "triggers", title="Ways to use triggers: medians (range)")
    for heading in ("requests/s", "of bare", "of one trigger", "p99 ms", "CPU ms"):
        table.add_column(heading, justify="right")
    found = {(model, what): line for (model, _, what, _), line in lines(samples).items() if what.startswith(WAYS)}
    for (model, what), line in found.items():
        rate = line.middle("rate")
        table.add_row(
            model,
            what.removeprefix(WAYS),
            line.spread("rate"),
            f"{rate / found[model, f'{WAYS}bare'].middle('rate'):.2f}",
            f"{rate / found[model, f'{WAYS}{PLAIN}'].middle('rate'):.2f}",
            f"{line.middle('p99_ms'):.1f}",
            f"{line.middle('cpu_ms'):.3f}",
        )
    return table
