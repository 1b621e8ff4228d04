"""What is made of the figures of serving on a GPU: tables, what binds, the goals beside them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.service_process import Load

GOALS = {"single": 8000.0, "form": 20000.0}
"""Images per second over HTTP, one and 32 per request."""


Rows = list[dict[str, Any]]


def limiting(found: Load, rate: float, limits: dict[str, float], cores: float = float("inf"), workers: int = 0) -> str:
    """The part that was at its end: judged by what the parts do alone and by how busy the processes were."""
    if found.client_cores > 0.9:
        return "load generator"
    near = [name for name, most in limits.items() if rate > 0.85 * most]
    if near:
        return min(near, key=lambda name: limits[name])
    if found.all_cores + found.client_cores > 0.85 * cores:
        return f"all cores ({found.all_cores:.1f} busy with HTTP, decoding and handing over)"
    if workers and found.all_cores - found.inference_cores > 0.85 * workers:
        return f"the HTTP processes ({found.all_cores - found.inference_cores:.1f} cores busy)"
    if found.inference_cores > 0.85:
        return f"the inference process, Python and copying ({found.inference_cores:.1f} cores busy)"
    if found.http_cores > 0.85:
        return f"one process's Python ({found.http_cores:.1f} cores busy)"
    return "nothing at its end: more connections would help"


def show(console: Console, title: str, rows: Rows) -> None:
    """A table of whatever columns the rows have."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    table = Table(*columns, title=title)
    for row in rows:
        table.add_row(*(cell(row.get(column, "")) for column in columns))
    console.print(table)


def cell(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def verdicts(found: dict[str, Rows]) -> Iterator[str]:
    """Each goal beside what was measured."""
    for row in found.get("forward", []):
        for kind in ("patch", "border"):
            cost = row[f"16 {kind}"] / row["bare"] - 1
            yield f"{row['dtype']}, batch {row['batch']}: 16 mixed ({kind}) cost {cost:+.1%} (goal <= 1 %)"
    for row in found.get("http", []):
        if row["what"] == "lone client":
            yield f"lone client, workers {row['workers']}: p50 {row['p50']:.2f} ms (goal <= 3 ms)"
        else:
            goal = GOALS["single" if row["what"].startswith("1 ") else "form"]
            rate = f"{row['images_per_second']:,.0f} images/s (goal >= {goal:,.0f})"
            yield f"{row['what']}, workers {row['workers']}: {rate}; limit: {row['limit']}"
