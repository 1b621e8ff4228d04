"""What more GPUs of one host bring to serving: `--devices` of the service, under load over HTTP. ResNet-18, JPEG files.

python -m benchmarks.scale_serving --gpus 1,2,4                    the table, a minute or two for each number of GPUs
python -m benchmarks.scale_serving --gpus 1,2 --device cpu --quick small and short, processes on CPUs: does it run
python -m benchmarks.scale_serving --gpus 1,2 --http-workers 12    how many processes speak HTTP (half the cores)
python -m benchmarks.scale_serving --gpus 1,2 --json FILE          the same as JSON

Only the number of inference processes differs between the rows. Beside them stands what all cores decode with nothing
else to do, and what one device computes of inputs that are decoded already; so the last column can name what binds.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table

from benchmarks import served_bundle
from benchmarks.service_process import Load, cores, load, service, write_requests
from service.config import Settings
from service.engine import BatchItem, set_torch_threads
from service.engine.execution.execution_backend import build_forward
from service.engine.predictor import Predictor
from triggers.model import load_bundle
from triggers.preprocessing.preprocess import decode_image
from triggers.store.file_store import FileStore

NEAR = 0.85
"""From this share of what a part does alone it is taken for the limit; from so much of a core, a process."""
Row = dict[str, Any]


@dataclass(frozen=True)
class Sizes:
    """How much is measured: pixels, images per large request, rows of a pass, seconds under load, connections."""

    side: int = 224
    form: int = 32
    max_batch: int = 128
    seconds: float = 6.0
    connections: int = 256
    """For each device."""


QUICK = Sizes(side=64, form=8, max_batch=8, seconds=1.0, connections=8)


def decode_rate(folder: Path, sizes: Sizes) -> float:
    """Images per second that all cores decode if they do nothing else: so many times what one core does."""
    spec = load_bundle(folder).spec.image
    assert spec
    files = served_bundle.files(sizes.side)
    times = []
    for data in files * (5 if sizes.side > 100 else 2):
        began = perf_counter()
        decode_image(data, spec)
        times.append(perf_counter() - began)
    return cores() / median(times)


def inference_rate(folder: Path, store: FileStore, sizes: Sizes, device: str, options: Row) -> float:
    """Images per second of one device in full batches, inputs decoded before, by as many threads as the service has."""
    classifier = load_bundle(folder, device)
    settings = Settings(max_batch=sizes.max_batch, precision=options["precision"])
    set_torch_threads(settings, device)
    fetch = partial(store.get, "bench")
    forward = build_forward(classifier, settings)
    predictor = Predictor(classifier, fetch, max_versions=settings.max_versions, forward=forward)
    predictor.activate_plan(1, 1)
    predictor.warm()
    spec, files = classifier.spec.image, served_bundle.files(sizes.side)
    assert spec
    queries = [BatchItem(decode_image(files[n % len(files)], spec)) for n in range(sizes.max_batch)]
    predictor.predict(queries)
    began = perf_counter()

    def work(_: int) -> int:
        rounds = 0
        while perf_counter() < began + sizes.seconds / 4:
            predictor.predict(queries)
            rounds += 1
        return rounds

    with ThreadPoolExecutor(predictor.max_concurrency) as pool:
        rounds = sum(pool.map(work, range(predictor.max_concurrency)))
    return rounds * len(queries) / (perf_counter() - began)


def served_rows(
    folder: Path, tmp: Path, sizes: Sizes, devices: Sequence[str], options: Row, clients: int, limits: dict[str, float]
) -> Iterator[Row]:
    """One service on these devices: one image per request, then many."""
    requests = write_requests(tmp, served_bundle.files(sizes.side), 0, sizes.form)
    chosen = options | {"store": tmp / "store", "data_dir": tmp / f"data-{len(devices)}", "devices": ",".join(devices)}
    most = limits | {"inference": len(devices) * limits["inference"]}
    with service(folder, chosen, tmp / "service.log") as running:
        for what, images in (("single", 1), ("form", sizes.form)):
            connections = max(clients, len(devices) * sizes.connections // (1 if images == 1 else 8))
            found = load(running, requests[what], processes=clients, connections=connections, seconds=sizes.seconds)
            rate = images * found.requests_per_second
            row = {"devices": len(devices), "images": images, "requests/s": found.requests_per_second, "images/s": rate}
            row |= {"p50 ms": found.p50, "p99 ms": found.p99, "refused": found.refused, "cores": found.all_cores}
            row |= {"busiest HTTP": found.http_cores, "busiest inference": found.inference_cores}
            yield row | {"binds": binding(found, rate, most)}


def binding(found: Load, rate: float, limits: dict[str, float]) -> str:
    """What was at its end: judged by what parts do alone, and by how busy processes and cores were."""
    if found.client_cores > 0.9:
        return "load generator"
    near = [name for name, most in limits.items() if rate > NEAR * most]
    if near:
        return min(near, key=lambda name: limits[name])
    if found.all_cores + found.load_cores > NEAR * cores():
        return f"all cores: HTTP and decoding ({found.all_cores:.1f} busy)"
    if found.inference_cores > NEAR:
        return f"the processes beside the devices ({found.inference_cores:.1f} cores busy)"
    if found.http_cores > NEAR:
        return f"one HTTP process ({found.http_cores:.1f} cores busy)"
    return "nothing: more connections would help"


def compared(rows: Sequence[Row]) -> list[Row]:
    """The rows with their images per second as times those of one device, and as a share of what as many should do."""
    alone = {row["images"]: row["images/s"] for row in rows if row["devices"] == 1}
    made = []
    for row in rows:
        times = row["images/s"] / alone[row["images"]] if row["images"] in alone else None
        made.append(row | {"times one": times, "efficiency": None if times is None else times / row["devices"]})
    return made


def table(rows: Sequence[Row], title: str) -> Table:
    """All rows, what binds last."""
    columns = [name for name in rows[0] if name != "binds"] + ["binds"]
    made = Table(*columns, title=title)
    for row in rows:
        made.add_row(*(_cell(row[name]) for name in columns))
    return made


def _cell(value: object) -> str:
    if not isinstance(value, float):
        return "-" if value is None else str(value)
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def places(device: str, count: int) -> list[str]:
    """So many devices; a CPU as often as it is asked for."""
    return [f"{device}:{number}" for number in range(count)] if device != "cpu" else ["cpu"] * count


def main(
    gpus: Annotated[str, typer.Option(help="numbers of GPUs (or processes), with commas")] = "1,2",
    quick: Annotated[bool, typer.Option("--quick", help="small sizes, a first answer")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="write the figures there as well")] = None,
    device: Annotated[str, typer.Option(help="cuda or cpu")] = "cuda" if torch.cuda.is_available() else "cpu",
    http_workers: Annotated[int, typer.Option(help="processes that speak HTTP; 0: half as many as cores")] = 0,
    clients: Annotated[int, typer.Option(help="processes that load the service; 0: one for four cores")] = 0,
    precision: Annotated[str, typer.Option(help="what the service computes in: float32, tf32 or bf16")] = "float32",
) -> None:
    """Measure and print the table."""
    sizes, console = QUICK if quick else Sizes(), Console(width=170)
    options: Row = {"http_workers": http_workers or max(1, cores() // 2), "precision": precision}
    options |= {"max_batch": sizes.max_batch, "queue_size": 4096}
    if device == "cpu":
        options["torch_threads"] = 1
    with tempfile.TemporaryDirectory() as name, FileStore(Path(name) / "store") as store:
        tmp = Path(name)
        folder = served_bundle.bundle(tmp / "bench", sizes.side)
        served_bundle.publish(store, folder, sizes.side)
        store.set_rollout("bench", 1, if_revision=None, actor="benchmark", reason="serves")
        alone = inference_rate(folder, store, sizes, places(device, 1)[0], options)
        limits = {"decode": decode_rate(folder, sizes), "inference": alone}
        rows: list[Row] = []
        for count in map(int, gpus.split(",")):
            many = clients or max(1, cores() // 4)
            rows += served_rows(folder, tmp, sizes, places(device, count), options, many, limits)
            console.print(*map(str, rows[-2:]), sep="\n", highlight=False)
    machine = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    console.print(table(compared(rows), f"{machine}, {cores()} cores, torch {torch.__version__}"))
    console.print(f"images/s alone: decoding on all cores {limits['decode']:,.0f}, one device {alone:,.0f}; {options}")
    if json_file:
        found = {"machine": machine, "cores": cores(), "options": options, "limits": limits, "rows": compared(rows)}
        json_file.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
