"""Bets: fair under the null whatever the sizes, and the published power against what is not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.guard import e_values

LOOKS = 400
ALARM = np.log(20)  # alpha = .05
Ints = NDArray[np.int64]


def blocks(rates: list[float], rows: int, repeats: int, drift: float = 0.0) -> tuple[Ints, Ints]:
    """Hits and sizes (repeats, LOOKS, G)."""
    shift = drift * np.sin(np.arange(LOOKS) / 20)[:, None]
    p = np.broadcast_to(np.clip(np.array(rates) + shift, 0, 1), (repeats, LOOKS, len(rates)))
    return np.random.default_rng(3).binomial(rows, p), np.full(p.shape, rows)


def first_alarm(factors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Blocks until the alarm, inf if there is none, of log factors (repeats, B)."""
    hit = np.cumsum(factors, axis=-1) >= ALARM
    return np.where(hit.any(axis=-1), hit.argmax(axis=-1) + 1.0, np.inf)


@pytest.mark.parametrize(
    ("rates", "limit", "drift"),
    [
        ([0.3, 0.3], 0.0, 0.0),
        ([0.3, 0.3], 0.0, 0.15),
        ([0.3, 0.35], 0.05, 0.0),
        ([0.3, 0.3, 0.3, 0.3], 0.0, 0.0),
        ([0.2, 0.25, 0.25, 0.3], 0.1, 0.0),
    ],
)
def test_false_alarms_stay_below_alpha(rates: list[float], limit: float, drift: float) -> None:
    alarms = np.isfinite(first_alarm(e_values.log_e_max_gap(*blocks(rates, 15, 200, drift), limit)))
    assert alarms.mean() <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 200)


@pytest.mark.parametrize(("other", "most"), [(0.4, 33), (0.5, 9)])
def test_a_disparity_is_found_as_early_as_published(other: float, most: int) -> None:
    hits, n = blocks([0.3, other], 15, 200)
    assert np.median(first_alarm(e_values.log_e_max_gap(hits, n, 0.0))) <= most
    both = np.stack([n - hits, hits], axis=-1)  # the same data as two strata with outcomes 0 and 1
    assert np.median(first_alarm(e_values.log_e_mean_sum(both, [[0, -1], [0, 1]], 0.0))) <= most


def test_a_limit_is_not_parity() -> None:
    hits, n = blocks([0.3, 0.4], 15, 50)
    assert np.isfinite(first_alarm(e_values.log_e_max_gap(hits, n, 0.02))).mean() > 0.9
    assert not np.isfinite(first_alarm(e_values.log_e_max_gap(hits, n, 0.15))).any()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=2, max_size=4),
    st.lists(st.integers(0, 6), min_size=4, max_size=4),
    st.floats(0, 0.5),
    st.floats(0, 1),
)
def test_no_bet_gains_on_average_under_the_null(
    past: list[tuple[int, int]], sizes: list[int], limit: float, low: float
) -> None:
    """By adding up every outcome: all groups at the ends of a band as wide as the limit, sizes and past as may be."""
    n = np.array(sizes[: len(past)])
    truth = np.array([min(low + (limit if g % 2 else 0), 1.0) for g in range(len(past))])
    before_n = np.array([a + b for a, b in past])
    before = np.array([a for a, _ in past])
    outcomes = np.stack(np.meshgrid(*[np.arange(m + 1) for m in n], indexing="ij"), axis=-1).reshape(-1, len(n))
    hits = np.stack([np.broadcast_to(before, outcomes.shape), outcomes], axis=1)  # (outcomes, 2 blocks, G)
    rows = np.broadcast_to(np.stack([before_n, n]), hits.shape)
    factor = np.exp(e_values.log_e_max_gap(hits, rows, limit)[:, 1])
    assert float((factor * _probability(outcomes, n, truth)).sum()) <= 1 + 1e-6
    if len(past) == 2:
        counts = np.stack([rows - hits, hits], axis=-1)
        factor = np.exp(e_values.log_e_mean_sum(counts, [[0, -1], [0, 1]], limit)[:, 1])
        assert float((factor * _probability(outcomes, n, truth)).sum()) <= 1 + 1e-9


