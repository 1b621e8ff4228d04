"""The cost of a run: seconds per phase, peak memory, and money where a price is known."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from resource import RUSAGE_SELF, getrusage
from typing import Any

import torch

from trainer.config import RunConfig
from trainer.evaluation import TrainingResult


class Stopwatch:
    """Seconds of the phases that were timed, in their order; a phase entered again adds up."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time the block."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - began


def cost_record(config: RunConfig, result: TrainingResult, watch: Stopwatch, device: torch.device) -> dict[str, Any]:
    """Phases, speed, memory and cost as JSON values.

    `train` is all training of the run, validations and earlier starts included. `learn` of the stopwatch also holds the
    counting of the test split, which is the rest of it, unless the run was resumed: then the rest is not known.
    """
    phases = _phases(watch, result)
    total = sum(seconds for _, seconds in phases)
    strengths = len(result.candidates)
    rows = sum(result.data_counts.get("tuning", {}).values())
    steps = result.steps + (result.search.steps if result.search else 0)
    seen = steps * min(config.train.batch_size, rows or config.train.batch_size)
    kind, peak = peak_memory(device)
    price = config.report.price_per_hour
    return {
        "phases": [[name, round(seconds, 3)] for name, seconds in phases],
        "total_seconds": round(total, 3),
        "steps": steps,
        "strengths": strengths,
        "batch_size": config.train.batch_size,
        "inputs_per_second": round(seen / result.seconds, 1) if result.seconds else None,
        "passes_per_second": round(seen * strengths / result.seconds, 1) if result.seconds else None,
        "device": result.device,
        "peak_memory_bytes": peak,
        "peak_memory_of": kind,
        "price_per_hour": price,
        "currency": config.report.currency,
        "cost": None if price is None else round(price * total / 3600, 4),
    }


def peak_memory(device: torch.device) -> tuple[str, int]:
    """The kind of memory, and the most bytes of it that were in use at once since the process started."""
    if device.type == "cuda":
        return "GPU, allocated by torch", torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return "process, resident", getrusage(RUSAGE_SELF).ru_maxrss * unit


def _phases(watch: Stopwatch, result: TrainingResult) -> list[tuple[str, float]]:
    """prepare, train, evaluate, then whatever else was timed."""
    timed = dict(watch.seconds)
    prepare, learn = timed.pop("prepare", None), timed.pop("learn", None)
    phases = [] if prepare is None else [("prepare", prepare)]
    phases.append(("train", result.seconds))
    if learn is not None and learn >= result.seconds:
        phases.append(("evaluate", learn - result.seconds))
    return [*phases, *timed.items()]
