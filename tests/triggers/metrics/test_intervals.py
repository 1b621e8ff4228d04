"""Intervals: equal to statsmodels where it has them, right by simulation where nobody has them."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from triggers.metrics import intervals
from triggers.metrics.intervals import Floats, Limits

REPEATS = 4000
sizes = st.integers(1, 5000)
z95 = intervals.critical(0.95)


@st.composite
def samples(draw: st.DrawFn) -> tuple[int, int]:
    """(hits, n)"""
    n = draw(sizes)
    return draw(st.integers(0, n)), n


@given(samples(), st.sampled_from([0.8, 0.95, 0.999]))
def test_wilson_is_that_of_statsmodels(sample: tuple[int, int], confidence: float) -> None:
    from statsmodels.stats.proportion import proportion_confint

    hits, n = sample
    low, high = intervals.wilson(hits, n, intervals.critical(confidence))
    expected = proportion_confint(hits, n, alpha=1 - confidence, method="wilson")
    assert [float(low), float(high)] == pytest.approx(list(expected), abs=1e-12)
    assert 0 <= low <= hits / n <= high <= 1


@given(samples(), samples())
def test_newcombe_is_that_of_statsmodels(a: tuple[int, int], b: tuple[int, int]) -> None:
    from statsmodels.stats.proportion import confint_proportions_2indep

    low, high = intervals.newcombe(*a, *b, z95)
    expected = confint_proportions_2indep(*a, *b, method="newcomb", compare="diff", alpha=0.05)
    assert [float(low), float(high)] == pytest.approx(list(expected), abs=1e-12)


def test_published_values() -> None:
    assert intervals.wilson(0, 20, z95)[1] == pytest.approx(0.161, abs=5e-4)
    low, high = intervals.newcombe(24, 35, 22, 36, z95)
    assert [float(low), float(high)] == pytest.approx([-0.143, 0.282], abs=5e-4)


@given(samples(), samples())
def test_swapping_the_groups_inverts_the_ratio(a: tuple[int, int], b: tuple[int, int]) -> None:
    low, high = intervals.rate_ratio(*a, *b, z95)
    back_low, back_high = intervals.rate_ratio(*b, *a, z95)
    if low > 0:
        assert 1 / low == pytest.approx(back_high, rel=1e-9)
    if a[0] and b[0]:
        assert low <= (a[0] / a[1]) / (b[0] / b[1]) * (1 + 1e-9)
        assert high >= (a[0] / a[1]) / (b[0] / b[1]) * (1 - 1e-9)
        assert math.isfinite(back_low) and math.isfinite(high)


def test_the_ratio_of_two_zeros_is_unknown() -> None:
    low, high = intervals.rate_ratio(0, 50, 0, 60, z95)
    assert (float(low), float(high)) == (0.0, math.inf)
    low, high = intervals.pairwise_ratios([0, 0], [50, 60], z95)
    assert (low.tolist(), high.tolist()) == ([0.0], [1.0])


@given(samples(), samples())
def test_a_pairs_ratio_is_that_of_the_smaller_rate_to_the_larger_in_either_order(
    a: tuple[int, int], b: tuple[int, int]
) -> None:
    (low, high), (back_low, back_high) = intervals.rate_ratio(*a, *b, z95), intervals.rate_ratio(*b, *a, z95)
    for one, other in ((a, b), (b, a)):
        hits, n = np.array([one, other]).T
        found = [limit.item() for limit in intervals.pairwise_ratios(hits, n, z95)]
        assert found == pytest.approx(
            [min(float(low), float(back_low)), min(1.0, float(high), float(back_high))], rel=1e-9
        )


def test_an_absolute_value_starts_at_zero_only_when_the_sign_is_open() -> None:
    low, high = intervals.absolute(np.array([-0.1, 0.1, -0.3]), np.array([0.2, 0.3, -0.2]))
    assert (low.tolist(), high.tolist()) == ([0.0, 0.1, 0.2], [0.2, 0.3, 0.3])


@given(st.lists(samples(), min_size=2, max_size=6))
def test_a_spread_contains_what_was_observed(groups: list[tuple[int, int]]) -> None:
    hits, n = np.array(groups).T
    low, high = intervals.max_gap_interval(hits, n, 0.95)
    assert 0 <= low <= np.ptp(hits / n) + 1e-12 <= high + 2e-12
    low, high = intervals.smallest_over_largest(hits, n, 0.95)
    assert 0 <= low <= high <= 1


@given(st.lists(samples(), min_size=2, max_size=6))
def test_distance_to_overall_contains_what_was_observed(groups: list[tuple[int, int]]) -> None:
    hits, n = np.array(groups).T
    low, high = intervals.distance_to_overall(hits, n, hits.sum(), n.sum(), z95)
    distance = np.abs(hits / n - hits.sum() / n.sum())
    assert (low <= distance + 1e-12).all() and (distance <= high + 1e-12).all()


@pytest.mark.parametrize("limits", [intervals.max_gap_interval, intervals.smallest_over_largest])
def test_groups_are_taken_as_disjoint_unless_they_are_said_to_overlap(limits: Callable[..., Limits]) -> None:
    """Bonferroni's intervals, which hold without independence, are the wider ones."""
    found, disjoint, overlapping = (
        limits([30, 50, 60], [100, 120, 90], 0.95, **said)
        for said in ({}, {"overlapping": False}, {"overlapping": True})
    )
    assert found == disjoint and overlapping[0] < disjoint[0] and disjoint[1] < overlapping[1]


