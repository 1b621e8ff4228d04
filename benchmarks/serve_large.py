"""What triggers cost when large models are served in bf16, and what computing a decoder's trigger once saves.

    python -m benchmarks.serve_large --out docs/results/performance                             on one GPU
    python -m benchmarks.serve_large --decoder llama-tiny --images vit-tiny --device cpu --no-compiled   tried anywhere

Images: recorded passes of a ViT, bare and under 16 mixed triggers, as `benchmarks.serve_gpu` times a ResNet. Texts: 16
rows of a decoder's forward pass, without a trigger, and under 16 mixed ones before the words, whose positions are
computed with every text or once. Mixed lengths: the same rows in one piece and in several. Random weights, no HTTP.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Annotated, Any

import torch
import typer

from benchmarks.large_shapes import SHAPES, Shape
from benchmarks.performance_record import write_record
from benchmarks.serve_gpu import Sizes, recorded_rows
from service.engine.execution.eager_forward import EagerForward
from service.engine.execution.text_forward import TextForward
from triggers.model import FrozenClassifier, Item
from triggers.preprocessing import TokenIds
from triggers.trigger import TextTrigger

BENCHMARK, ROWS, TRIGGER_WIDTH = "serve_large", 16, 5


def decoder_figures(shape: Shape, device: torch.device, repeats: int) -> dict[str, Any]:
    """Milliseconds and ratios for texts of 5 and of 32 words, and of mixed lengths."""
    classifier = shape.classifier(shape.network(device), device)
    figures: dict[str, Any] = {f"words_{words}": _prefix(classifier, words, repeats) for words in (5, 32)}
    lengths = [max(5, shape.length * (n + 1) // ROWS**2 * (n + 1)) for n in range(ROWS)]  # many short, few long
    forward, bare = TextForward(classifier), [classifier.null_trigger()]
    texts = [_text(classifier, words) for words in lengths]
    taken = _interleaved(
        {"one_piece": EagerForward(classifier).bind(bare), "pieces": forward.bind(bare)}, texts, [0] * ROWS, repeats
    )
    figures["mixed_lengths"] = {**taken, "gain": taken["one_piece"] / taken["pieces"]}
    return figures


def _prefix(classifier: FrozenClassifier, words: int, repeats: int) -> dict[str, float]:
    """16 rows of so many words under 16 triggers."""
    drawn, width = torch.Generator().manual_seed(0), classifier.embedding_matrix.shape[1]
    vectors = torch.randn(ROWS, TRIGGER_WIDTH, width, generator=drawn) * 0.02
    triggers = [TextTrigger("embedding", "after_cls", each) for each in vectors]
    null = classifier.null_trigger()
    bare = EagerForward(classifier).bind([null])
    passes: dict[str, Callable[..., object]] = {
        "bare": lambda items, rows: bare(items, [0] * len(rows)),
        "whole": EagerForward(classifier).bind([null, *triggers]),
        "once": TextForward(classifier).bind([null, *triggers]),
    }
    texts = [_text(classifier, words) for _ in range(ROWS)]
    taken = _interleaved(passes, texts, list(range(1, ROWS + 1)), repeats)
    return {**taken, "gain": taken["whole"] / taken["once"], "mixed_16_cost": taken["once"] / taken["bare"] - 1}


def _text(classifier: FrozenClassifier, words: int) -> Item:
    template = classifier.template
    return TokenIds((*template.prefix, *range(3, 3 + words), *template.suffix), truncated=False)


def _interleaved(
    passes: Mapping[str, Callable[..., object]], items: Sequence[Item], rows: Sequence[int], repeats: int
) -> dict[str, float]:
    """Median milliseconds of each pass, which take turns; its scores on the CPU are waited for."""
    times: dict[str, list[float]] = {name: [] for name in passes}
    for number in range(2 + repeats):
        for name, run in passes.items():
            began = perf_counter()
            run(items, rows)
            if number > 1:
                times[name].append((perf_counter() - began) * 1e3)
    return {name: median(each) for name, each in times.items()}


def image_figures(shape: Shape, device: torch.device, repeats: int, compiled: bool) -> dict[str, Any]:
    """Costs of 16 mixed patches and of 16 borders for a batch, as shares of the bare model's time."""
    classifier = shape.classifier(shape.network(device), device)
    sizes = replace(Sizes(), side=shape.config["image_size"], batches=(min(64, shape.batch),), repeats=repeats)
    (row,) = recorded_rows(classifier, (torch.bfloat16,), sizes, device, compiled)
    bare = row["bare"]
    return {**row, "mixed_16_cost": row["16 patch"] / bare - 1, "borders_cost": row["16 border"] / bare - 1}


def main(
    decoder: Annotated[str, typer.Option(help="a decoder of benchmarks/large_shapes.py")] = "llama-8b",
    images: Annotated[str, typer.Option(help="an image model of it")] = "vit-l",
    repeats: Annotated[int, typer.Option(help="timed passes")] = 25,
    compiled: Annotated[bool, typer.Option(help="compile the image model")] = True,
    out: Annotated[Path | None, typer.Option(help="folder of the record")] = None,
    device: Annotated[str, typer.Option(help="cuda or cpu")] = "cuda" if torch.cuda.is_available() else "cpu",
) -> None:
    """Measure and print; with --out as a record too."""
    place = torch.device(device)
    with torch.inference_mode():
        figures = {
            **image_figures(SHAPES[images], place, repeats, compiled),
            **decoder_figures(SHAPES[decoder], place, repeats),
        }
    for name, value in figures.items():
        print(f"{name}: {value}")
    if out:
        gpu = torch.cuda.get_device_name(place) if place.type == "cuda" else ""
        print(write_record(BENCHMARK, [f"benchmarks.{BENCHMARK}", *sys.argv[1:]], figures, folder=out, gpu=gpu))


if __name__ == "__main__":
    typer.run(main)
