"""Curves over tuning sizes: means, sizes at which a gap is reached, and their picture."""

from __future__ import annotations

from math import sqrt
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.results.curve_figure import draw_curves
from benchmarks.results.tuning_curves import TuningCurve, size_at, tuning_curves
from tests.benchmarks.results.made import record


def curve(*overlay: dict[int, int], adv_post: int = 30) -> TuningCurve:
    """A seed for each table of size to gap."""
    made = [
        record({"overlay": gap, "adv_post": adv_post, "threshold": 39}, task="attractive-sizes", seed=seed, tuning=size)
        for seed, own in enumerate(overlay)
        for size, gap in own.items()
    ]
    (found,) = tuning_curves([*made, record({"overlay": 1})])
    return found


def test_a_size_between_two_goes_by_their_logarithms() -> None:
    assert size_at({250: 0.4, 1000: 0.2}, 0.3) == pytest.approx(500)  # half way from 250 to 1,000
    assert size_at({250: 0.4, 1000: 0.2}, 0.2) == pytest.approx(1000)
    assert size_at({1000: 0.2, 250: 0.4}, 0.4) == 250
    assert size_at({250: 0.4, 1000: 0.2}, 0.1) is None
    assert size_at({250: 0.4, 500: 0.2, 1000: 0.3, 2000: 0.1}, 0.2) == pytest.approx(500)  # the first time


def test_sizes_are_means_of_logarithms_over_the_seeds_that_get_there() -> None:
    found = curve({250: 40, 1000: 20}, {250: 40, 1000: 30, 4000: 10}, {250: 39, 1000: 38})
    reached = found.reached("overlay", 0.3)
    assert reached.rows and reached.rows.value == pytest.approx(sqrt(500 * 1000))
    assert (reached.seeds, reached.of, reached.at_once) == (2, 3, 0)
    assert reached.text.startswith("707 (") and reached.text.endswith(", 2 of 3 seeds")
    assert found.reached("adv_post", 0.2).text == "none of 3"
    assert found.reached("adv_post", 0.35).text == "at most 250"


def test_the_curve_has_the_trigger_and_what_was_run_of_the_others() -> None:
    found = curve({250: 30, 500: 20}, {250: 34, 500: 20})
    assert found.systems == ["overlay", "adv_post"] and found.sizes == [250, 500] and found.seeds == [0, 1]
    means = found.means("overlay")
    assert means[250].value == pytest.approx(0.32) and means[250].low == pytest.approx(0.32 - 12.706 * 0.02)
    assert found.bare.value == pytest.approx(0.4) and found.bare.n == 2


def test_the_picture_has_a_panel_per_curve(tmp_path: Path) -> None:
    found = curve({250: 30, 500: 20}, {250: 34, 500: 20})
    one, two = (draw_curves([found] * count, tmp_path / f"{count}.png") for count in (1, 2))
    with Image.open(one) as single, Image.open(two) as double:
        assert (2 * single.width, single.height) == (double.width, double.height)
        assert len(single.getcolors(1 << 24) or []) > 20
