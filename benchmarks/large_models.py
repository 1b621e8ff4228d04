"""Memory and time of a trigger's step for large frozen models: random weights made on the device, no downloads.

    python -m benchmarks.large_models --plan                        by arithmetic, on any machine, a minute or two
    python -m benchmarks.large_models --out runs/large              on one GPU: all three shapes, every variant
    python -m benchmarks.large_models --shape llama-8b --variant recomputed --batch 16 --out runs/large
    torchrun --nproc-per-node 2 -m benchmarks.large_models --shape llama-8b --out runs/large       weights on two GPUs
    python -m benchmarks.large_models --shape llama-tiny --shape vit-tiny --shape deberta-tiny --out runs/tiny

Each line: the frozen weights, what a forward pass keeps for the way back, the peak of a step (on a GPU), the medians of
a forward pass and of a step, and their ratio. Figures go into OUT/large_models.json, beside those that are there.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Annotated

import torch
import typer
from torch import Tensor
from torch.distributed.tensor import DTensor

from benchmarks.large_shapes import SHAPES, Shape
from benchmarks.memory_plan import GIB, plan
from benchmarks.performance_record import read_records, write_record
from benchmarks.train import learner_for
from trainer.config import TrainConfig
from trainer.distributed import ProcessGroup, join_process_group
from trainer.training.kept_activations import bytes_kept
from trainer.training.sharded_weights import shard_weights
from trainer.training.vjp import forward_with_vjp
from triggers.model.bundle import Precision
from triggers.trigger.text import Position

BENCHMARK = "large_models"


@dataclass(frozen=True)
class Variant:
    """One way to hold and to run the frozen model."""

    precision: Precision = "bf16"
    recompute: bool = False
    strengths: int = 1
    sharded: bool = False
    position: Position = "after_cls"


VARIANTS = {
    "plain": Variant(),
    "recomputed": Variant(recompute=True),
    "int8": Variant("int8", recompute=True),
    "int4": Variant("int4", recompute=True),
    "strengths": Variant(recompute=True, strengths=4),
    "behind": Variant(position="before_sep"),
    "behind_strengths": Variant(strengths=4, position="before_sep"),
    "sharded": Variant(recompute=True, sharded=True),
}
"""By the suffix of their figures, which `plain` does without; several processes share the weights out, one does not.

