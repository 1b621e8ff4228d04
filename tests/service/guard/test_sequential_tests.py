"""From counted minutes to evidence: the right rows in the right places, and what each test makes of them."""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from service.guard.blocks import (
    BlockLayout,
    Blocks,
    CellIndex,
    PairedLayout,
    UnpairedLayout,
    hit_counts,
    rate_definitions,
)
from service.guard.sequential_tests import ABOVE_LIMIT, ACCURACY_LOST, WORSE, Evidence, Hypothesis, SequentialTests
from service.ledger.events import Cell
from tests.service import batch_evidence

DP = "demographic_parity_difference"
Minutes = dict[int, dict[Cell, int]]


Rates = Mapping[tuple[int, str], tuple[float, float]]


def minutes(rates: Rates, length: int = 30, n: int = 40, bare: float | None = None) -> Minutes:
    """Minutes in which each (version, group) has n labelled rows with a selection rate and an accuracy."""
    random, found = np.random.default_rng(2), {}
    for minute in range(100, 100 + length):
        cells: dict[Cell, int] = {}
        for (version, group), (rate, right) in rates.items():
            for _ in range(n):
                h = int(random.random() < rate)
                y = h if random.random() < right else 1 - h
                twin = None if bare is None else int(random.random() < bare)
                cell = Cell("m", minute, version, group, y, h, twin)
                cells[cell] = cells.get(cell, 0) + 1
        found[minute] = cells
    return found


def weighed(asked: Sequence[Hypothesis], given: Minutes, attributes: Sequence[str] = ()) -> list[Evidence]:
    """Evidence where every label came at once."""
    return weigh(asked, given, given, attributes)


def weigh(
    asked: Sequence[Hypothesis], made: Minutes, labelled: Minutes, attributes: Sequence[str] = ()
) -> list[Evidence]:
    """Evidence from all minutes at once."""
    tests = SequentialTests(asked, alpha=0.05, pos_label=1, attributes=attributes)
    tests.add(made, labelled)
    return tests.evidence()


def blocks(
    given: Minutes, layout: BlockLayout, metric: str, attributes: Sequence[str] | None = ()
) -> tuple[Blocks, list[Any]]:
    """The blocks of some minutes, and what made them."""
    index = CellIndex()
    made, found = Blocks(index, layout, rate_definitions(metric, 1), attributes), []
    for minute, cells in given.items():
        counts = index.numbered(cells)
        made.meet_cells()
        if (block := made.add(minute, counts)) is not None:
            found.append(block)
    return made, found


FAIR = {(1, "f"): (0.3, 0.9), (1, "m"): (0.3, 0.9), (2, "f"): (0.3, 0.9), (2, "m"): (0.3, 0.9)}
BIASED = FAIR | {(2, "m"): (0.6, 0.9)}
INACCURATE = FAIR | {(2, "f"): (0.3, 0.6), (2, "m"): (0.3, 0.6)}
ASKED = [
    Hypothesis(ABOVE_LIMIT, DP, 2, 0.05),
    Hypothesis(WORSE, DP, 2, 0.05, against=1),
    Hypothesis(ACCURACY_LOST, "accuracy", 2, 0.05, against=1),
]


@pytest.mark.parametrize(
    ("rates", "fired"),
    [(FAIR, [False, False, False]), (BIASED, [True, True, False]), (INACCURATE, [False, False, True])],
)
def test_each_test_fires_for_what_it_is_about(rates: Rates, fired: list[bool]) -> None:
    found = weighed(ASKED, minutes(rates))
    assert [each.fired for each in found] == fired
    assert [each.threshold for each in found] == pytest.approx([60] * 3)  # three tests share alpha
    assert all(each.peak >= each.e_value and each.peak >= 1 for each in found)


@pytest.mark.parametrize("metric", ["equal_opportunity_difference", "equalized_odds_difference", "accuracy_difference"])
def test_metrics_that_need_labels(metric: str) -> None:
    unequal = FAIR | {(2, "m"): (0.3, 0.4)}
    for rates, expected in ((FAIR, False), (unequal, True)):
        asked = [Hypothesis(ABOVE_LIMIT, metric, 2, 0.1), Hypothesis(WORSE, metric, 2, 0.1, against=1)]
        found = weighed(asked, minutes(rates, 60))
        assert [each.fired for each in found] == [expected, expected], metric


