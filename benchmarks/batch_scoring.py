"""What `fairtrigger score` costs beside the bare model's own batch loop, its memory over a long run, and a kill in it.

python -m benchmarks.batch_scoring texts                throughput in rounds, then all of 100,000 texts: minutes
python -m benchmarks.batch_scoring faces                the same with 20,000 faces and a small convolutional network
python -m benchmarks.batch_scoring faces --model resnet18
python -m benchmarks.batch_scoring texts --rows 2000 --round-rows 500 --rounds 1

The rows repeat ../shared/data. The loop is what one would write: a DataLoader with as many workers and the same batch
size, the tokenizer or Pillow, the network, softmax. Both read the same rows in turn, in new processes; the command also
loads the bundle, reads the table and writes Parquet. Ratios are printed, since other work moves the rates.
"""

from __future__ import annotations

import csv
import io
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import cycle, islice
from multiprocessing import get_context
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from statistics import median
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import torch
import typer
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from benchmarks.process_tree import memory_mb
from fairtrigger.demo.tiny_bert import small_bert
from fairtrigger.scoring import read_scores, score
from trainer.data import InputConfig, InputRow, InputTable
from triggers.allow_lists import FACTORIES_VARIABLE
from triggers.model import BundleSpec, FrozenClassifier, load_bundle
from triggers.model.bundle import save_bundle

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
FULL_ROWS = {"texts": 100_000, "faces": 20_000}
BATCH, SAMPLE_SECONDS = 32, 0.25
Task = Literal["texts", "faces"]


class Work(NamedTuple):
    """A table of rows, how the command reads it, the bundle, and the raw inputs of the first rows."""

    table: Path
    words: Sequence[str]
    bundle: Path
    raw: Callable[[int], list[Any]]
    collate: Callable[[list[Any]], dict[str, Tensor]]


class Ratio(NamedTuple):
    """Throughput of the command over the loop's: by the clock, and by processor time, which other work moves less."""

    rows: float
    processor_rows: float


def main(
    task: Annotated[Task, typer.Argument()],
    model: Annotated[Literal["small", "resnet18"], typer.Option()] = "small",
    rows: Annotated[int | None, typer.Option(help="Of the long run.")] = None,
    round_rows: Annotated[int, typer.Option(help="Of each round.")] = 5000,
    rounds: Annotated[int, typer.Option()] = 5,
    workers: Annotated[int, typer.Option()] = os.cpu_count() or 1,
    threads: Annotated[int, typer.Option(help="Of torch, in the rounds; 1 where other work takes cores.")] = 0,
) -> None:
    """Print throughput against the loop, memory over the run, and what a kill cost."""
    os.environ.setdefault(FACTORIES_VARIABLE, "fairtrigger.demo")
    total = rows or FULL_ROWS[task]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        work = MAKERS[task](folder, total, model)
        ratios = [one_round(folder / "few", task, round_rows, model, workers, threads) for _ in range(rounds)]
        shown = " ".join(f"{ratio.rows:.2f}" for ratio in ratios)
        print(f"{task}, {model}: throughput / bare loop's, {rounds} rounds of {round_rows} rows: {shown}")
        print(
            f"{task}, {model}: median {median(each.rows for each in ratios):.2f}, by rows for each second of processor "
            f"time {median(each.processor_rows for each in ratios):.2f}"
        )
        long_run(work, folder / "long.parquet", total, task)
        killed_run(work, folder / "killed.parquet", folder / "long.parquet", total, task)


def texts(folder: Path, rows: int, model: str) -> Work:
    """HateXplain's posts in turn, and a random BERT of the demo's size over their words."""
    with (SHARED / "hatexplain.csv").open(newline="", encoding="utf-8") as file:
        posts = [row["text"] for row in csv.DictReader(file)]
    folder.mkdir(exist_ok=True)
    table = _write(folder / "texts.csv", "text", posts, rows)
    bundle = folder / "posts"
    small_bert(bundle, posts)
    tokenizer = load_bundle(bundle).tokenizer

    def collate(batch: list[str]) -> dict[str, Tensor]:
        made: dict[str, Tensor] = tokenizer(batch, padding=True, truncation=True, return_tensors="pt")
        return {name: made[name] for name in ("input_ids", "attention_mask")}

    return Work(table, [], bundle, lambda count: list(islice(cycle(posts), count)), collate)


def faces(folder: Path, rows: int, model: str) -> Work:
    """CelebA's faces in turn, in their tar file, and a small network with random weights."""
    folder.mkdir(exist_ok=True)
    tar = SHARED / "celeba10k.tar"
    found = InputTable(InputConfig(tar), "image", ())
    listed = [row for row in found.rows() if isinstance(row, InputRow)]
    table = _write(folder / "faces.csv", "path", [row.id for row in listed], rows)
    bundle = image_bundle(folder / "faces", model)
    side = load_bundle(bundle).spec.image
    assert side
    size = (side.width, side.height)

    def collate(batch: list[InputRow]) -> dict[str, Tensor]:
        opened = (Image.open(io.BytesIO(found.read(row))) for row in batch)  # type: ignore[arg-type]
        pixels = [np.asarray(image.convert("RGB").resize(size, Image.Resampling.BILINEAR)) for image in opened]
        images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 255
        return {"images": (images - 0.5) / 0.25}

    return Work(table, ["--root", str(tar)], bundle, lambda count: list(islice(cycle(listed), count)), collate)


