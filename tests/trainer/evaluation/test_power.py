"""What a run of some size can show: planned figures against simulated runs, judged as reports and selection judge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from trainer.config import SelectConfig
from trainer.evaluation.certification import PairedSet, loss_p_value, recall_p_value
from trainer.evaluation.power import POWER, certification_power, visible_gaps
from trainer.evaluation.selection import RecallCell, selection_gap
from triggers.metrics import evaluate_counts
from triggers.metrics.intervals import (
    critical,
    distance_to_overall,
    max_gap_interval,
    pairwise_differences,
    simultaneous_quantile,
)
from triggers.metrics.rates import CountTable

RUNS = 4000

Rows = Mapping[str, tuple[int, ...]]
Rates = Mapping[str, tuple[float, ...]]


def table(rows: Rows, rates: Rates | None = None, *, overlapping: bool = False) -> CountTable:
    """Rows per (group, label), answered at these rates of label 1, or all with 0."""
    counts: dict[tuple[str, int | None, int], int] = {}
    for group, sizes in rows.items():
        for label, n in enumerate(sizes):
            hits = round(n * rates[group][label]) if rates else 0
            counts |= {(group, label, 1): hits, (group, label, 0): n - hits}
    return CountTable.of(counts, 2, overlapping=overlapping)


def drawn(rows: Mapping[str, int], rates: Mapping[str, float]) -> tuple[np.ndarray, np.ndarray]:
    """Hits (RUNS, G) of simulated groups, and their rows (G,)."""
    n = np.array(list(rows.values()))
    return np.random.default_rng(0).binomial(n, [rates[name] for name in rows], (RUNS, len(n))), n


def visible(rows: Mapping[str, int], rate: float, gap: float, z: float | None = None) -> float:
    """Share of simulated runs in which the interval of a gap between groups a and b excludes 0, either one on top."""
    low = max(rate - gap / 2, 0.0)
    found = []
    for top, other in ("ab", "ba"):
        hits, n = drawn(rows, {**dict.fromkeys(rows, rate), top: low + gap, other: low})
        limits = pairwise_differences(hits, n, z)[0].max(axis=-1) if z else max_gap_interval(hits, n, 0.95)[0]
        found.append((limits > 0).mean())
    return float(np.mean(found))


def both(rows: Mapping[str, int]) -> Rows:
    """The same rows, half of each label."""
    return {name: (n // 2, n - n // 2) for name, n in rows.items()}


@pytest.mark.parametrize("rate", [0.5, 0.1])
@pytest.mark.parametrize("rows", [{"a": 400, "b": 400}, {"a": 900, "b": 120}])
def test_a_gap_of_selection_rates_is_seen_in_four_runs_of_five(rate: float, rows: Mapping[str, int]) -> None:
    flat = table(both(rows), dict.fromkeys(rows, (rate, rate)))
    (gap,) = visible_gaps(table(both(rows)), flat, "demographic_parity", 1, 2)
    assert gap.groups == ("a", "b") and gap.value is not None
    assert visible(rows, rate, gap.value) == pytest.approx(POWER, abs=0.03)


def test_a_gap_of_odds_is_seen_in_four_runs_of_five() -> None:
    rows = {"a": (300, 200), "b": (250, 90)}
    flat = table(rows, {"a": (0.2, 0.8), "b": (0.2, 0.8)})
    (gap,) = visible_gaps(table(rows), flat, "equalized_odds", 1, 2)
    assert gap.value is not None
    half = gap.value / 2
    rates = {"a": (0.2 - half, 0.8 - half), "b": (0.2 + half, 0.8 + half)}
    random, found = np.random.default_rng(0), []
    for _ in range(150):
        answers = {(name, y): int(random.binomial(rows[name][y], rates[name][y])) for name in rows for y in (0, 1)}
        counts: dict[tuple[str, int | None, int], int] = {(name, y, 1): hits for (name, y), hits in answers.items()}
        counts |= {(name, y, 0): rows[name][y] - hits for (name, y), hits in answers.items()}
        found.append(selection_gap(evaluate_counts(counts), "equalized_odds")[1])
    assert np.mean([(each.low or 0) > 0 for each in found]) == pytest.approx(POWER, abs=0.1)
    assert np.mean([each.value or 0 for each in found]) == pytest.approx(gap.value, rel=0.1)


def test_of_many_groups_the_smallest_are_the_last_to_show_a_gap() -> None:
    rows = {"a": 600, "b": 40, "c": 1000, "d": 200}
    flat = table(both(rows), dict.fromkeys(rows, (0.3, 0.3)))
    largest, smallest = visible_gaps(table(both(rows)), flat, "demographic_parity", 1, 2)
    assert (largest.groups, smallest.groups) == (("c", "a"), ("d", "b"))
    assert largest.value is not None and smallest.value is not None
    z = simultaneous_quantile(0.95, 4)
    assert visible({"a": 600, "b": 1000}, 0.3, largest.value, z) == pytest.approx(POWER, abs=0.03)
    assert visible({"a": 200, "b": 40}, 0.3, smallest.value, z) == pytest.approx(POWER, abs=0.03)


def test_a_group_that_overlaps_others_is_planned_by_its_distance_to_everyone() -> None:
    rows = {"none": 1400, "black": 120, "black + female": 80, "female": 600}
    flat = table(both(rows), dict.fromkeys(rows, (0.3, 0.3)), overlapping=True)
    found = visible_gaps(table(both(rows), overlapping=True), flat, "demographic_parity", 1, 2)
    assert [gap.groups for gap in found] == [("female",), ("black",)]  # the largest, then the smallest
    assert found[1].value is not None
    apart = found[1].value * 2200 / 2000  # of 200 rows from the other 2000
    hits, n = drawn({"black": 200, "rest": 2000}, {"black": 0.3 + apart, "rest": 0.3})
    low, _ = distance_to_overall(hits[:, :1], n[:1], hits.sum(axis=1, keepdims=True), n.sum(), critical(0.95, 2))
    assert (low > 0).mean() == pytest.approx(POWER, abs=0.05)


def test_an_unknown_rate_is_planned_as_one_half_and_tiny_groups_show_nothing() -> None:
    rows = {"a": (200, 200), "b": (200, 200)}
    half = table(rows, dict.fromkeys(rows, (0.5, 0.5)))
    unknown = visible_gaps(table(rows), None, "demographic_parity", 1, 2)
    assert unknown == visible_gaps(table(rows), half, "demographic_parity", 1, 2)
    tiny = visible_gaps(table({"a": (1, 0), "b": (0, 1)}), None, "demographic_parity", 1, 2)
    assert [gap.value for gap in tiny] == [None]
    without = {"a": (200, 200), "b": (200, 0)}
    assert visible_gaps(table(without), None, "equalized_odds", 1, 2) == []


ALL: dict[RecallCell, int] = {(0, None): 1100, (1, None): 400}
GROUPS: dict[RecallCell, int] = {**ALL, (0, "a"): 600, (0, "b"): 500, (1, "a"): 250, (1, "b"): 150}
LOOSE = SelectConfig(max_accuracy_drop=0.05)


def certified(rows: Mapping[RecallCell, int], select: SelectConfig, loss: float, recall: float, runs: int) -> float:
    """Share of simulated validation parts that certify a trigger with this loss in every label."""
    random, found = np.random.default_rng(1), 0
    for _ in range(runs):
        sets = {cell: paired(random, n, loss) for cell, n in rows.items() if cell[1] is not None}
        for label in (0, 1):
            own = [one for (each, _), one in sets.items() if each == label]
            sets[label, None] = joined(own) if own else paired(random, rows[label, None], loss)
        labels = [sets[0, None], sets[1, None]]
        tested = {"accuracy": [[joined(labels)]], "balanced_accuracy": [labels], "recall": [[s] for s in sets.values()]}
        values = [loss_p_value(each, select.max_accuracy_drop) for each in tested[select.measure]]
        if recall:
            hits = [round(one.rows * (recall - one.loss)) for one in labels]
            floor = select.min_recall_ratio * recall
            values += [recall_p_value(one.rows, kept, floor) for one, kept in zip(labels, hits, strict=True)]
        found += max(values) <= select.delta
    return found / runs


def paired(random: np.random.Generator, rows: int, loss: float) -> PairedSet:
    broken, mended, _ = random.multinomial(rows, [0.05 + loss / 2, 0.05 - loss / 2, 0.9])
    return PairedSet(rows, int(broken), int(mended))


def joined(sets: list[PairedSet]) -> PairedSet:
    return PairedSet(*(sum(getattr(one, name) for one in sets) for name in ("rows", "broken", "mended")))


@pytest.mark.parametrize("select", [LOOSE, replace(LOOSE, measure="accuracy")])
def test_the_largest_loss_is_certified_in_four_runs_of_five(select: SelectConfig) -> None:
    found = certification_power(ALL, {}, select)
    assert found.rows == 1500 and found.largest_loss is not None
    assert certified(ALL, select, found.largest_loss, 0.0, 400) == pytest.approx(POWER, abs=0.06)


def test_the_recall_of_every_label_and_group_takes_more_rows() -> None:
    select = replace(LOOSE, measure="recall")
    found = certification_power(GROUPS, {}, select)
    overall = certification_power(ALL, {}, LOOSE)
    assert found.largest_loss is not None and overall.largest_loss is not None
    assert found.largest_loss < overall.largest_loss
    assert POWER - 0.06 < certified(GROUPS, select, found.largest_loss, 0.0, 200) < POWER + 0.12


def test_few_rows_certify_no_trigger_that_loses_nothing_and_say_how_many_would() -> None:
    select = SelectConfig()
    few = certification_power(ALL, {}, select)
    assert few.largest_loss is not None and few.largest_loss < 0  # only a gain
    assert few.no_loss == pytest.approx(certified(ALL, select, 0.0, 0.0, 400), abs=0.06)
    assert few.rows_needed is not None and few.rows_needed > 1500
    factor = few.rows_needed / 1500
    enough = certification_power({cell: round(n * factor) for cell, n in ALL.items()}, {}, select)
    assert enough.no_loss == pytest.approx(POWER, abs=0.002)
    assert enough.rows_needed == pytest.approx(few.rows_needed, rel=0.002)


def test_a_low_recall_in_a_rare_label_has_a_floor_that_few_rows_prove() -> None:
    rows: dict[RecallCell, int] = {(0, None): 1400, (1, None): 60}
    without = certification_power(rows, {}, LOOSE)
    found = certification_power(rows, {0: 0.9, 1: 0.4}, LOOSE)
    assert found.no_loss < 0.4 < without.no_loss
    six_hits = certification_power(rows, {0: 0.9, 1: 0.1}, LOOSE)
    assert six_hits.no_loss < 0.1
    never_found = certification_power(rows, {0: 0.9, 1: 0.0}, LOOSE)
    assert never_found.no_loss == pytest.approx(without.no_loss, abs=0.01)


def test_a_floor_is_proved_as_often_as_planned() -> None:
    rows: dict[RecallCell, int] = {(0, None): 700, (1, None): 250}
    found = certification_power(rows, {0: 0.5, 1: 0.5}, LOOSE)
    assert found.no_loss == pytest.approx(certified(rows, LOOSE, 0.0, 0.5, 400), abs=0.08)


def test_no_budget_is_never_proved_without_a_gain() -> None:
    found = certification_power(ALL, {}, SelectConfig(max_accuracy_drop=0.0))
    assert found.rows_needed is None and found.no_loss <= 0.1
    hopeless = certification_power({(0, None): 4, (1, None): 4}, {}, SelectConfig())
    assert hopeless.largest_loss is None
