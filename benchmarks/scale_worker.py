"""What `benchmarks.scale` has each process do: time pieces of work together, the first process prints a JSON line each.

torchrun --nproc-per-node N -m benchmarks.scale_worker --pieces image,text

A piece that does not end within its limit prints where every thread is, and the process ends.
"""

from __future__ import annotations

import faulthandler
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from statistics import median
from time import perf_counter
from typing import Annotated, TypeAlias

import torch
import torch.distributed as dist
import typer
from torch import Tensor

from benchmarks.agreement import agreement
from benchmarks.data_parallel import ParallelWeightLearner
from benchmarks.synthetic import (
    QUICK,
    Sizes,
    image_batch,
    image_classifier,
    smooth_image_classifier,
    text_batch,
    text_classifier,
)
from benchmarks.train import learner_for
from trainer.baselines.finetune_step import FinetuneOptimizer
from trainer.config import ObjectiveConfig, TrainConfig
from trainer.config.hyperparameters import Hyperparameters
from trainer.data import Dataset
from trainer.distributed import ProcessGroup, join_process_group
from trainer.training.objectives.objective_step import StepConfig
from triggers.model import FrozenClassifier

STRENGTHS = tuple(float(strength) for strength in (1, 2, 3, 5, 8, 12, 20, 30))
"""Of the front."""

KINDS = {"image": "border", "text": "soft"}
"""Of the triggers."""

SMOOTH = {"image": "smooth image", "text": "text"}
"""Networks without kinks."""

WARM = 5
"""Steps before timing: compiling, and recording after the third."""

Step: TypeAlias = Callable[[], object]


@dataclass(frozen=True)
class Measured:
    """A piece done by so many processes: rows of a step, median milliseconds of the slowest process, bytes exchanged.

    `alone` is the same step without any exchange. `note` says what is not a time.
    """

    piece: str
    processes: int
    rows: int
    milliseconds: float | None
    alone: float | None
    exchanged: int
    note: str = ""


@dataclass(frozen=True)
class Silent(ProcessGroup):
    """A world whose processes do not talk: the work of a step without its exchange."""

    def all_gather(self, own: Tensor, rows: int) -> Tensor:
        """Own rows in the place of all."""
        return own.repeat(1, self.size, 1)[:, :rows]

    def all_reduce_sum(self, tensors: Sequence[Tensor]) -> None:
        """Leave the tensors as they are."""


