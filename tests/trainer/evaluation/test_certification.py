"""Tests of losses against exact enumeration and other libraries; how often they are wrong; bounds; rows that would do.

A reference adds up the probabilities of all outcomes, one trinomial per set, without Fourier transform or grid.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import product
from math import ceil, comb

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from statsmodels.stats.proportion import binom_test

from trainer.evaluation.certification import (
    EXTRA_CHANGED,
    OUT_OF_REACH,
    PairedSet,
    loss_bound,
    loss_p_value,
    mean_loss,
    recall_p_value,
    rows_needed,
)

DELTA = 0.1


def outcomes(rows: int, loss: float, changed: float) -> Iterator[tuple[float, float]]:
    """(loss, probability) of every number of broken and mended rows."""
    worse, better = (changed + loss) / 2, max(0.0, (changed - loss) / 2)
    for broken, mended in product(range(rows + 1), repeat=2):
        if (same := rows - broken - mended) >= 0:
            ways = comb(rows, broken) * comb(rows - broken, mended)
            yield (broken - mended) / rows, ways * worse**broken * better**mended * (1 - changed) ** same


def enumerated(sets: Sequence[PairedSet], losses: Sequence[float]) -> float:
    """Probability of the mean loss that was seen, or less, where the true losses are these."""
    changed = [min(1.0, (one.broken + one.mended + EXTRA_CHANGED) / one.rows) for one in sets]
    each = [
        list(outcomes(one.rows, loss, max(share, abs(loss))))
        for one, loss, share in zip(sets, losses, changed, strict=True)
    ]
    seen = mean_loss(sets) + 1e-9
    return sum(
        float(np.prod([chance for _, chance in found]))
        for found in product(*each)
        if sum(loss for loss, _ in found) / len(sets) <= seen
    )


@pytest.mark.parametrize("rows", [1, 5, 12, 25])
def test_the_p_value_of_one_set_is_that_of_all_its_outcomes(rows: int) -> None:
    for broken, mended in [(0, 0), (1, 0), (0, 1), (rows // 2, rows // 4), (rows // 3, rows // 2)]:
        for budget in (0.0, 0.04, 0.3, 0.8):
            one = PairedSet(rows, broken, mended)
            assert loss_p_value([one], budget) == pytest.approx(enumerated([one], [budget]), abs=1e-9)


def test_several_sets_are_tested_at_the_likeliest_losses_with_that_mean() -> None:
    """Rounding to the grid may only add to the p-value; half a hundredth at most."""
    for sets, budget in (
        ([PairedSet(12, 1, 2), PairedSet(5, 1, 0)], 0.2),
        ([PairedSet(14, 0, 0), PairedSet(4, 0, 0)], 0.3),
        ([PairedSet(8, 2, 1), PairedSet(8, 1, 1)], 0.15),
    ):
        changed = [(one.broken + one.mended + EXTRA_CHANGED) / one.rows for one in sets]
        spread = [share / one.rows for share, one in zip(changed, sets, strict=True)]
        missing = (budget - mean_loss(sets)) * len(sets) / sum(spread)
        losses = [one.loss + missing * weight for one, weight in zip(sets, spread, strict=True)]
        assert sum(losses) / len(sets) == pytest.approx(budget)
        exact, found = enumerated(sets, losses), loss_p_value(sets, budget)
        assert exact - 1e-9 <= found <= exact + 0.005


def test_where_every_change_breaks_it_is_the_binomial_test() -> None:
    """A loss as large as the share of changed rows leaves none to be mended."""
    for rows, broken, budget in ((40, 0, 0.1), (200, 3, 0.05), (1000, 2, 0.01)):
        expected = binom_test(broken, rows, budget, alternative="smaller")
        assert loss_p_value([PairedSet(rows, broken, 0)], budget) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("rows", "hits"), [(1, 0), (1, 1), (30, 24), (500, 430), (20_000, 15_900)])
@pytest.mark.parametrize("floor", [0.001, 0.5, 0.8, 1.0])
def test_the_p_value_of_a_recall_is_the_binomial_one(rows: int, hits: int, floor: float) -> None:
    expected = binom_test(hits, rows, floor, alternative="larger")
    assert recall_p_value(rows, hits, floor) == pytest.approx(expected, abs=1e-9)


def test_a_recall_cannot_be_below_0_nor_above_1() -> None:
    assert (recall_p_value(10, 0, 0.0), recall_p_value(10, 10, 1.1)) == (0.0, 1.0)


def test_no_loss_can_reach_1_or_fall_to_minus_1() -> None:
    all_broken = [PairedSet(10, 10, 0)]
    assert (loss_p_value(all_broken, 1.0), loss_p_value(all_broken, -1.0)) == (0.0, 1.0)


@cache
def rejected(sets: tuple[tuple[int, int, int], ...], budget: float) -> bool:
    return loss_p_value([PairedSet(*one) for one in sets], budget) <= DELTA


SETTINGS = [
    # rows, share of changed rows and true loss of each set
    ([100], [0.1], [0.01]),
    ([100], [0.02], [0.02]),
    ([500], [0.01], [0.01]),
    ([500], [0.3], [0.03]),
    ([1500], [0.1], [0.01]),
    ([1500], [0.012], [0.01]),
    ([5000], [0.01], [0.005]),
    ([880, 120], [0.05, 0.2], [0.0, 0.02]),
    ([880, 120], [0.02, 0.1], [-0.02, 0.04]),
    ([950, 50], [0.02, 0.05], [-0.01, 0.03]),
    ([950, 50], [0.004, 0.06], [-0.004, 0.06]),
    ([90, 10], [0.1, 0.2], [0.0, 0.02]),
    ([1350, 150], [0.002, 0.04], [0.0, 0.02]),
    ([300, 300, 300], [0.02, 0.02, 0.02], [0.01, 0.01, 0.01]),
    ([900, 80, 20], [0.05, 0.05, 0.1], [-0.03, 0.03, 0.03]),
]


@pytest.mark.parametrize(("rows", "changed", "losses"), SETTINGS)
def test_a_trigger_that_breaks_its_budget_passes_in_one_of_ten_runs_at_most(
    rows: list[int], changed: list[float], losses: list[float]
) -> None:
    """The true mean loss is the budget exactly; every rejection is an error."""
    runs, draw = 400, np.random.default_rng(sum(rows))
    found = [
        draw.multinomial(n, [(share + loss) / 2, (share - loss) / 2, 1 - share], size=runs)[:, :2].tolist()
        for n, share, loss in zip(rows, changed, losses, strict=True)
    ]
    budget = float(np.mean(losses))
    errors = sum(
        rejected(tuple((n, *each[run]) for n, each in zip(rows, found, strict=True)), budget) for run in range(runs)
    )
    assert errors / runs <= DELTA + 3 * (DELTA * (1 - DELTA) / runs) ** 0.5


@pytest.mark.parametrize(("rows", "least"), [(1000, 0.35), (1500, 0.5), (5000, 0.9)])
def test_a_trigger_that_costs_nothing_is_proved_the_oftener_the_more_rows(rows: int, least: float) -> None:
    """A tenth of the answers change, as many for the better, and the budget is one point: the power of the test."""
    runs, draw = 200, np.random.default_rng(rows)
    found = draw.multinomial(rows, [0.05, 0.05, 0.9], size=runs)[:, :2].tolist()
    proved = sum(rejected(((rows, broken, mended),), 0.01) for broken, mended in found) / runs
    assert least - 0.15 < proved < least + 0.15


@st.composite
def paired_sets(draw: st.DrawFn) -> list[PairedSet]:
    sets = []
    for _ in range(draw(st.integers(1, 3))):
        rows = draw(st.integers(1, 400))
        broken = draw(st.integers(0, rows))
        sets.append(PairedSet(rows, broken, draw(st.integers(0, rows - broken))))
    return sets


@settings(max_examples=60, deadline=None)
@given(paired_sets(), st.sampled_from([0.01, 0.05, 0.1, 0.4]))
def test_the_bound_is_the_smallest_budget_that_is_proved(sets: list[PairedSet], delta: float) -> None:
    bound = loss_bound(sets, delta)
    assert mean_loss(sets) <= bound <= 1.0
    assert bound == 1.0 or loss_p_value(sets, bound) <= delta
    assert loss_p_value(sets, bound - 2e-4) > delta or bound <= mean_loss(sets) + 2e-4


@settings(max_examples=60, deadline=None)
@given(paired_sets(), st.floats(-0.9, 0.9), st.floats(0.001, 0.3))
def test_a_larger_budget_is_easier_to_prove(sets: list[PairedSet], budget: float, more: float) -> None:
    """But for what rounding to the grid adds; budgets below what was seen are never proved."""
    assume(budget >= mean_loss(sets))
    assert loss_p_value(sets, budget + more) <= loss_p_value(sets, budget) + 0.005


@settings(max_examples=60, deadline=None)
@given(paired_sets())
def test_what_was_seen_itself_is_never_proved(sets: list[PairedSet]) -> None:
    assume(mean_loss(sets) < 1)
    assert loss_p_value(sets, mean_loss(sets)) > 0.3


def times(sets: Sequence[PairedSet], factor: float) -> list[PairedSet]:
    return [PairedSet(*(ceil(n * factor) for n in (one.rows, one.broken, one.mended))) for one in sets]


@pytest.mark.parametrize(
    "sets",
    [
        [PairedSet(1000, 52, 50)],
        [PairedSet(300, 11, 11)],
        [PairedSet(880, 40, 44), PairedSet(120, 12, 12)],
        [PairedSet(400, 20, 20), PairedSet(300, 20, 19), PairedSet(300, 8, 8)],
    ],
)
def test_so_many_rows_prove_the_budget_and_half_of_them_do_not(sets: list[PairedSet]) -> None:
    rows = sum(one.rows for one in sets)
    needed = rows_needed(sets, 0.01, DELTA)
    assert needed is not None and needed > rows
    assert loss_p_value(times(sets, 1.15 * needed / rows), 0.01) <= DELTA
    assert loss_p_value(times(sets, 0.5 * needed / rows), 0.01) > DELTA
    twice = rows_needed(times(sets, 2), 0.01, DELTA)
    assert twice == pytest.approx(needed, rel=0.05)


def test_a_budget_that_is_lost_or_a_hair_away_is_out_of_reach() -> None:
    assert rows_needed([PairedSet(1000, 20, 10)], 0.01, DELTA) is None
    assert rows_needed([PairedSet(1000, 30, 10)], 0.01, DELTA) is None
    hair = rows_needed([PairedSet(10_000, 1099, 1000)], 0.01, DELTA)
    assert hair is None or hair <= OUT_OF_REACH
    assert rows_needed([PairedSet(100_000, 10_999, 10_000)], 0.01, DELTA) is None
