"""From counted minutes to evidence: the right rows in the right places, and what each test makes of them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from service.event import Cell
from service.evidence import ABOVE_LIMIT, ACCURACY_LOST, WORSE, Evidence, Question, weigh
from service.samples import apart, paired, rates_of

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


def weighed(asked: Sequence[Question], given: Minutes, attributes: Sequence[str] = ()) -> list[Evidence]:
    """Evidence where every label came at once."""
    return weigh(asked, given, given, alpha=0.05, pos_label=1, attributes=attributes)


FAIR = {(1, "f"): (0.3, 0.9), (1, "m"): (0.3, 0.9), (2, "f"): (0.3, 0.9), (2, "m"): (0.3, 0.9)}
BIASED = FAIR | {(2, "m"): (0.6, 0.9)}
INACCURATE = FAIR | {(2, "f"): (0.3, 0.6), (2, "m"): (0.3, 0.6)}
ASKED = [
    Question(ABOVE_LIMIT, DP, 2, 0.05),
    Question(WORSE, DP, 2, 0.05, against=1),
    Question(ACCURACY_LOST, "accuracy", 2, 0.05, against=1),
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
        asked = [Question(ABOVE_LIMIT, metric, 2, 0.1), Question(WORSE, metric, 2, 0.1, against=1)]
        found = weighed(asked, minutes(rates, 60))
        assert [each.fired for each in found] == [expected, expected], metric


def test_only_what_needs_labels_waits_for_them() -> None:
    made = minutes(BIASED)
    found = weigh(ASKED, made, {}, alpha=0.05, pos_label=1)
    assert [(each.fired, each.n > 0) for each in found] == [(True, True), (True, True), (False, False)]
    asked = [Question(ABOVE_LIMIT, "equalized_odds_difference", 2, 0.05)]
    assert weigh(asked, {}, made, alpha=0.05, pos_label=1)[0].n == 30 * 40 * 2


def test_twins_are_compared_with_themselves() -> None:
    biased = minutes({(2, "f"): (0.3, 0.9), (2, "m"): (0.6, 0.9)}, bare=0.3)
    (found,) = weighed([Question(WORSE, DP, 2, 0.05, twins=True)], biased)
    assert found.fired and set(found.counts) == {"v2", "none"}
    fair = minutes({(2, "f"): (0.3, 0.9), (2, "m"): (0.3, 0.9)}, bare=0.3)
    (found,) = weighed([Question(WORSE, DP, 2, 0.05, twins=True)], fair)
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
    (selection,) = rates_of(DP, 1)
    one = apart(given, [2], [selection], ())
    assert (one.groups, one.n.tolist(), one.hits.tolist()) == (["f", "m"], [[[[30, 20]]]], [[[[30, 0]]]])
    assert (one.since, one.until) == (7, 8)
    both = paired(given, 2, [selection], ())
    assert both.rows.tolist() == [[[[[0, 0, 30, 0], [0, 0, 0, 20]]]]]
    assert both.hits.tolist() == [[[[30, 0]], [[0, 0]]]]
    assert apart(given, [2], rates_of("accuracy", 1), None).n.tolist() == [[[[25]]]]  # unknown groups too


def test_minutes_are_joined_until_there_are_rows_enough() -> None:
    few = minutes({(1, "f"): (0.5, 0.9), (1, "m"): (0.5, 0.9)}, length=9, n=3)  # 6 rows a minute, 20 needed
    sample = apart(few, [1], rates_of(DP, 1), ())
    assert sample.n.sum(axis=(1, 2, 3)).tolist() == [24, 24]
    assert (sample.since, sample.until) == (100, 108)
    assert len(apart({}, [1], rates_of(DP, 1), ()).rows) == 0


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