`behind` is a trigger behind the words, for which a decoder computes them once and without a gradient; its forward pass
is one over whole texts.
"""


def measure(
    shape: Shape, variant: Variant, device: torch.device, repeats: int, group: ProcessGroup | None = None
) -> dict[str, float]:
    """Figures of one variant; out of memory is said as such, and is no error."""
    try:
        return _measured(shape, variant, device, repeats, group or ProcessGroup())
    except torch.cuda.OutOfMemoryError as error:
        return {"out_of_memory": 1.0, "peak_gib": torch.cuda.max_memory_allocated() / GIB} | _said(error)
    finally:
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()


def _said(error: Exception) -> dict[str, float]:
    print(f"out of memory: {str(error).splitlines()[0]}")
    return {}


def _measured(
    shape: Shape, variant: Variant, device: torch.device, repeats: int, group: ProcessGroup
) -> dict[str, float]:
    classifier = shape.classifier(shape.network(device, variant.precision), device, variant.precision)
    if variant.sharded:
        classifier = shard_weights(classifier, torch.bfloat16, recompute=variant.recompute)
    batch = shape.inputs(device)
    batch = batch.take(torch.arange(len(batch), device=device), group.part(len(batch)))
    train = TrainConfig(batch_size=shape.batch, precision="bf16", recompute=variant.recompute)
    strengths = tuple(float(2 + number) for number in range(variant.strengths))
    kind = "border" if shape.image else "embedding"
    learner = learner_for(classifier, kind, strengths, train, group, border=shape.border, position=variant.position)
    bank, fast = learner.module.render(), learner.fast

    def forward() -> None:
        with torch.no_grad():
            forward_with_vjp(fast, batch.inputs, bank, torch.bfloat16, antisymmetric=True)

    tensors = (*classifier.network.parameters(), *classifier.network.buffers())
    found = {"weights_gib": sum(_local(tensor).nbytes for tensor in tensors) / GIB}
    found["forward_ms"] = _milliseconds(forward, repeats, device)
    if not variant.sharded:  # where gathered weights would count too
        options = {"antisymmetric": True, "shared_text": learner.shared_text}
        kept = bytes_kept(lambda: forward_with_vjp(fast, batch.inputs, bank, torch.bfloat16, **options), fast.network)
        found["kept_gib"] = kept / GIB
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    found["step_ms"] = _milliseconds(lambda: learner.step(0, batch), repeats, device)
    if device.type == "cuda":
        found["peak_gib"] = torch.cuda.max_memory_allocated() / GIB
    found["step_over_forward"] = found["step_ms"] / found["forward_ms"]
    return found


def _local(weight: Tensor) -> Tensor:
    return weight.to_local() if isinstance(weight, DTensor) else weight


def _milliseconds(run: Callable[[], object], repeats: int, device: torch.device) -> float:
    """Median of single runs, each waited for, after two to warm up."""
    times = []
    for _ in range(2 + repeats):
        began = perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append((perf_counter() - began) * 1e3)
    return median(times[2:])


def _print(name: str, figures: Mapping[str, object]) -> None:
    shown = ", ".join(f"{key} {value:.4g}" for key, value in figures.items() if isinstance(value, int | float))
    print(f"{name}: {shown}", flush=True)


def _chosen(names: Sequence[str] | None, known: Sequence[str]) -> Sequence[str]:
    for name in names or ():
        if name not in known:
            raise typer.BadParameter(f"{name} is none of {', '.join(known)}")
    return names or known


def main(
    shape: Annotated[list[str] | None, typer.Option(help=", ".join(SHAPES))] = None,
    variant: Annotated[list[str] | None, typer.Option(help=", ".join(VARIANTS))] = None,
    batch: Annotated[int | None, typer.Option(help="rows; default the shape's own")] = None,
    repeats: Annotated[int, typer.Option(help="timed runs")] = 10,
    out: Annotated[Path | None, typer.Option(help="folder of the record")] = None,
    only_plan: Annotated[bool, typer.Option("--plan", help="arithmetic alone")] = False,
    device: Annotated[str, typer.Option(help="cuda or cpu")] = "cuda" if torch.cuda.is_available() else "cpu",
) -> None:
    """Measure, or plan, and print; with --out as a record too."""
    large = [name for name in SHAPES if not name.endswith("-tiny")]
    figures: dict[str, Mapping[str, object]] = {}
    with join_process_group("cpu" if device == "cpu" else "cuda") as group:
        place = torch.device(device, torch.cuda.current_device()) if device == "cuda" else torch.device(device)
        ways = [word for word, each in VARIANTS.items() if each.sharded == (group.size > 1)]
        for name in _chosen(shape, list(SHAPES)) if shape else large:
            sized = replace(SHAPES[name], batch=batch or SHAPES[name].batch)
            for word in ["plan"] if only_plan else _chosen(variant, ways):
                if sized.model_type != "llama" and word.startswith("behind"):
                    continue
                key = sized.figures + ("" if word == "plain" else f"_{word}")
                figures[key] = (
                    plan(sized).figures() if only_plan else measure(sized, VARIANTS[word], place, repeats, group)
                )
                if group.is_main_process:
                    _print(f"{name} {word}", figures[key])
    if out and group.is_main_process:
        before = read_records(out)[BENCHMARK].figures if (out / f"{BENCHMARK}.json").exists() else {}
        gpu = torch.cuda.get_device_name(place) if place.type == "cuda" else ""
        command = [f"benchmarks.{BENCHMARK}", *sys.argv[1:]]
        print(write_record(BENCHMARK, command, {**before, **figures}, folder=out, gpu=gpu))


if __name__ == "__main__":
    typer.run(main)