def image_bundle(folder: Path, model: str) -> Path:
    """A bundle with random weights: the demo's network at 32 pixels, or a ResNet-18 at 64."""
    torch.manual_seed(0)
    resnet = {"kind": "torchvision", "builder": "resnet18", "kwargs": {"num_classes": 2}}
    small = {"kind": "factory", "target": "fairtrigger.demo.small_cnn:small_cnn"}
    spec = BundleSpec.model_validate(
        {
            "name": "faces",
            "modality": "image",
            "labels": ["no", "yes"],
            "loader": resnet if model == "resnet18" else small,
            "image": {"size": 64 if model == "resnet18" else 32, "mean": [0.5] * 3, "std": [0.25] * 3},
        }
    )
    if model == "resnet18":
        from torchvision.models import get_model

        network = get_model("resnet18", num_classes=2)
    else:
        from fairtrigger.demo.small_cnn import small_cnn

        network = small_cnn()
    save_bundle(folder, spec, network.state_dict())
    return folder


def _write(path: Path, column: str, values: Sequence[str], rows: int) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([column, "group"])
        writer.writerows((value, "ab"[at % 2]) for at, value in enumerate(islice(cycle(values), rows)))
    return path


def one_round(folder: Path, task: Task, rows: int, model: str, workers: int, threads: int) -> Ratio:
    """Throughput of the command over that of the loop, each in a new process, in a random order."""
    seconds: dict[str, tuple[float, float]] = {}
    for way in random.sample(["bare", "ours"], 2):
        with ProcessPoolExecutor(1, get_context("spawn")) as process:
            seconds[way] = process.submit(timed, way, folder, task, rows, model, workers, threads).result()
    return Ratio(*(bare / ours for bare, ours in zip(seconds["bare"], seconds["ours"], strict=True)))


def timed(way: str, folder: Path, task: Task, rows: int, model: str, workers: int, threads: int) -> tuple[float, float]:
    """Seconds, by the clock and of processors, of one way through all rows; modules are imported before."""
    if threads:
        torch.set_num_threads(threads)
    work = MAKERS[task](folder, rows, model)
    loaded = load_bundle(work.bundle)
    began, used = time.perf_counter(), _processor_seconds()
    if way == "bare":
        bare_loop(loaded, work, rows, workers)
    else:
        out = folder / "scores.parquet"
        score(work.bundle, work.table, out, workers=workers, batch_size=BATCH, root=_root(work), overwrite=True)
    return time.perf_counter() - began, _processor_seconds() - used


def _processor_seconds() -> float:
    """Of this process and of its children that ended."""
    both = (getrusage(who) for who in (RUSAGE_SELF, RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in both)


def _root(work: Work) -> str | None:
    return work.words[1] if work.words else None


@torch.inference_mode()
def bare_loop(classifier: FrozenClassifier, work: Work, rows: int, workers: int) -> Tensor:
    """Scores of the network alone over batches in the rows' order."""
    rows_in_order: Any = work.raw(rows)
    loader: DataLoader[Any] = DataLoader(
        rows_in_order,
        batch_size=BATCH,
        num_workers=workers,
        multiprocessing_context="fork",
        collate_fn=work.collate,
    )
    found = []
    for batch in loader:
        output = classifier.network(batch["images"]) if "images" in batch else classifier.network(**batch)
        found.append(torch.softmax(getattr(output, "logits", output), dim=-1))
    return torch.cat(found)


def command(work: Work, out: Path, *more: str) -> list[str]:
    """The command line of a run of all rows."""
    words = ["score", str(work.bundle), str(work.table), "--group", "group", "--out", str(out), *work.words, *more]
    return [sys.executable, "-m", "fairtrigger", *words]


def long_run(work: Work, out: Path, rows: int, task: str) -> None:
    """All rows by the command; memory of the process from a tenth of the time to nine tenths."""
    sizes = []
    began = time.monotonic()
    with subprocess.Popen(command(work, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        parts = out.with_name(f"{out.name}.parts")
        while process.poll() is None:
            if parts.exists():
                sizes.append(memory_mb(process.pid))
            time.sleep(SAMPLE_SECONDS)
    middle = sizes[len(sizes) // 10 : len(sizes) * 9 // 10]
    assert process.returncode == 0 and middle
    spread = max(max(middle) / median(middle), median(middle) / min(middle)) - 1
    print(
        f"{task}: {rows} rows in {time.monotonic() - began:.0f} s; memory from 10 % to 90 % of the run: "
        f"first {middle[0]:.0f} MB, last {middle[-1]:.0f} MB, at most {spread:.1%} off the median"
    )


def killed_run(work: Work, out: Path, whole: Path, rows: int, task: str) -> None:
    """The same, killed at about the middle and started again: the rows are those of the run that was not."""
    parts = out.with_name(f"{out.name}.parts")
    with subprocess.Popen(command(work, out, "--checkpoint-seconds", "1"), stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and _done(parts) < rows // 2:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    done = _done(parts)
    subprocess.run(command(work, out), check=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    largest = 0.0
    count = 0
    for (number, figures), (other, others) in zip(_rows(out), _rows(whole), strict=True):
        count += 1
        assert number == other == count
        largest = max(largest, abs(figures - others))
    print(f"{task}: killed with {done} of {rows} rows on the disk and started again: {count} rows, each once, "
          f"largest difference of a score {largest:.1e}")  # fmt: skip
    assert count == rows


def _done(parts: Path) -> int:
    return max((int(path.stem.split("-")[2]) for path in parts.glob("part-*.parquet")), default=0)


def _rows(out: Path) -> Iterator[tuple[int, float]]:
    record, batches = read_scores(out)
    for columns in batches:
        yield from zip(columns["row"], columns[f"score_{record['labels'][0]}"], strict=True)


MAKERS: Mapping[Task, Callable[[Path, int, str], Work]] = {"texts": texts, "faces": faces}

if __name__ == "__main__":
    typer.run(main)