@dataclass(frozen=True)
class Bench:
    """Where and how large; PIECES says which pieces its methods measure."""

    world: ProcessGroup
    device: torch.device
    sizes: Sizes
    compiled: bool

    def trigger_step(self, modality: str, *, recorded: bool) -> Measured:
        """Trigger training with a batch of the full size on each process (weak scaling)."""
        classifier, batch = self._model(modality), self._batch(modality)
        train = TrainConfig(batch_size=len(batch), precision="bf16", compile=self.compiled, graph=recorded)
        together = replace(batch, labels=self._all(batch.labels), groups=self._all(batch.groups))
        learners = [learner_for(classifier, KINDS[modality], (2.0,), train, world=world) for world in self._worlds()]
        times = self._timed([partial(learner.step, 0, together) for learner in learners])
        exchanged = learners[0].bytes_exchanged(len(together)) if self.world.size > 1 else 0
        return self._measured(modality + "-recorded" * recorded, len(together), times, exchanged)

    def weights_step(self, modality: str) -> Measured:
        """Training of all weights (AdvPost) with a batch of the full size on each process."""
        batch = self._batch(modality)
        objective = ObjectiveConfig(strengths=(2.0,))
        recipe = Hyperparameters(1, len(batch), 1e-5, 0.01, "constant", False, False, None, True, 0)
        learners = [
            FinetuneOptimizer(_classifier(modality, self.sizes, self.device), recipe, StepConfig(objective, 2, 10**6))
        ]
        if self.world.size > 1:
            model = _classifier(modality, self.sizes, self.device)
            learners.insert(0, ParallelWeightLearner(model, 2, objective, recipe))
        times = self._timed([partial(learner.step, 0, batch) for learner in learners])
        exchanged = 2 * 4 * sum(parameter.numel() for parameter in learners[0].parameters)
        exchanged = exchanged if self.world.size > 1 else 0
        return self._measured(f"{modality}-weights", len(batch) * self.world.size, times, exchanged)

    def front(self, *, apart: bool) -> Measured:
        """Eight strengths at one global batch: each process has its part of the rows or, `apart`, of the strengths."""
        classifier, batch = self._model("image"), self._batch("image")
        train = TrainConfig(batch_size=len(batch), precision="bf16")
        strengths = STRENGTHS[self.world.rank :: self.world.size] if apart else STRENGTHS
        part = batch if apart else self._own(batch)
        worlds = [ProcessGroup()] if apart else self._worlds()
        learners = [learner_for(classifier, "border", strengths, train, world=world) for world in worlds]
        times = self._timed([partial(learner.step, 0, part) for learner in learners])
        exchanged = 0 if apart or self.world.size == 1 else learners[0].bytes_exchanged(len(batch))
        return self._measured("front-apart" if apart else "front", len(batch), times, exchanged)

    def same(self, modality: str) -> Measured:
        """Is the trigger the one that a single process trains at the same global batch? On a network without kinks."""
        rows = 8 * self.world.size
        kind, sizes = KINDS[modality], replace(self.sizes, batch=4 * rows, texts=4 * rows)
        data = (image_batch if modality == "image" else text_batch)(sizes, self.device)
        note = agreement(self._model(SMOOTH[modality]), kind, data, rows, self.world)
        return Measured(f"{modality}-same", self.world.size, rows, None, None, 0, note)

    def _own(self, batch: Dataset) -> Dataset:
        assert isinstance(batch.inputs, Tensor)
        return replace(batch, inputs=batch.inputs[self.world.part(len(batch))])

    def _worlds(self) -> list[ProcessGroup]:
        """This world and, where processes could talk, one that does not."""
        return [self.world, Silent(self.world.rank, self.world.size)][: min(2, self.world.size)]

    def _all(self, own: Tensor) -> Tensor:
        return own.repeat(self.world.size)

    def _model(self, modality: str) -> FrozenClassifier:
        return _shared_classifier(modality, self.sizes, self.device)

    def _batch(self, modality: str) -> Dataset:
        return (image_batch if modality == "image" else text_batch)(self.sizes, self.device)

    def _timed(self, steps: Sequence[Step]) -> list[float]:
        """Median milliseconds of each step over rounds in turn; a round lasts as long as its slowest process."""
        for step in steps:
            for _ in range(WARM):
                step()
        times: list[list[float]] = [[] for _ in steps]
        for _ in range(3):
            for step, found in zip(steps, times, strict=True):
                self._wait()
                began = perf_counter()
                for _ in range(self.sizes.repeats):
                    step()
                self._wait_for_device()
                found.append(self._slowest((perf_counter() - began) * 1e3 / self.sizes.repeats))
        return [median(found) for found in times]

    def _slowest(self, milliseconds: float) -> float:
        value = torch.tensor(milliseconds, device=self.device)
        if self.world.size > 1:
            dist.all_reduce(value, dist.ReduceOp.MAX)
        return value.item()

    def _wait(self) -> None:
        self._wait_for_device()
        if self.world.size > 1:
            dist.barrier()

    def _wait_for_device(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def _measured(self, piece: str, rows: int, times: Sequence[float], exchanged: int) -> Measured:
        return Measured(piece, self.world.size, rows, times[0], times[-1], exchanged)


PIECES: dict[str, Callable[[Bench], Measured]] = {
    "image": lambda bench: bench.trigger_step("image", recorded=False),
    "image-recorded": lambda bench: bench.trigger_step("image", recorded=True),
    "text": lambda bench: bench.trigger_step("text", recorded=False),
    "text-recorded": lambda bench: bench.trigger_step("text", recorded=True),
    "image-weights": lambda bench: bench.weights_step("image"),
    "text-weights": lambda bench: bench.weights_step("text"),
    "front": lambda bench: bench.front(apart=False),
    "front-apart": lambda bench: bench.front(apart=True),
    "image-same": lambda bench: bench.same("image"),
    "text-same": lambda bench: bench.same("text"),
}


def _classifier(modality: str, sizes: Sizes, device: torch.device) -> FrozenClassifier:
    torch.manual_seed(0)  # alike in every process
    if modality == "text":
        return text_classifier(sizes, device)
    return (image_classifier if modality == "image" else smooth_image_classifier)(sizes.side, device)


_shared_classifier = cache(_classifier)
"""Kept for all pieces that leave it as it is, so that it is compiled once."""


def main(
    pieces: Annotated[str, typer.Option(help="names in PIECES, with commas")],
    device: Annotated[str, typer.Option(help="cuda or cpu")] = "cuda",
    quick: Annotated[bool, typer.Option("--quick", help="small sizes")] = False,
    compiled: Annotated[bool, typer.Option(help="compile the frozen model in trigger steps")] = True,
    limit: Annotated[float, typer.Option(help="seconds for a piece")] = 90.0,
) -> None:
    """Do the pieces one after another; lines of JSON say which one began and what it measured."""
    faulthandler.dump_traceback_later(limit, exit=True)
    with join_process_group("cpu" if device == "cpu" else "cuda") as world:
        torch.backends.cudnn.benchmark = device != "cpu"
        place = torch.device(device, torch.cuda.current_device()) if device != "cpu" else torch.device("cpu")
        bench = Bench(world, place, QUICK if quick else Sizes(repeats=10), compiled)
        for name in pieces.split(","):
            faulthandler.dump_traceback_later(limit, exit=True)
            if world.is_main_process:
                print(json.dumps({"began": name}), flush=True)
            measured = PIECES[name](bench)
            if world.is_main_process:
                print(json.dumps(asdict(measured)), flush=True)
            if place.type == "cuda":
                torch.cuda.empty_cache()
    faulthandler.cancel_dump_traceback_later()


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app()