def _probability(outcomes: Ints, n: Ints, rates: NDArray[np.float64]) -> NDArray[np.float64]:
    """Binomial probabilities of outcomes (N, G)."""
    choose = np.array([[_choose(int(m), int(k)) for m, k in zip(n, row, strict=True)] for row in outcomes])
    return np.asarray((choose * rates**outcomes * (1 - rates) ** (n - outcomes)).prod(axis=-1))


def _choose(n: int, k: int) -> float:
    return float(np.prod([(n - i) / (i + 1) for i in range(k)]))


def test_pairs_find_a_change_far_sooner_than_an_ab_split() -> None:
    random = np.random.default_rng(5)
    shares = [[0.24, 0.04, 0.04, 0.68], [0.35, 0.015, 0.065, 0.57]]  # the second group's rate rises by .05
    pairs = np.stack([random.multinomial(15, p, size=(60, LOOKS)) for p in shares], axis=2)
    values = [[0, 1, -1, 0], [0, -1, 1, 0]]
    paired = first_alarm(e_values.log_e_mean_sum(pairs, values, 0.02))
    new, old = (pairs[..., 0] + pairs[..., i] for i in (2, 1))
    apart = np.concatenate([np.stack([15 - k, k], axis=-1) for k in (new, old)], axis=2)
    split = first_alarm(e_values.log_e_mean_sum(apart, [[0, -1], [0, 1], [0, 1], [0, -1]], 0.02))
    assert np.median(paired) * 3 < np.median(split)


def test_a_group_without_rows_says_nothing() -> None:
    hits, n = np.array([[9, 3, 0], [0, 0, 0], [9, 3, 0]]), np.array([[10, 10, 0], [0, 0, 0], [10, 10, 0]])
    factors = e_values.log_e_max_gap(hits, n, 0.0)
    assert factors[:2].tolist() == pytest.approx([0, 0], abs=1e-6) and factors[2] > 0
    one = np.array([[[3, 7], [0, 0]], [[3, 7], [0, 0]]])
    assert e_values.log_e_mean_sum(one, [[0, 1], [0, -1]], 0.0).tolist() == [0, 0]


def test_the_factor_of_two_rates_is_that_of_the_shrunken_past_against_its_weighted_mean() -> None:
    before, past_n = np.array([[10.0, 30.0]]), np.array([[20.0, 40.0]])
    (found,) = e_values.log_e_max_gap([[4, 24]], [[10, 30]], 0.0, (before, past_n))
    common = 41 / 62
    a, b = (10 + 20 * common) / 40, (30 + 20 * common) / 60
    null = (10 * a + 30 * b) / 40
    hits, misses = 4 * np.log(a / null) + 24 * np.log(b / null), 6 * np.log((1 - a) / (1 - null))
    assert found == pytest.approx(hits + misses + 6 * np.log((1 - b) / (1 - null)), rel=1e-6)


@pytest.mark.parametrize(
    ("before", "limit", "counts", "stake"),
    [
        ([10, 30], 0.2, [2, 6], 0.3 / (2 / 9 + 0.3**2)),  # mean 30 / 60, shares 1 / 3 and 2 / 3
        ([0, 180], 0.5, [1, 7], 1.0),  # mean .9: nobody may lose more than half
        ([10, 30], 0.6, [2, 6], 0.0),  # below the limit
    ],
)
def test_the_factor_of_a_mean_is_that_of_the_best_bet_on_its_past(
    before: list[int], limit: float, counts: list[int], stake: float
) -> None:
    past = np.array([[before]], dtype=np.float64)
    (found,) = e_values.log_e_mean_sum([[counts]], [[0, 1]], limit, past)
    lost, won = counts[0] * np.log1p(-stake * limit), counts[1] * np.log1p(stake * (1 - limit))
    assert found == pytest.approx(lost + won)
