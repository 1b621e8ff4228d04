"""What more GPUs of one host bring: training steps of triggers, and of all weights beside them, on 1, 2, 4 ... of them.

python -m benchmarks.scale --gpus 1,2                        the whole table, under four minutes on two GPUs
python -m benchmarks.scale --gpus 1,2 --device cpu --quick   small sizes on CPUs (gloo): does it run
python -m benchmarks.scale --gpus 1,2 --json FILE            the same as JSON

Starts torchrun itself, once per number. The batch of a step is the same on every process (weak scaling), but for
front*, where it is shared out (strong scaling). Times are medians of three rounds, each as slow as its slowest process.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.launch import measured

PIECES = {
    "image": "trigger, ResNet-18, step by step",
    "image-recorded": "trigger, ResNet-18, recorded",
    "image-weights": "all weights (AdvPost, DDP), ResNet-18",
    "text": "trigger, BERT, step by step",
    "text-recorded": "trigger, BERT, recorded",
    "text-weights": "all weights (AdvPost, DDP), BERT",
    "front": "front of 8 strengths, rows shared out",
    "front-apart": "front of 8 strengths, strengths shared out",
    "image-same": "image trigger as of one process",
    "text-same": "text trigger as of one process",
}

Result = dict[str, Any]


def efficiency(result: Result, single: Result | None) -> float | None:
    """Rows per second against as many times those of one process; None where that was not measured."""
    if not single or not result.get("milliseconds") or not single.get("milliseconds"):
        return None
    return float(_rate(result) / _rate(single) / result["processes"])


def _rate(result: Result) -> float:
    return float(result["rows"] / result["milliseconds"] * 1e3)


def silence(result: Result) -> float:
    """Share of a step that goes away when nothing is exchanged."""
    return max(0.0, 1 - float(result["alone"]) / float(result["milliseconds"]))


def table(results: Sequence[Result], device: str) -> Table:
    """All results, pieces together."""
    made = Table(
        "what", "GPUs", "ms a step", "rows/s", "times one", "efficiency", "time exchanging", "MB a step", title=device
    )
    for piece, title in PIECES.items():
        for result in (one for one in results if one["piece"] == piece):
            made.add_row(title, str(result["processes"]), *_cells(result, _single(results, piece)))
    return made


def _single(results: Sequence[Result], piece: str) -> Result | None:
    piece = "front" if piece == "front-apart" else piece
    return next((one for one in results if one["piece"] == piece and one["processes"] == 1), None)


def _cells(result: Result, single: Result | None) -> list[str]:
    if not result.get("milliseconds"):
        return [result.get("failed") or "see below"]
    share = efficiency(result, single)
    times = ["-", "-"] if share is None else [f"{share * result['processes']:.2f}", f"{share:.1%}"]
    spent = f"{silence(result):.1%}" if result["exchanged"] else "-"
    return [f"{result['milliseconds']:.2f}", f"{_rate(result):.0f}", *times, spent, f"{result['exchanged'] / 1e6:.3g}"]


def chosen(pieces: str | None, processes: int, device: str) -> list[str]:
    """The pieces that make sense with so many processes on this device, of those that are asked for."""
    wanted = pieces.split(",") if pieces else list(PIECES)
    if unknown := set(wanted) - set(PIECES):
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: choose from {', '.join(PIECES)}.")
    lacking = {name for name in PIECES if device == "cpu" and name.endswith("-recorded")}
    lacking |= {"front-apart", "image-same", "text-same"} if processes == 1 else set()
    return [name for name in wanted if name not in lacking]


def main(
    gpus: Annotated[str, typer.Option(help="numbers of GPUs (or processes), with commas")] = "1,2",
    quick: Annotated[bool, typer.Option("--quick", help="small sizes, a first answer")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="write the figures there as well")] = None,
    device: Annotated[str, typer.Option(help="cuda or cpu")] = "cuda" if torch.cuda.is_available() else "cpu",
    compiled: Annotated[bool, typer.Option(help="compile the frozen model in trigger steps")] = True,
    pieces: Annotated[str | None, typer.Option(help=f"only these, with commas: {', '.join(PIECES)}")] = None,
    limit: Annotated[float, typer.Option(help="seconds for a piece, then it has failed")] = 90.0,
) -> None:
    """Measure and print the table; ends with 1 if a piece failed."""
    options = ["--device", device, *["--quick"] * quick, "--compiled" if compiled else "--no-compiled"]
    results: list[Result] = []
    began = monotonic()
    for processes in map(int, gpus.split(",")):
        for result in measured(processes, chosen(pieces, processes, device), options, limit):
            print(f"{monotonic() - began:.0f} s: {result}", flush=True)
            results.append(result)
            if json_file:
                json_file.write_text(json.dumps(results, indent=2) + "\n")
    name = torch.cuda.get_device_name() if device == "cuda" else device
    Console(width=140).print(table(results, name))
    for result in results:
        if result.get("note"):
            print(f"{PIECES[result['piece']]}, {result['processes']} processes, same global batch: {result['note']}")
    if any("failed" in result for result in results):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
