"""How fast a training step is, beside the published code's, and what it is made of. Synthetic inputs, random weights.

python -m benchmarks.train                on a GPU: the whole table, about three minutes
python -m benchmarks.train --quick        small sizes, also on a CPU: does it run, and in which order
python -m benchmarks.train --json FILE    the same as JSON

Medians over repeats after warming up; the floor is arithmetic and bytes over rates measured in the same run.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.official import image_step, text_step
from benchmarks.synthetic import (
    CELEBA,
    QUICK,
    RESNET18_MACS,
    Sizes,
    image_batch,
    image_classifier,
    text_batch,
    text_classifier,
)
from trainer.config import ObjectiveConfig, TrainConfig
from trainer.data import Batches, Dataset
from trainer.distributed import ProcessGroup
from trainer.training.objectives.objective_step import StepConfig
from trainer.training.step import TriggerOptimizer
from trainer.training.vjp import forward_with_vjp
from triggers.model import FrozenClassifier
from triggers.preprocessing import TextBatch
from triggers.trigger.image_trainable import build_image_module
from triggers.trigger.text import Position
from triggers.trigger.text_trainable import build_text_module


@dataclass(frozen=True)
class Timing:
    """One line of the table: median and fastest milliseconds of a step, and peak memory in GiB (None on a CPU)."""

    what: str
    milliseconds: float
    fastest: float
    peak_gib: float | None


def timed(what: str, step: Callable[[], object], repeats: int, device: torch.device) -> Timing:
    """Median over `repeats` single steps after three to warm up, each waited for."""
    for _ in range(3):
        step()
    _wait(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    times = []
    for _ in range(repeats):
        began = perf_counter()
        step()
        _wait(device)
        times.append((perf_counter() - began) * 1e3)
    peak = torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else None
    return Timing(what, median(times), min(times), peak)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def learner_for(
    classifier: FrozenClassifier,
    kind: str,
    strengths: tuple[float, ...],
    train: TrainConfig,
    world: ProcessGroup | None = None,
    *,
    border: int = 20,
    position: Position = "before_sep",
    **objective: Any,
) -> TriggerOptimizer:
    """Our learner with the published objective, K = len(strengths)."""
    if image := classifier.spec.image:
        module: Any = build_image_module(
            kind, count=len(strengths), channels=3, size=image.height, seed=0, width=border
        )
    else:
        matrix = classifier.embedding_matrix.float()
        allowed = torch.ones(len(matrix), dtype=torch.bool)
        module = build_text_module(
            kind,
            count=len(strengths),
            tokens=5,
            position=position,
            matrix=matrix,
            vocabulary=["word"] * len(matrix),
            allowed=allowed,
            seed=0,
        )
    step = StepConfig(ObjectiveConfig(strengths=strengths, **objective), 2, 10**6)
    return TriggerOptimizer(classifier, module, train, step, world)


def ours(
    classifier: FrozenClassifier, kind: str, batch: Dataset, train: TrainConfig, k: int = 1, **objective: Any
) -> Callable[[], object]:
    """One call is one step of our trainer with K strengths."""
    learner = learner_for(classifier, kind, tuple(float(2 + s) for s in range(k)), train, **objective)
    return lambda: learner.step(0, batch)


def bare(classifier: FrozenClassifier, kind: str, batch: Dataset, train: TrainConfig) -> Callable[[], object]:
    """The frozen model alone, without any gradient."""
    learner = learner_for(classifier, kind, (1.0,), train)
    bank = learner.module.render()

    def run() -> object:
        with torch.no_grad():
            return forward_with_vjp(learner.fast, batch.inputs, bank, learner.dtype, antisymmetric=True)

    return run


@contextmanager
def cudnn(enabled: bool) -> Iterator[None]:
    """cuDNN off, as the published code ships, or on, with the fastest algorithms looked for."""
    backend = torch.backends.cudnn
    before = backend.enabled, backend.benchmark
    backend.enabled, backend.benchmark = enabled, enabled
    try:
        yield
    finally:
        backend.enabled, backend.benchmark = before


def image_timings(sizes: Sizes, device: torch.device, compiled: bool) -> Iterator[Timing]:
    """The image step: published code with and without cuDNN, ours step by step faster, a front of six strengths."""
    batch, classifier = image_batch(sizes, device), image_classifier(sizes.side, device)
    assert isinstance(batch.inputs, Tensor)
    repeats = sizes.repeats
    for name, on in (("published code as shipped, cuDNN off", False), ("published code, cuDNN on", True)):
        with cudnn(on):
            step = image_step(classifier.network, batch.inputs, batch.labels, batch.groups)
            yield timed(f"image: {name}", step, repeats if on else 3, device)
    half = TrainConfig(batch_size=sizes.batch, precision="bf16")
    with cudnn(True):
        yield timed("image: forward alone, bf16", bare(classifier, "border", batch, half), repeats, device)
        full = replace(half, precision="float32")
        yield timed("image: ours, float32", ours(classifier, "border", batch, full), repeats, device)
        two = ours(classifier, "border", batch, half, adversary_input="scores")
        yield timed("image: ours, bf16, two products", two, repeats, device)
        yield timed("image: ours, bf16", ours(classifier, "border", batch, half), repeats, device)
        if compiled:
            fast = replace(half, compile=True)
            yield timed("image: ours, bf16, compiled", ours(classifier, "border", batch, fast), repeats, device)
            yield timed("image: overlay, bf16, compiled", ours(classifier, "overlay", batch, fast), repeats, device)
            yield from _fronts(sizes, batch, classifier, replace(fast, graph=True), device)
            yield _epoch(sizes, classifier, fast, device)


def _fronts(
    sizes: Sizes, batch: Dataset, classifier: FrozenClassifier, train: TrainConfig, device: torch.device
) -> Iterator[Timing]:
    """One strength against six side by side, at the full batch and at an eighth of it, steps recorded."""
    small = image_batch(replace(sizes, batch=max(1, sizes.batch // 8)), device)
    for rows in (batch, small):
        for k in (1, 6):
            step = ours(classifier, "border", rows, train, k)
            yield timed(f"image: {k} strengths, batch {len(rows)}, recorded", step, sizes.repeats, device)
            _release(device)


def _epoch(sizes: Sizes, classifier: FrozenClassifier, train: TrainConfig, device: torch.device) -> Timing:
    """Steps of an epoch over as many images as CelebA's training part, batches drawn as training draws them."""
    images = CELEBA if device.type == "cuda" else 4 * sizes.batch
    shape = (images, 3, sizes.side, sizes.side)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, device=device)
    draws = torch.randint(0, 2, (2, images), device=device)
    data = Dataset(pixels, draws[0], draws[1], (), ("no", "yes"), ("a", "b"))
    batches = Batches(data, sizes.batch, seed=0, flip=True)
    learner = learner_for(classifier, "border", (2.0,), train)
    numbers = iter(range(10**6))

    def step() -> None:
        number = next(numbers)
        learner.step(number, batches.batch(number))

    return timed(f"image: a step within an epoch over {images} images", step, 2 * sizes.repeats, device)


