"""The tables of docs/statistics.md: pairing's formula against draws, and a small run of the guard's simulation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.draws import LOOKS, ROWS, heads, paired_shares, random, short
from benchmarks.guarding import LATE, guarded, traffic
from benchmarks.ledger import compared
from benchmarks.pairing import Change, bound, ratio, seen_in
from service.ledger.time_buckets import Level
from triggers.rollout.guard_rules import GuardRules


def test_the_formula_is_the_variance_of_drawn_pairs() -> None:
    n, shares = 400, paired_shares(0.4, 0.05, 0.15)
    change = Change(n, before=0.4, after=0.5, flipped=0.2)
    pairs = random(0).multinomial(n, shares, size=20_000)
    assert np.var((pairs[:, 2] - pairs[:, 1]) / n) == pytest.approx(change.paired_variance, rel=0.05)
    apart = [random(1 + i).binomial(n // 2, p, size=20_000) / (n // 2) for i, p in enumerate((0.4, 0.5))]
    assert np.var(apart[1] - apart[0]) == pytest.approx(change.split_variance, rel=0.05)
    assert ratio([change, change]) == pytest.approx((0.24 + 0.25) * 2 / 0.19)


def test_no_trigger_does_better_than_the_bound() -> None:
    wasteful, spare = Change(100, 0.4, 0.5, flipped=0.2), Change(100, 0.4, 0.5, flipped=0.1)
    assert ratio([wasteful]) < bound([wasteful]) == bound([spare]) == pytest.approx(ratio([spare]))


def group(n: int, before: float, after: float, *flips: tuple[int, int, int]) -> dict[str, Any]:
    told = [{"before": a, "after": b, "n": each} for a, b, each in flips]
    return {"n": n, "selection_rate": {"before": before, "after": after}, "flips": told}


def test_the_two_groups_that_were_furthest_apart_and_the_flips_that_concern_selection() -> None:
    groups = {
        "a": group(100, 0.5, 0.5, (0, 1, 10), (1, 0, 10), (0, 2, 7)),
        "b": group(100, 0.2, 0.3, (0, 1, 10)),
        "c": group(100, 0.6, 0.5, (1, 2, 10)),
        "unknown": group(10, 0.9, 0.9),
    }
    pairs = {"groups": groups, "n": 310, "flipped": 47, "gains": {"demographic_parity_difference": {"value": 0.2}}}
    found = seen_in(pairs, pos_label=1)
    assert found.groups == [Change(100, 0.2, 0.3, 0.1), Change(100, 0.6, 0.5, 0.1)]
    assert seen_in(pairs | {"groups": {"a": groups["a"], "b": groups["b"]}}, 1).groups[1].flipped == 0.2


def test_the_guards_traffic_is_what_its_table_says() -> None:
    drawn = traffic(random(0), (0.2, 0.4), 0.1)
    made, labelled = drawn[Level.MINUTE], drawn[Level.ARRIVAL]
    assert all(sum(cells.values()) == 4 * ROWS for cells in made[:LOOKS])
    assert sum(labelled[LATE - 1].values()) == 0 and sum(labelled[LATE].values()) == 4 * ROWS
    rows = [(cell, n) for cells in made for cell, n in cells.items() if cell.version == 2 and cell.group == "m"]
    total = sum(n for _, n in rows)
    for share, expected in (
        (sum(n for cell, n in rows if cell.prediction), 0.4),
        (sum(n for cell, n in rows if cell.bare), 0.4),
        (sum(n for cell, n in rows if cell.prediction != cell.bare), 1 / 12),
        (sum(n for cell, n in rows if cell.prediction != cell.label), 0.1),
    ):
        assert share / total == pytest.approx(expected, abs=0.02)


def test_the_guard_finds_the_biased_challenger_and_leaves_the_fair_one() -> None:
    assert guarded(GuardRules(worse_by=0.05), (0.2, 0.4), 0.1, repeat=0) <= LOOKS
    assert guarded(GuardRules(worse_by=0.1), (0.3, 0.3), 0.1, repeat=0) == np.inf


def test_a_median_ratio_with_its_interval() -> None:
    assert compared([1.0, 0.9, 1.1]) == (1.0, 0.9, 1.1)
    assert compared([float(i) for i in range(1, 31)]) == (15.5, 10, 21)  # the usual ranks for 30


def test_tables() -> None:
    assert heads("a", "b") == "| a | b |\n| --- | --- |"
    assert short([0.3, 0.3, 0.5]) == "0.3 x 2, 0.5"