def test_only_what_needs_labels_waits_for_them() -> None:
    made = minutes(BIASED)
    found = weigh(ASKED, made, {})
    assert [(each.fired, each.n > 0) for each in found] == [(True, True), (True, True), (False, False)]
    asked = [Hypothesis(ABOVE_LIMIT, "equalized_odds_difference", 2, 0.05)]
    assert weigh(asked, {}, made)[0].n == 30 * 40 * 2


def test_twins_are_compared_with_themselves() -> None:
    biased = minutes({(2, "f"): (0.3, 0.9), (2, "m"): (0.6, 0.9)}, bare=0.3)
    (found,) = weighed([Hypothesis(WORSE, DP, 2, 0.05, twins=True)], biased)
    assert found.fired and set(found.counts) == {"v2", "none"}
    fair = minutes({(2, "f"): (0.3, 0.9), (2, "m"): (0.3, 0.9)}, bare=0.3)
    (found,) = weighed([Hypothesis(WORSE, DP, 2, 0.05, twins=True)], fair)
    assert not found.fired


def test_rows_are_counted_where_they_belong() -> None:
    given: Minutes = {
        7: {
            Cell("m", 7, 2, "f", None, 1, 0): 30,
            Cell("m", 7, 2, "m", 1, 0, 0): 20,
            Cell("m", 7, 3, "m", 1, 0, 1): 9,
            Cell("m", 7, 2, "unknown", 1, 1, 1): 5,
        }
    }
    made, (one,) = blocks(given, UnpairedLayout((2,)), DP)
    assert (made.groups, one.sum(axis=-1).tolist(), one[..., 1].tolist()) == (["f", "m"], [[[30, 20]]], [[[30, 0]]])
    assert (made.since, made.until) == (7, 8)
    _, (both,) = blocks(given, PairedLayout(2), DP)
    assert both.tolist() == [[[[0, 0, 30, 0], [0, 0, 0, 20]]]]
    assert hit_counts(both).tolist() == [[[30, 0]], [[0, 0]]]
    _, (everyone,) = blocks(given, UnpairedLayout((2,)), "accuracy", None)
    assert everyone.sum(axis=-1).tolist() == [[[25]]]  # unknown groups too


def test_minutes_are_joined_until_there_are_rows_enough() -> None:
    few = minutes({(1, "f"): (0.5, 0.9), (1, "m"): (0.5, 0.9)}, length=9, n=3)  # 6 rows a minute, 20 needed
    made, found = blocks(few, UnpairedLayout((1,)), DP)
    assert [block.sum() for block in found] == [24, 24]
    assert (made.since, made.until) == (100, 108)
    assert blocks({}, UnpairedLayout((1,)), DP)[1] == []


def test_attributes_choose_what_is_compared() -> None:
    rates = {(2, "sex=f,age=old"): (0.3, 1.0), (2, "age=old,sex=m"): (0.6, 1.0), (2, "sex=m"): (0.6, 1.0)}
    for attributes, groups in ((("sex",), {"sex=f", "sex=m"}), ((), {"age=old,sex=f", "age=old,sex=m", "sex=m"})):
        (found,) = weighed(ASKED[:1], minutes(rates), attributes=attributes)
        assert set(found.counts["v2"]["selection_rate"]) == groups and found.fired
    (found,) = weighed(ASKED[:1], minutes(rates), attributes=("age",))
    assert not found.fired


def test_evidence_is_plain_json() -> None:
    found = weighed(ASKED, minutes(BIASED, 200)) + weighed(ASKED, {})
    document = json.loads(json.dumps([each.to_dict() for each in found], allow_nan=False))
    assert (document[0]["version"], document[0]["against"], document[1]["against"]) == ("v2", None, "v1")
    assert document[0]["counts"]["v2"]["selection_rate"]["f"][1] == 200 * 40
    assert document[3]["e_value"] == 1.0 and document[3]["since"] is None
    assert math.isfinite(document[0]["peak"])


EVERY_QUESTION = [
    Hypothesis(ABOVE_LIMIT, DP, 2, 0.02),
    Hypothesis(WORSE, DP, 2, 0.02, against=1),
    Hypothesis(WORSE, DP, 2, 0.0, twins=True),
    *(
        Hypothesis(test, "equalized_odds_difference", 2, 0.01, against)
        for test, against in ((ABOVE_LIMIT, None), (WORSE, 1))
    ),
    Hypothesis(WORSE, "equalized_odds_difference", 2, 0.0, twins=True),
    Hypothesis(ACCURACY_LOST, "accuracy", 2, 0.01, against=1),
    Hypothesis(ACCURACY_LOST, "accuracy", 2, 0.0, twins=True),
]


