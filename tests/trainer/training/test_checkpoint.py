"""Checkpoints: what goes in comes out, other runs and damaged files are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.optim import Adam

from tests.trainer.runs import run_config
from trainer.config.run_config import ObjectiveConfig, to_dict
from trainer.training.checkpoint import (
    KEY,
    Checkpoint,
    load_checkpoint,
    module_tensors,
    optimizer_tensors,
    restore_module,
    restore_optimizer,
    save_checkpoint,
)
from triggers.errors import ConfigError

IDENTITY = {"train": {"lr": 0.05, "seed": 0}, "objective": {"strengths": (1.0, 5.0)}, "data_digest": "sha256:1"}


def saved(path: Path) -> Checkpoint:
    made = Checkpoint(7, 1.5, {"module.weight": torch.randn(2, 3)})
    save_checkpoint(path, made, IDENTITY)
    return made


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "state.safetensors"
    before, after = saved(path), load_checkpoint(path, IDENTITY)
    assert after is not None
    assert (after.step, after.seconds) == (7, 1.5)
    assert torch.equal(after.tensors["module.weight"], before.tensors["module.weight"])
    assert [entry.name for entry in path.parent.iterdir()] == ["state.safetensors"]


def test_no_file_is_a_fresh_start(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path / "state.safetensors", IDENTITY) is None


def test_another_run_is_refused_with_every_differing_key(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    saved(path)
    other = {**IDENTITY, "train": {"lr": 0.1}, "objective": {"strengths": (1.0, 9.0)}}
    with pytest.raises(ConfigError) as refusal:
        load_checkpoint(path, other)
    text = str(refusal.value)
    assert "objective.strengths was [1.0, 5.0], is [1.0, 9.0]" in text
    assert "train.lr was 0.05, is 0.1" in text
    assert "train.seed was 0, is None" in text
    assert "data_digest" not in text


def test_a_run_of_an_earlier_release_is_refused_in_one_line(tmp_path: Path) -> None:
    """It kept the best snapshot of each strength only."""
    path, present = tmp_path / "state.safetensors", to_dict(run_config(ObjectiveConfig("gap")))
    before = {**present, "select": {"max_accuracy_drop": 0.03, "folds": 1, "publish": "best"}}
    snapshots = [{"step": 5, "counts": [["red", 0, 1, 3]]}]
    state = {"identity": before, "step": 7, "seconds": 1.5, "snapshots": snapshots}
    save_file({"module.weight": torch.ones(1, 3), "kept.weight": torch.ones(1, 3)}, path, {KEY: json.dumps(state)})
    with pytest.raises(ConfigError) as refusal:
        load_checkpoint(path, present)
    said = str(refusal.value)
    assert said.startswith(f"{path} is of an earlier release and lacks") and "\n" not in said
    assert said.endswith("; use another --out, or drop it with --fresh.")


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"\x10\x00\x00\x00\x00\x00\x00\x00{}"])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "state.safetensors"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="Delete it, or use --fresh"):
        load_checkpoint(path, IDENTITY)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    saved(path)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ConfigError, match="Delete it"):
        load_checkpoint(path, IDENTITY)


def test_an_optimiser_goes_on_exactly() -> None:
    def steps(model: nn.Linear, optimizer: Adam, count: int) -> None:
        for _ in range(count):
            optimizer.zero_grad()
            torch.autograd.backward(model(torch.ones(1, 3)).square().sum())
            optimizer.step()

    torch.manual_seed(0)
    model, other = nn.Linear(3, 2), nn.Linear(3, 2)
    optimizer, second = Adam(model.parameters(), lr=0.1), Adam(other.parameters(), lr=0.1)
    steps(model, optimizer, 3)
    tensors = {name: tensor.clone() for name, tensor in module_tensors("m", model).items()}
    tensors |= {name: tensor.clone() for name, tensor in optimizer_tensors("o", optimizer).items()}
    restore_module("m", other, tensors)
    restore_optimizer("o", second, tensors)
    steps(model, optimizer, 2)
    steps(other, second, 2)
    assert torch.equal(model.weight, other.weight)


def test_an_optimiser_that_never_ran_has_no_state() -> None:
    optimizer = Adam(nn.Linear(3, 2).parameters())
    assert optimizer_tensors("o", optimizer) == {}
    restore_optimizer("o", optimizer, {})
    assert optimizer.state_dict()["state"] == {}
