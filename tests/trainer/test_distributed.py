"""Several processes train the trigger that one does: `torchrun` with gloo on the same machine, by the same command."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.trainer.datasets import comments, digits
from tests.trainer.runs import run_config
from trainer.config.run_config import ObjectiveConfig, TrainConfig, TriggerConfig, TriggerKind, load_config
from trainer.distributed import ProcessGroup, _own_gpu
from trainer.progress import LineProgress
from trainer.train import train
from trainer.training.build_module import build_module
from trainer.training.objectives.objective_step import StepConfig
from trainer.training.step import TriggerOptimizer
from triggers.artifact.artifact import TriggerArtifact, load_artifact
from triggers.errors import ConfigError
from triggers.model.classifier import FrozenClassifier
from triggers.trigger.image import ImageTrigger

ROOT = Path(__file__).parents[2]

CONFIG = """
[model]
bundle = "digits"
[data]
format = "csv"
path = "digits.csv"
label = "label"
group = "colour"
group_names = ["red", "blue"]
[split]
base = 0.0
[trigger]
kind = "overlay"
epsilon = 0.3
[objective]
name = "{objective}"
criterion = "equalized_odds"
strengths = {strengths}
[train]
steps = 12
batch_size = 61
eval_every = 6
flip = true
threads = 1
device = "cpu"
[select]
publish = "all"
max_accuracy_drop = 0.05
folds = {folds}
[publish]
store = "store"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle and 400 tinted digits as PNG files with a manifest."""
    folder = tmp_path_factory.mktemp("world")
    digits.fit_bundle(folder / "digits")
    with (folder / "digits.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "colour"])
        data = digits.parts()["tuning"]
        assert isinstance(data.inputs, torch.Tensor)
        for row, name in enumerate(data.ids):
            Image.fromarray(data.inputs[row].permute(1, 2, 0).numpy()).save(folder / f"{name}.png")
            colour = digits.GROUPS[int(data.groups[row])]
            writer.writerow([f"{name}.png", digits.LABELS[int(data.labels[row])], colour])
    return folder


def trained(
    folder: Path, out: str, processes: int, objective: str = "adversarial", folds: int = 1, strengths: str = "[1, 5]"
) -> dict[str, TriggerArtifact]:
    """Train with so many processes; the artifact of every strength, by its file's name."""
    config = folder / f"{out}.toml"
    config.write_text(
        CONFIG.format(objective=objective, folds=folds, strengths=strengths).replace('"store"', f'"{out}-store"')
    )
    if processes == 1:
        train(load_config(config), folder / out, LineProgress(io.StringIO()))
    else:
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        run = [*launcher, "-m", "trainer", str(config), "--out", str(folder / out)]
        done = subprocess.run(run, capture_output=True, text=True, env=environment, cwd=folder, timeout=240)
        assert done.returncode == 0, done.stderr
        assert f"{processes} processes exchange" in done.stderr
        assert done.stdout.count("Report:") == 1  # only the first one speaks
    return {path.stem: load_artifact(path) for path in sorted((folder / out / "triggers").iterdir())}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("objective", "folds", "strengths"),
    [
        pytest.param("adversarial", 1, "[1, 5]", marks=pytest.mark.soak),
        pytest.param("gap", 1, "[1, 5]", marks=pytest.mark.soak),
        ("gap", 2, '"auto"'),
    ],
)
def test_two_processes_end_with_the_trigger_of_one(folder: Path, objective: str, folds: int, strengths: str) -> None:
    one = trained(folder, f"one-{objective}-{folds}", 1, objective, folds, strengths)
    two = trained(folder, f"two-{objective}-{folds}", 2, objective, folds, strengths)
    assert list(one) == list(two) and len(one) == (6 if "auto" in strengths else 2)
    for alone, shared in zip(one.values(), two.values(), strict=True):
        assert isinstance(alone.trigger, ImageTrigger) and isinstance(shared.trigger, ImageTrigger)
        assert float(alone.trigger.delta.abs().max()) > 0.05  # something was learned
        assert torch.allclose(alone.trigger.delta, shared.trigger.delta, atol=1e-5)
        assert alone.manifest.selection is not None  # by the same predictions
        assert (alone.manifest.selection, alone.manifest.steps) == (shared.manifest.selection, shared.manifest.steps)


@dataclass(frozen=True)
class Counted(ProcessGroup):
    """One of two processes that stand still: its own rows take the others' place, and entries are counted."""

    sent: list[int] = field(default_factory=list)

    def all_gather(self, own: torch.Tensor, rows: int) -> torch.Tensor:
        """Own rows twice."""
        self.sent.append(2 * own.numel())
        return own.repeat(1, 2, 1)

    def all_reduce_sum(self, tensors: Sequence[torch.Tensor]) -> None:
        """Nothing but counting."""
        self.sent.append(sum(tensor.numel() for tensor in tensors))


@pytest.mark.parametrize("kind", ["embedding", "soft"])
def test_a_step_exchanges_what_it_says_and_no_more_than_the_embeddings_need(
    comments_classifier: FrozenClassifier, kind: TriggerKind
) -> None:
    world = Counted(0, 2)
    config = run_config(
        ObjectiveConfig(strengths=(1.0,)), trigger=TriggerConfig(kind, tokens=2), train=TrainConfig(steps=1)
    )
    module = build_module(config, comments_classifier)
    learner = TriggerOptimizer(comments_classifier, module, config.train, StepConfig(config.objective, 2, 1), world)
    batch = comments.splits().tuning.take(torch.arange(8), slice(0, 4))
    learner.step(0, batch)
    assert 4 * sum(world.sent) == learner.bytes_exchanged(8)
    width = comments_classifier.embedding_matrix.shape[1]
    assert sum(world.sent[1:]) == 2 * len(config.objective.fixed_strengths) * 2 * width


def test_a_process_without_a_gpu_of_its_own_is_refused() -> None:
    with pytest.raises(ConfigError, match=f"finds {torch.cuda.device_count()} GPUs"):
        _own_gpu(torch.cuda.device_count())


def test_parts_cover_a_batch_in_order() -> None:
    for size in (1, 2, 3, 7):
        parts = [list(range(11))[ProcessGroup(rank, size).part(11)] for rank in range(size)]
        assert [row for part in parts for row in part] == list(range(11))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
