"""How figures are written."""

from __future__ import annotations

import pytest

from trainer import formatting


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.3124, ".312"), (1.0, "1.000"), (-0.0501, "−.050"), (-0.0001, ".000"), (0.0, ".000"), (None, "–")],  # noqa: RUF001
)
def test_numbers(value: float | None, text: str) -> None:
    assert formatting.format_number(value) == text


@pytest.mark.parametrize(("value", "text"), [(0.05, "+.050"), (-0.05, "−.050"), (0.0001, ".000")])  # noqa: RUF001
def test_signs(value: float, text: str) -> None:
    assert formatting.format_change(value) == text


def test_intervals() -> None:
    assert formatting.format_interval({"value": 0.5, "low": 0.25, "high": 0.75}) == ".500 [.250, .750]"
    assert formatting.format_interval({"value": 0.5, "low": -0.25, "high": 0.75}, change=True) == "+.500 [−.250, +.750]"  # noqa: RUF001
    assert formatting.format_interval({"value": 0.5, "low": None, "high": None}) == ".500"
    assert formatting.format_interval({"value": None}) == formatting.format_interval(None) == "–"  # noqa: RUF001


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.84, "0.8 s"), (47.2, "47 s"), (200, "3 min 20 s"), (7500, "2 h 05 min"), (None, "–")],  # noqa: RUF001
)
def test_durations(value: float | None, text: str) -> None:
    assert formatting.format_seconds(value) == text


def test_lists_of_words() -> None:
    assert [formatting.join_words(words) for words in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]


def test_the_gap_that_selection_goes_by() -> None:
    gaps = {
        name: {"value": at}
        for at, name in enumerate(
            ("demographic_parity_difference", "average_odds_difference", "macro_average_odds_difference", "paper_dp")
        )
    }
    assert formatting.objective_gap({"gaps": gaps}, "demographic_parity") == (
        "demographic parity difference",
        {"value": 0},
    )
    name, gap = formatting.objective_gap({"gaps": gaps}, "equalized_odds")
    assert (name, gap["value"]) == ("average odds difference, mean over labels", 2)
    name, gap = formatting.objective_gap({"gaps": gaps, "groups_overlap": True}, "demographic_parity")
    assert (name, gap["value"]) == ("mean distance to the overall selection rate", 3)


def test_cells_of_overlapping_groups() -> None:
    rows = [["a", 0, 0, 1], ["a + b", 0, 0, 2], ["ab", 0, 0, 4]]
    assert formatting.group_rows(rows, "a", overlapping=True) == rows[:2]
    assert formatting.group_rows(rows, "a", overlapping=False) == rows[:1]
    assert formatting.group_rows(rows, "a + b", overlapping=False) == rows[1:2]
