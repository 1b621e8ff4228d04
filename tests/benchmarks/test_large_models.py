"""The benchmark of large models runs on tiny ones of the same families, and its arithmetic is what is measured."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from benchmarks.large_models import VARIANTS, main, measure
from benchmarks.large_shapes import SHAPES
from benchmarks.memory_plan import plan
from benchmarks.performance_record import read_records

TINY = [name for name in SHAPES if name.endswith("-tiny")]
CPU = torch.device("cpu")


@pytest.mark.parametrize("name", TINY)
def test_what_is_planned_is_what_is_kept(name: str) -> None:
    shape = SHAPES[name]
    planned = plan(shape)
    plain, recomputed = (measure(shape, VARIANTS[word], CPU, 1) for word in ("plain", "recomputed"))
    assert plain["weights_gib"] == pytest.approx(planned.frozen["bf16"], rel=0.02)
    assert plain["kept_gib"] == pytest.approx(planned.kept, rel=0.1)
    block = planned.kept / shape.config["num_hidden_layers"]
    assert recomputed["kept_gib"] < planned.kept_recomputed < recomputed["kept_gib"] + 1.3 * block
    assert planned.finetuning_kept > planned.kept
    assert planned.finetuning_states == pytest.approx(8 * planned.frozen["bf16"])


def test_quantized_weights_take_what_is_planned() -> None:
    shape = SHAPES["llama-tiny"]
    planned = plan(shape)
    for precision in ("int8", "int4"):
        found = measure(shape, VARIANTS[precision], CPU, 1)["weights_gib"]
        assert found == pytest.approx(planned.frozen[precision], rel=0.05)


def test_records_of_several_runs_are_one(tmp_path: Path) -> None:
    import typer

    app = typer.Typer()
    app.command()(main)
    common = ["--device", "cpu", "--repeats", "1", "--out", str(tmp_path), "--shape"]
    for more in (["vit-tiny", "--variant", "plain"], ["vit-tiny", "--plan"], ["llama-tiny", "--variant", "strengths"]):
        assert CliRunner().invoke(app, [*common, *more]).exit_code == 0
    record = read_records(tmp_path)["large_models"]
    assert set(record.figures) == {"vit_tiny", "vit_tiny_plan", "decoder_tiny_strengths"}
    ratio = record.figure("vit_tiny.step_over_forward")
    assert ratio and ratio > 1