def text_timings(sizes: Sizes, device: torch.device, compiled: bool) -> Iterator[Timing]:
    """The text step: published code, ours step by step faster."""
    batch = text_batch(sizes, device)
    assert isinstance(batch.inputs, TextBatch)
    both = torch.stack([batch.groups] * 8, dim=1)
    published = text_classifier(sizes, device)
    step: Callable[[], object] = text_step(published.network, batch.inputs.ids, batch.labels, both, sizes.tokens)
    yield timed("text: published code as shipped", step, sizes.repeats, device)
    classifier = text_classifier(sizes, device)
    half = TrainConfig(batch_size=sizes.texts, precision="bf16")
    full = replace(half, precision="float32")
    yield timed("text: forward alone, bf16", bare(classifier, "soft", batch, half), sizes.repeats, device)
    yield timed("text: ours, float32", ours(classifier, "soft", batch, full), sizes.repeats, device)
    two = ours(classifier, "soft", batch, half, adversary_input="scores")
    yield timed("text: ours, bf16, two products", two, sizes.repeats, device)
    yield timed("text: ours, bf16", ours(classifier, "soft", batch, half), sizes.repeats, device)
    recorded = replace(half, graph=True)
    yield timed("text: ours, bf16, recorded", ours(classifier, "soft", batch, recorded), sizes.repeats, device)
    if compiled:
        fast = replace(recorded, compile=True)
        for kind in ("soft", "hard", "embedding"):
            step = ours(classifier, kind, batch, fast)
            yield timed(f"text: {kind}, bf16, compiled, recorded", step, sizes.repeats, device)


def floors(sizes: Sizes, device: torch.device) -> list[str]:
    """The least time that arithmetic needs: operations of one pass and one product back, at a rate measured here."""
    rate = _product_rate(device)
    image = 2 * RESNET18_MACS * (sizes.side / 224) ** 2 * sizes.batch
    tokens = sizes.texts * (sizes.length + sizes.tokens)
    per_token = 2 * (12 * sizes.width**2 + 2 * sizes.width * (sizes.length + sizes.tokens))
    text = per_token * sizes.layers * tokens
    return [
        f"{name}: {operations / 1e12:.2f} TFLOP forward, as many back: {2e3 * operations / rate:.2f} ms"
        f" at the {rate / 1e12:.0f} TFLOP/s of a large bf16 product"
        for name, operations in (("image", image), ("text", text))
    ]


def _product_rate(device: torch.device) -> float:
    size = 8192 if device.type == "cuda" else 1024
    left, right = (torch.randn(size, size, dtype=torch.bfloat16, device=device) for _ in range(2))
    taken = timed("product", lambda: left @ right, 10, device).milliseconds
    return 2 * size**3 / taken * 1e3


def _release(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()


def main(
    quick: Annotated[bool, typer.Option("--quick", help="small sizes, a first answer")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="write the figures there as well")] = None,
    device: Annotated[str, typer.Option(help="cuda or cpu")] = "cuda" if torch.cuda.is_available() else "cpu",
    compiled: Annotated[bool, typer.Option(help="time the compiled steps too")] = True,
) -> None:
    """Time the training steps and print the table."""
    place, sizes = torch.device(device), QUICK if quick else Sizes()
    found = []
    for timings in (image_timings, text_timings):
        for timing in timings(sizes, place, compiled):
            print(timing, flush=True)
            found.append(timing)
    name = torch.cuda.get_device_name(place) if place.type == "cuda" else device
    table = Table("step", "median ms", "fastest ms", "peak GiB", title=name)
    for one in found:
        peak = "-" if one.peak_gib is None else f"{one.peak_gib:.2f}"
        table.add_row(one.what, f"{one.milliseconds:.2f}", f"{one.fastest:.2f}", peak)
    console = Console()
    console.print(table)
    for line in floors(sizes, place):
        console.print(f"floor, {line}", highlight=False, soft_wrap=True)
    if json_file:
        json_file.write_text(json.dumps([asdict(one) for one in found], indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
