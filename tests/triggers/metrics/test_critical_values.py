"""How wide intervals must be: equal to the published tables of the studentised range."""

from __future__ import annotations

import math

import numpy as np
import pytest

from triggers.metrics.critical_values import all_pairs, critical


@pytest.mark.parametrize(
    ("confidence", "groups", "published"),
    [(0.95, 2, 2.772), (0.95, 3, 3.314), (0.95, 8, 4.286), (0.95, 20, 5.012), (0.99, 3, 4.120), (0.99, 10, 5.157)],
)
def test_the_studentised_range_with_infinite_degrees_of_freedom(
    confidence: float, groups: int, published: float
) -> None:
    assert all_pairs(confidence, groups) * math.sqrt(2) == pytest.approx(published, abs=6e-4)


@pytest.mark.parametrize("groups", [2, 3, 8, 64])
def test_pairs_need_no_more_than_bonferroni(groups: int) -> None:
    assert all_pairs(0.95, groups) <= critical(0.95, groups * (groups - 1) // 2) + 1e-9
    assert all_pairs(0.95, groups) < all_pairs(0.95, groups, families=2) < all_pairs(0.95, groups + 1, families=2)


def test_it_is_the_quantile_of_the_widest_pair() -> None:
    draws = np.random.default_rng(5).normal(size=(40_000, 5))
    widest = np.ptp(draws, axis=1) / math.sqrt(2)
    assert np.mean(widest <= all_pairs(0.95, 5)) == pytest.approx(0.95, abs=0.004)


@pytest.mark.parametrize("confidence", [0, 1, 95])
def test_a_confidence_is_a_probability(confidence: float) -> None:
    with pytest.raises(ValueError, match=r"such as 0\.95"):
        all_pairs(confidence, 2)
