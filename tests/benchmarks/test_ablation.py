"""The ablation: parts are really taken out, and ratios are taken within one round."""

from __future__ import annotations

import inspect
import io
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.ablated_service import PARTS
from benchmarks.ablation import CONNECTIONS, WHOLE, Sample, plans, ratios, rounds, spread, table

SAMPLES = [
    *(Sample(turn, WHOLE, 16, rate, cpu, 9.0) for turn, rate, cpu in ((0, 1000, 0.2), (1, 100, 0.4), (2, 500, 0.3))),
    *(
        Sample(turn, "without x", 16, rate, cpu, 9.0)
        for turn, rate, cpu in ((2, 250, 0.6), (0, 500, 0.4), (1, 50, 0.8))
    ),
]


def test_a_slow_round_meets_both_sides_of_a_ratio() -> None:
    assert ratios(SAMPLES, "without x", 16, "rate") == [0.5] * 3
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(table(SAMPLES))
    line = next(line for line in console.export_text().splitlines() if "without x" in line)
    assert "0.500 (0.500 to 0.500)" in line and "2.000 (2.000 to 2.000)" in line and " 250 " in line
    assert spread([1, 2, 3, 4, 5], 1) == "3.0 (2.0 to 4.0)"


@pytest.mark.parametrize("part", PARTS)
def test_what_stands_in_for_a_part_is_called_as_it_is(part: str) -> None:
    where, name, stand_in = PARTS[part]
    assert len(inspect.signature(stand_in).parameters) == len(inspect.signature(getattr(where, name)).parameters)


@pytest.mark.process
@pytest.mark.soak
@pytest.mark.skipif(not shutil.which("wrk"), reason="needs wrk")
def test_the_fast_path_is_taken_out(tmp_path: Path) -> None:
    chosen = [plan for plan in plans("tiny", tmp_path, 1, "cpu") if plan.name in (WHOLE, "without fast path")]
    samples = list(rounds(chosen, tmp_path, 1, 1, 1))
    assert len(samples) == 2 * len(CONNECTIONS) and all(each.rate > 20 for each in samples)
    for connections in CONNECTIONS:
        assert ratios(samples, "without fast path", connections, "cpu_ms")[0] > 1.2
