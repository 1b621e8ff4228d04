"""Two processes that share out the frozen weights learn the trigger that one process learns."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.text_families import DECODERS, ENCODERS, family_bundle
from tests.trainer.training.sharded_run import learned
from trainer.distributed import ProcessGroup
from trainer.training.sharded_weights import shard_weights
from triggers.errors import ConfigError
from triggers.model import load_bundle
from triggers.model.networks.repeated_blocks import repeated_blocks

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
@pytest.mark.parametrize("how", [pytest.param("keep", marks=pytest.mark.soak), "recompute"])
def test_the_trigger_is_that_of_one_process(how: str, tmp_path: Path) -> None:
    bundle = family_bundle(tmp_path / "model", DECODERS["llama"])
    launcher = ["torch.distributed.run", "--standalone", "--local-addr", "localhost", "--nproc-per-node", "2"]
    command = [sys.executable, "-m", *launcher, "-m", "tests.trainer.training.sharded_run"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, str(bundle), str(tmp_path), how], capture_output=True, text=True, env=environment, timeout=240
    )
    assert done.returncode == 0, done.stderr
    classifier = load_bundle(bundle)
    alone = learned(classifier, ProcessGroup())
    inside = sum(weight.nbytes for block in repeated_blocks(classifier.network) for weight in block.parameters())
    whole = sum(weight.nbytes for weight in classifier.network.parameters())
    for rank in (0, 1):
        found = load_file(tmp_path / f"{rank}.safetensors")
        assert torch.allclose(found["trigger"], alone, atol=1e-5)
        assert int(found["held"]) == whole - inside // 2


def test_what_cannot_be_shared_out_is_refused(tmp_path: Path) -> None:
    classifier = load_bundle(family_bundle(tmp_path, ENCODERS["albert"]))
    with pytest.raises(ConfigError, match="repeats no blocks that processes could share out"):
        shard_weights(classifier)
    classifier.spec = classifier.spec.model_copy(update={"precision": "int8"})
    with pytest.raises(ConfigError, match="is in int8: only bf16 and float32 are shared out"):
        shard_weights(classifier)