def test_the_widest_variation_takes_groups_as_disjoint_too() -> None:
    hits, n = [[75, 120, 60], [45, 90, 60], [30, 90, 80]], [150, 300, 200]
    found, disjoint, overlapping = (
        intervals.widest_variation(hits, n, 0.95, **said)
        for said in ({}, {"overlapping": False}, {"overlapping": True})
    )
    assert found == disjoint and overlapping[0] <= disjoint[0] and disjoint[1] < overlapping[1]


def test_a_group_that_is_everyone_is_the_overall() -> None:
    low, high = intervals.distance_to_overall([3], [10], 3, 10, z95)
    assert (low.tolist(), high.tolist()) == ([0.0], [0.0])


@pytest.mark.parametrize("confidence", [0, 1, 95])
def test_a_confidence_is_a_probability(confidence: float) -> None:
    with pytest.raises(ValueError, match=r"such as 0\.95"):
        intervals.critical(confidence)


# ---- coverage by simulation: 4,000 repeats, standard error about 0.35 points ------------------------------------


def covers(limits: tuple[Floats, Floats], truth: float) -> float:
    low, high = limits
    return float(np.mean((low <= truth + 1e-12) & (truth <= high + 1e-12)))


def draw(rates: list[float], n: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Hits (REPEATS, G) and sizes (REPEATS, G)."""
    hits = np.random.default_rng(7).binomial(n, rates, size=(REPEATS, len(n)))
    return hits, np.broadcast_to(n, hits.shape)


@pytest.mark.parametrize(("rate", "n"), [(0.5, 100), (0.3, 200), (0.1, 400), (0.03, 1000)])
def test_coverage_of_a_rate(rate: float, n: int) -> None:
    hits, sizes = draw([rate], [n])
    assert 0.935 <= covers(intervals.wilson(hits, sizes, z95), rate) <= 0.97


@pytest.mark.parametrize(
    ("a", "b", "n"), [(0.3, 0.3, (200, 200)), (0.5, 0.3, (100, 400)), (0.1, 0.05, (300, 150)), (0.6, 0.4, (60, 60))]
)
def test_coverage_of_a_difference(a: float, b: float, n: tuple[int, int]) -> None:
    hits, sizes = draw([a, b], list(n))
    limits = intervals.newcombe(hits[:, 0], sizes[:, 0], hits[:, 1], sizes[:, 1], z95)
    assert 0.935 <= covers(limits, a - b) <= 0.97


@pytest.mark.parametrize(("a", "b", "n"), [(0.3, 0.3, (200, 200)), (0.5, 0.3, (100, 400)), (0.1, 0.2, (300, 150))])
def test_coverage_of_a_ratio(a: float, b: float, n: tuple[int, int]) -> None:
    hits, sizes = draw([a, b], list(n))
    limits = intervals.rate_ratio(hits[:, 0], sizes[:, 0], hits[:, 1], sizes[:, 1], z95)
    assert 0.935 <= covers(limits, a / b) <= 0.97


@pytest.mark.parametrize("n", [[200, 200], [2000, 2000], [50, 800], [100] * 8, [2000] * 8])
def test_a_spread_covers_parity(n: list[int]) -> None:
    hits, sizes = draw([0.3] * len(n), n)
    assert 0.935 <= covers(intervals.max_gap_interval(hits, sizes, 0.95), 0.0) <= 0.97
    assert 0.935 <= covers(intervals.smallest_over_largest(hits, sizes, 0.95), 1.0) <= 0.98


def test_a_spread_of_very_unequal_groups_covers_parity_a_little_too_often() -> None:
    hits, sizes = draw([0.3] * 8, [50, 50, 100, 100, 200, 400, 800, 1600])
    assert 0.95 <= covers(intervals.max_gap_interval(hits, sizes, 0.95), 0.0) <= 0.98


@pytest.mark.parametrize("rates", [[0.3, 0.5], [0.3, 0.3, 0.3, 0.3, 0.3, 0.5], [0.2, 0.3, 0.4, 0.5]])
def test_a_spread_covers_a_real_gap(rates: list[float]) -> None:
    hits, sizes = draw(rates, [300] * len(rates))
    assert covers(intervals.max_gap_interval(hits, sizes, 0.95), max(rates) - min(rates)) >= 0.94
    assert covers(intervals.smallest_over_largest(hits, sizes, 0.95), min(rates) / max(rates)) >= 0.94


@pytest.mark.parametrize(("shared", "least"), [(0, 0.935), (50, 0.95), (100, 0.98), (190, 0.999)])
def test_shared_rows_make_a_pairs_interval_too_wide_never_too_narrow(shared: int, least: float) -> None:
    parts, _ = draw([0.3, 0.3, 0.3], [200 - shared, 200 - shared, shared])
    a, b = parts[:, 0] + parts[:, 2], parts[:, 1] + parts[:, 2]
    assert covers(intervals.newcombe(a, 200, b, 200, z95), 0.0) >= least
    assert covers(intervals.rate_ratio(a, 200, b, 200, z95), 1.0) >= least
    hits = np.stack([a, b], axis=1)
    assert covers(intervals.max_gap_interval(hits, np.full_like(hits, 200), 0.95), 0.0) >= least
    assert np.ptp(hits / 200, axis=1).mean() <= 1.03 * intervals.expected_spread([200, 200], 0.3)


def test_a_group_within_another_is_covered_too() -> None:
    parts, _ = draw([0.5, 0.2], [100, 300])  # rates of the inner group and of the outer one's other rows
    limits = intervals.newcombe(parts[:, 0], 100, parts.sum(axis=1), 400, z95)
    assert covers(limits, 0.5 - (0.5 * 100 + 0.2 * 300) / 400) >= 0.95


def test_the_widest_variation_is_covered() -> None:
    shares = np.array([[0.5, 0.3, 0.2], [0.4, 0.3, 0.3], [0.3, 0.3, 0.4]])  # per group; a and c differ by .2
    random = np.random.default_rng(7)
    covered = []
    for _ in range(500):
        hits = np.stack([random.multinomial(n, p) for n, p in zip((150, 300, 200), shares, strict=True)], axis=1)
        low, high = intervals.widest_variation(hits, [150, 300, 200], 0.95)
        covered.append(low <= 0.2 <= high)
    assert np.mean(covered) >= 0.95


def test_distances_to_overall_hold_together() -> None:
    rates, n = [0.2, 0.3, 0.5], [300, 200, 100]
    hits, sizes = draw(rates, n)
    overall = float(np.dot(rates, n) / sum(n))
    z = intervals.critical(0.95, 3)
    low, high = intervals.distance_to_overall(hits, sizes, hits.sum(1, keepdims=True), sizes.sum(1, keepdims=True), z)
    truth = np.abs(np.array(rates) - overall)
    assert np.mean(((low <= truth) & (truth <= high)).all(axis=1)) >= 0.94


@pytest.mark.parametrize(("n", "rate"), [([100] * 8, 0.3), ([1000] * 8, 0.3), ([50, 500], 0.4), ([80, 120, 300], 0.1)])
def test_expected_spread_is_what_parity_shows(n: list[int], rate: float) -> None:
    hits, sizes = draw([rate] * len(n), n)
    observed = float(np.ptp(hits / sizes, axis=1).mean())
    assert intervals.expected_spread(n, rate) == pytest.approx(observed, rel=0.03)


def test_no_spread_is_expected_without_variation() -> None:
    assert intervals.expected_spread([10, 20], 0.0) == 0.0
