"""How fast the service is on a GPU, and which part of it is the limit. ResNet-18, random weights, JPEG files.

python -m benchmarks.serve_gpu                     a GPU and 16 cores: the whole table
python -m benchmarks.serve_gpu --quick             small and short, also on a CPU: does it run
python -m benchmarks.serve_gpu --workers 0,8,8cpu  HTTP by one process and by several (`--http-workers N`)
python -m benchmarks.serve_gpu --parts forward     some of its parts: forward, decode, process, http
python -m benchmarks.serve_gpu --json FILE         the same as JSON

Forward passes are medians of interleaved runs of the recorded programs; "16 mixed" draws each row's trigger anew. JPEG
files are decoded on the GPU, or where "cpu" stands behind the number of HTTP processes by these.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Annotated, Any

import torch
import typer
from rich.console import Console

from benchmarks import served_bundle
from benchmarks.serve_gpu_tables import Rows, cell, limiting, show, verdicts
from benchmarks.service_process import Load, cores, load, service, write_requests
from service.engine import BatchItem
from service.engine.decoding.gpu import GpuDecoder
from service.engine.execution.execution_backend import build_cuda_graph_forward, set_matmul_precision
from service.engine.predictor import Predictor
from triggers.artifact.artifact import TriggerArtifact
from triggers.model import FrozenClassifier, load_bundle, scores
from triggers.preprocessing import ImageLimits, ImageSpec
from triggers.preprocessing.preprocess import decode_image
from triggers.store.file_store import FileStore

MOMENT = 0.03
"""Seconds that the runs of one measurement take together, unless that were more than 20."""

PARTS = ("forward", "decode", "process", "http")


@dataclass(frozen=True)
class Sizes:
    """How much is measured: pixels, rows of a pass, images per request, seconds under load, client processes."""

    side: int = 224
    batches: tuple[int, ...] = (1, 8, 32, 128)
    form: int = 32
    repeats: int = 25
    seconds: float = 6.0
    clients: int = 3
    connections: int = 192


QUICK = Sizes(side=64, batches=(1, 8), form=8, repeats=5, seconds=1.0, clients=1, connections=8)


def forward_rows(folder: Path, sizes: Sizes, device: torch.device, compiled: bool) -> Iterator[dict[str, Any]]:
    """Milliseconds of recorded forward passes: bare, under one trigger, under 16 mixed, of both kinds."""
    yield from recorded_rows(load_bundle(folder, str(device)), (torch.float32, torch.bfloat16), sizes, device, compiled)


def recorded_rows(
    loaded: FrozenClassifier, dtypes: Sequence[torch.dtype], sizes: Sizes, device: torch.device, compiled: bool
) -> Iterator[dict[str, Any]]:
    """The same of a classifier in memory."""
    for dtype in dtypes:
        fast = loaded.accelerated(dtype, compiled=compiled)
        runs = {}
        for kind in ("patch", "border"):
            forward = build_cuda_graph_forward(fast, max_rows=max(sizes.batches), max_versions=served_bundle.VERSIONS)
            rows = torch.tensor(forward.bank.rows(served_bundle.triggers(kind, sizes.side)), device=device)
            runs[kind] = forward, rows
        fused = runs["patch"][0].recorder.compile_fn(_floats)
        for batch in sizes.batches:
            programs: dict[str, Callable[[], object]] = {}
            for kind, (forward, rows) in runs.items():
                if kind == "patch":
                    bare = forward.recorder.record(
                        partial(_bare, fast, fused, forward.buffers.pixels[:batch], forward.buffers.scores)
                    )
                    programs["bare"] = partial(_turn, forward, bare)
                program = partial(_turn, forward, forward.graphed_fn(batch, kind == "border"))
                slot = forward.buffers.rows[:batch]
                programs[f"one {kind}"] = partial(_after, program, partial(slot.copy_, rows[:1].expand(batch)))
                mixed = rows[torch.arange(batch, device=device) % len(rows)]
                programs[f"16 {kind}"] = partial(_after, program, partial(slot.copy_, mixed))
            yield {"dtype": str(dtype).removeprefix("torch."), "batch": batch} | _interleaved(programs, sizes, device)


def _bare(
    classifier: FrozenClassifier, floats: Callable[..., torch.Tensor], pixels: torch.Tensor, out: torch.Tensor
) -> None:
    """The frozen model alone, as it would be recorded without any trigger."""
    images = floats(classifier.dtype, pixels)
    out[: len(pixels)].copy_(scores(classifier.image_logits(images)))


def _floats(dtype: torch.dtype, pixels: torch.Tensor) -> torch.Tensor:
    """What has to be done to pixels without any trigger, compiled as triggers are."""
    return (pixels.to(torch.float32) / 255.0).to(dtype).permute(0, 3, 1, 2)


def _turn(forward: Any, program: Callable[[], None]) -> None:
    with forward.recorder.stream_scope():
        program()


def _after(program: Callable[[], object], before: Callable[[], object]) -> Callable[[], object]:
    """Set the rows first; what is returned is timed."""
    before()
    return program


def _interleaved(programs: dict[str, Any], sizes: Sizes, device: torch.device) -> dict[str, float]:
    """Median milliseconds of each, in turns, so that a machine that slows down does so for all."""
    times: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(sizes.repeats):
        for name, program in programs.items():
            run = program if name == "bare" else program()
            once = _seconds(run, 1, device)
            count = max(1, min(20, int(MOMENT / once)))
            times[name].append(_seconds(run, count, device) * 1e3)
    return {name: median(found) for name, found in times.items()}


def _seconds(run: Callable[[], object], count: int, device: torch.device) -> float:
    """Of one run, on average over so many."""
    wait(device)
    began = perf_counter()
    for _ in range(count):
        run()
    wait(device)
    return (perf_counter() - began) / count


def wait(device: torch.device) -> None:
    """Until the GPU has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def decode_rows(folder: Path, sizes: Sizes, device: torch.device) -> Iterator[dict[str, Any]]:
    """Images per second that can be decoded, and how far the batched decoder's pixels are from the ordinary one's."""
    spec = load_bundle(folder).spec.image
    assert spec
    files = served_bundle.files(sizes.side)
    total = 2000 if sizes.repeats > 10 else 64
    many = [files[n % len(files)] for n in range(total)]
    for threads in sorted({1, 4, cores()}):
        with ThreadPoolExecutor(threads) as pool:
            began = perf_counter()
            for _ in pool.map(partial(_decode, spec), many):
                pass
            yield {"what": f"CPU, {threads} threads", "images_per_second": total / (perf_counter() - began)}
    decoder, exact = (
        GpuDecoder(spec, ImageLimits(), device),
        torch.stack([decode_image(data, spec) for data in files]),
    )
    for batch in (sizes.form, 4 * sizes.form):
        decoder.decode(many[:batch])
        began = perf_counter()
        for start in range(0, total - batch + 1, batch):
            decoder.decode(many[start : start + batch])
        rate = (total // batch) * batch / (perf_counter() - began)
        yield {"what": f"{device.type} batched, {batch} at once", "images_per_second": rate}
    found = torch.stack([torch.as_tensor(image).cpu() for image in decoder.decode(files)])
    away = (found.int() - exact.int()).abs()
    yield {
        "what": "batched against CPU, levels of 255",
        "mean": float(away.float().mean()),
        "largest": int(away.max()),
        "same": float((away == 0).float().mean()),
    }


def _decode(spec: ImageSpec, data: bytes) -> None:
    """And keep nothing: memory that was never used before costs more than decoding into it."""
    decode_image(data, spec)


def process_rows(
    folder: Path, store: FileStore, sizes: Sizes, device: torch.device, options: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Images per second from files to answers within one process, the next batch decoded while one is computed."""
    classifier = load_bundle(folder, str(device))
    set_matmul_precision(options["precision"])
    dtype = torch.bfloat16 if options["precision"] == "bf16" else torch.float32
    assert classifier.spec.image
    decoder = GpuDecoder(classifier.spec.image, ImageLimits(), device)
    files = served_bundle.files(sizes.side)

    def fetch(version: int) -> TriggerArtifact:
        return store.get("bench", version)

    for batch in (sizes.form, max(sizes.batches)):
        fast = classifier.accelerated(dtype, compiled=options["compile"])
        forward = build_cuda_graph_forward(fast, max_rows=batch, max_versions=served_bundle.VERSIONS)
        predictor = Predictor(classifier, fetch, max_versions=served_bundle.VERSIONS, forward=forward)
        predictor.activate_plan(1, 1)
        predictor.warm()
        many = [files[n % len(files)] for n in range(batch)]
        rounds = max(2, 12_000 // batch if sizes.repeats > 10 else 2)
        with ThreadPoolExecutor(1) as ahead:
            began, coming = perf_counter(), ahead.submit(decoder.decode, many)
            for _ in range(rounds):
                images, coming = coming.result(), ahead.submit(decoder.decode, many)
                predictor.predict([BatchItem(torch.as_tensor(image)) for image in images])
            coming.result()
            taken = perf_counter() - began
        yield {"what": f"files to answers, batches of {batch}", "images_per_second": batch * rounds / taken}
        queries = [BatchItem(decode_image(data, classifier.spec.image)) for data in many]
        with ThreadPoolExecutor(predictor.max_concurrency) as lanes:
            began = perf_counter()
            for _ in lanes.map(predictor.predict, [queries] * rounds):
                pass
            rate = batch * rounds / (perf_counter() - began)
        yield {"what": f"decoded images to answers, batches of {batch}", "images_per_second": rate}


def http_rows(
    folder: Path, tmp: Path, sizes: Sizes, workers: list[str], options: dict[str, Any], found: dict[str, Rows]
) -> Iterator[dict[str, Any]]:
    """Over HTTP: a lone client's latency, one image per request, many per request; and what the limit was."""
    requests = write_requests(tmp, served_bundle.files(sizes.side), served_bundle.VERSIONS, sizes.form)
    for number in workers:
        chosen = options | {"store": tmp / "store", "data_dir": tmp / f"data-{number}"}
        chosen |= {"decoder": "cpu"} if number.endswith("cpu") else {}
        if count := int(number.removesuffix("cpu")):
            chosen |= {"http_workers": count, "decode_threads": max(1, cores() // count)}
        limits = _limits(found, chosen["decoder"])
        with service(folder, chosen, tmp / "service.log") as running:
            alone = load(running, requests["single"], processes=1, connections=1, seconds=sizes.seconds)
            yield _row("lone client", number, 1, alone, "-")
            for what, images in (("single", 1), ("form", sizes.form)):
                connections = sizes.connections if images == 1 else max(sizes.clients, sizes.connections // 3)
                got = load(
                    running,
                    requests[what],
                    processes=sizes.clients,
                    connections=connections,
                    seconds=sizes.seconds,
                )
                rate = images * got.requests_per_second
                yield _row(f"{images} per request", number, images, got, limiting(got, rate, limits, cores(), count))


def _row(what: str, workers: str, images: int, found: Load, limit: str) -> dict[str, Any]:
    rate = images * found.requests_per_second
    return {"what": what, "workers": workers, "images_per_second": rate, **asdict(found), "limit": limit}


def main(
    quick: Annotated[bool, typer.Option("--quick", help="small sizes, a first answer")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="write the figures there as well")] = None,
    device: Annotated[str, typer.Option(help="cuda or cpu")] = "cuda" if torch.cuda.is_available() else "cpu",
    workers: Annotated[str, typer.Option(help="HTTP processes to try; 0: one for all; 8cpu: that decode")] = "0",
    parts: Annotated[str, typer.Option(help="what is measured: forward, decode, process, http")] = ",".join(PARTS),
    seconds: Annotated[float, typer.Option(help="of each load over HTTP; 0: as the sizes say")] = 0.0,
    connections: Annotated[int, typer.Option(help="of one image each; 0: as the sizes say")] = 0,
    decoder: Annotated[str, typer.Option(help="what the service decodes with: gpu or cpu")] = "",
    precision: Annotated[str, typer.Option(help="what the service computes in: float32, tf32 or bf16")] = "float32",
    compiled: Annotated[bool, typer.Option("--compile", help="compile the network too")] = False,
    max_batch: Annotated[int, typer.Option(help="the service's largest batch")] = 128,
) -> None:
    """Measure all parts and print the tables."""
    place, sizes, console = torch.device(device), QUICK if quick else Sizes(), Console(width=170)
    sizes = replace(sizes, seconds=seconds or sizes.seconds, connections=connections or sizes.connections)
    cuda = place.type == "cuda"
    options: dict[str, Any] = {"device": device, "precision": precision, "compile": compiled, "max_batch": max_batch}
    options |= {"decoder": decoder or ("gpu" if cuda else "cpu"), "decode_threads": cores()}
    options |= {"queue_size": 8192, "max_versions": served_bundle.VERSIONS + 1}
    if cuda:
        set_matmul_precision(precision)
    with tempfile.TemporaryDirectory() as name, FileStore(Path(name) / "store") as store:
        tmp = Path(name)
        folder = served_bundle.bundle(tmp / "bench", sizes.side)
        served_bundle.publish(store, folder, sizes.side)
        found: dict[str, Rows] = {}
        machine = torch.cuda.get_device_name(place) if cuda else "CPU"
        console.print(f"{machine}, {cores()} cores, torch {torch.__version__}, service: {options}", highlight=False)
        rows = {
            "forward": forward_rows(folder, sizes, place, compiled),
            "decode": decode_rows(folder, sizes, place),
            "process": process_rows(folder, store, sizes, place, options),
            "http": http_rows(folder, tmp, sizes, workers.split(","), options, found),
        }
        for part in [part for part in PARTS if part in parts.split(",")]:
            found[part] = []
            for row in rows[part]:
                found[part].append(row)
                cells = " ".join(f"{name}={cell(value)}" for name, value in row.items())
                print(part, cells, flush=True)  # at once: who is stopped has what was measured so far
                if json_file:
                    json_file.write_text(json.dumps({"machine": machine, "options": options, **found}, indent=2) + "\n")
            show(console, part, found[part])
    for line in verdicts(found):
        console.print(line, highlight=False)


def _limits(found: dict[str, Rows], decoder: str) -> dict[str, float]:
    """What decoding alone and all but HTTP do, images per second; of CPU cores, so many times what one does."""
    limits = {}
    rates = {row["what"]: row["images_per_second"] for row in found.get("decode", []) if "images_per_second" in row}
    if rates:
        batched = max(rate for what, rate in rates.items() if not what.startswith("CPU"))
        limits["decode"] = batched if decoder == "gpu" else cores() * rates["CPU, 1 threads"]
    kind = "files" if decoder == "gpu" else "decoded"
    inferring = [row["images_per_second"] for row in found.get("process", []) if row["what"].startswith(kind)]
    return limits | ({"inference": max(inferring)} if inferring else {})


if __name__ == "__main__":
    typer.run(main)
