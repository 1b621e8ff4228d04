"""Time, memory and money of a run."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.trainer.outcomes import image_config, image_outcome
from trainer.config.report_config import ReportConfig
from trainer.report.cost import Stopwatch, cost_record, peak_memory

CPU = torch.device("cpu")


def watched(**seconds: float) -> Stopwatch:
    watch = Stopwatch()
    watch.seconds = dict(seconds)
    return watch


def test_a_phase_takes_its_time_and_adds_up() -> None:
    watch = Stopwatch()
    for _ in range(2):
        with watch.phase("nap"):
            time.sleep(0.02)
    with pytest.raises(RuntimeError), watch.phase("broken"):
        raise RuntimeError
    assert 0.04 <= watch.seconds["nap"] < 2
    assert list(watch.seconds) == ["nap", "broken"]


def test_phases_speed_and_cost(tmp_path: Path) -> None:
    config = replace(image_config(tmp_path), report=ReportConfig(price_per_hour=7.2, currency="EUR"))
    found = cost_record(config, image_outcome(), watched(prepare=2.0, learn=1.75, diagnose=1.0), CPU)
    assert found["phases"] == [["prepare", 2.0], ["train", 1.25], ["evaluate", 0.5], ["diagnose", 1.0]]
    assert found["total_seconds"] == 4.75
    assert found["cost"] == pytest.approx(7.2 * 4.75 / 3600, abs=1e-4)
    assert found["inputs_per_second"] == 30 * 200 / 1.25  # 30 steps of 200 rows, all there are, in 1.25 s
    assert found["passes_per_second"] == 3 * found["inputs_per_second"]


def test_a_resumed_run_does_not_guess(tmp_path: Path) -> None:
    """All training is known from the checkpoint, the counting of the test split is not."""
    found = cost_record(image_config(tmp_path), image_outcome(), watched(learn=0.3), CPU)
    assert found["phases"] == [["train", 1.25]]
    assert found["cost"] is None


def test_peak_memory_holds_what_was_held() -> None:
    held = torch.ones(30_000_000)
    kind, peak = peak_memory(CPU)
    assert kind == "process, resident"
    assert held.nbytes < peak < 2**40