def traffic(seed: int, groups: int, length: int, rows: int, first: int = 0) -> Minutes:
    """Minutes of two versions with twins, a tenth of the answers wrong; the new one selects one group too often."""
    random, found = np.random.default_rng(seed), {}
    for minute in range(100 + first, 100 + first + length):
        cells: dict[Cell, int] = {}
        for version, g in product((1, 2), range(groups)):
            for y, wrong, twin_wrong, more in random.random((random.integers(1, rows), 4)) < (0.3, 0.1, 0.1, 0.7):
                h = int((y ^ wrong) | (more and version == 2 and g == 0))
                cell = Cell("m", minute, version, f"g{g}", int(y), h, int(y ^ twin_wrong))
                cells[cell] = cells.get(cell, 0) + 1
        found[minute] = cells
    return found


def rounded(found: Evidence) -> dict[str, Any]:
    return asdict(found) | {
        "e_value": pytest.approx(found.e_value, rel=1e-6),
        "peak": pytest.approx(found.peak, rel=1e-6),
    }


def fed(given: Minutes, cuts: Sequence[int]) -> list[Evidence]:
    """Evidence from minutes that came in several goes."""
    tests = SequentialTests(EVERY_QUESTION, alpha=0.05, pos_label=1)
    order = sorted(given)
    for start, end in zip([0, *cuts], [*cuts, len(order)], strict=True):
        part = {minute: given[minute] for minute in order[start:end]}
        tests.add(part, part)
        tests.evidence()
    return tests.evidence()


@settings(max_examples=25, deadline=None)
@drawn(st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 40), st.integers(2, 60), st.data())
def test_sums_so_far_say_what_the_whole_history_says(
    seed: int, groups: int, length: int, rows: int, data: st.DataObject
) -> None:
    given = traffic(seed, groups, length, rows)
    cuts = sorted(data.draw(st.lists(st.integers(0, length), max_size=4)))
    for found in fed(given, cuts):
        whole = batch_evidence.weigh(found.hypothesis, given, found.alpha, found.threshold)
        assert asdict(found) == rounded(whole), found.hypothesis


def test_the_drawn_histories_do_fire() -> None:
    """Else the test above would compare ones with ones."""
    found = fed(traffic(3, 4, 40, 60), [])
    assert all(each.peak > 10 for each in found), [each.peak for each in found]


def test_a_group_that_comes_later_joins_from_then_on() -> None:
    early, late = traffic(3, 3, 20, 60), traffic(4, 5, 3, 60, first=20)
    before, joined = fed(early, []), fed(early | late, [])
    assert joined == fed(early | late, [7, 20, 21]) == fed(early | late, range(1, 23))
    for was, found in zip(before, joined, strict=True):
        assert found.peak >= was.peak and found.blocks > was.blocks  # what is decided is not decided again
    worse, was = joined[1], before[1]
    assert was.fired and worse.e_value < was.e_value  # bets against the pairs that joined begin with a stake of 1


def test_e_values_are_one_before_any_bet_and_two_rates_are_averaged() -> None:
    given = minutes(FAIR | {(2, "f"): (0.3, 0.75)}, length=3, n=120)
    asked = [
        Hypothesis(ABOVE_LIMIT, metric, 2, 0.05)
        for metric in ("equalized_odds_difference", "equal_opportunity_difference", "false_positive_rate_difference")
    ]
    for none in (weighed(asked, {}), weighed(asked, {100: given[100]})):  # the first block only sets the odds
        assert [value for each in none for value in (each.e_value, each.peak)] == pytest.approx([1.0] * 6)
    both, positive, negative = (each.e_value for each in weighed(asked, given))
    assert positive != pytest.approx(negative, rel=0.5)
    assert both == pytest.approx((positive + negative) / 2)


def test_the_alarm_is_raised_at_the_threshold_itself() -> None:
    (found, *_) = weighed(ASKED, {})
    assert found.threshold == 3 / 0.05  # three tests share alpha
    assert replace(found, peak=found.threshold).fired
    assert not replace(found, peak=np.nextafter(found.threshold, 0)).fired


def test_what_is_kept_does_not_grow_with_the_minutes() -> None:
    tests = SequentialTests(EVERY_QUESTION, alpha=0.05, pos_label=1)
    sizes = []
    for part in range(3):
        some = traffic(5, 4, 40, 20, first=40 * part)
        tests.add(some, some)
        sizes.append(
            len(pickle.dumps(tests._index)) + sum(len(pickle.dumps(vars(each._process))) for each in tests._tests)
        )
        assert all(each._ended == [] for each in tests._tests)
    assert sizes[2] <= sizes[1] * 1.01
