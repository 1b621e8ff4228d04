"""The template of Local Law 144: the figures of the rules' own examples, and what is asked around them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fairtrigger.auditing import AuditReport, audit
from tests.fairtrigger.auditing.decisions import LOANS, Row, decisions, write_csv
from triggers.errors import ConfigError, DataError

Example = tuple[str, int, int, float, float]
"""Category, people, selected or above the median, rate in per cent, impact ratio."""

# In the form of the rules' example of selection rates; these numbers were not compared with the text of the rules.
SELECTED: dict[str, list[Example]] = {
    "sex": [("Male", 1390, 667, 48, 1.00), ("Female", 1181, 555, 47, 0.979)],
    "race": [
        ("Hispanic or Latino", 408, 204, 50, 0.97),
        ("White", 797, 412, 52, 1.00),
        ("Black or African American", 390, 170, 44, 0.84),
        ("Native Hawaiian or Pacific Islander", 119, 52, 44, 0.85),
        ("Asian", 616, 302, 49, 0.95),
        ("Native American or Alaska Native", 41, 18, 44, 0.85),
        ("Two or More Races", 213, 96, 45, 0.87),
    ],
}
# 6 RCNY 5-301: people, rates and ratios as published; how many are above the median follows from people and rate.
SCORED: dict[str, list[Example]] = {
    "sex": [("Male", 92, 50, 54.3, 1.00), ("Female", 76, 34, 44.7, 0.82)],
    "race": [
        ("Hispanic or Latino", 28, 18, 64.2, 1.00),
        ("White", 40, 15, 37.5, 0.58),
        ("Black or African American", 32, 16, 50.0, 0.78),
        ("Native Hawaiian or Pacific Islander", 8, 5, 62.5, 0.97),
        ("Asian", 24, 10, 41.7, 0.65),
    ],
}


def people(examples: dict[str, list[Example]]) -> Iterable[tuple[dict[str, str], bool]]:
    """A person for each of an example's numbers; the tables by sex and by race are of different people here."""
    for attribute, categories in examples.items():
        for category, n, hits, _, _ in categories:
            for at in range(n):
                yield {"sex": "", "race": "", attribute: category}, at < hits


def tables(report: AuditReport, rate: str = "selection_rate") -> dict[str, Any]:
    return {table["by"]: table for table in report.document["impact_ratios"]["given"] if table["rate"] == rate}


def agree(found: list[dict[str, Any]], wanted: list[Example], digits: int) -> None:
    assert {(row["category"], row["n"], row["hits"]) for row in found} == {each[:3] for each in wanted}
    by_name = {row["category"]: row for row in found}
    for category, _, _, rate, ratio in wanted:
        assert by_name[category]["rate"] * 100 == pytest.approx(rate, abs=0.51 * 10**-digits + 0.05)
        assert by_name[category]["impact_ratio"] == pytest.approx(ratio, abs=0.0101)


def test_selection_rates_of_nine_categories(tmp_path: Path) -> None:
    rows: list[Row] = [{**person, "chosen": "yes" if hit else "no"} for person, hit in people(SELECTED)]
    rows += [{"sex": "", "race": "", "chosen": "no"}] * 250
    path = write_csv(tmp_path / "people.csv", rows)
    report = audit(path, decision="chosen", positive="yes", groups=["sex", "race"], template="ll144")
    found = tables(report)
    agree(found["sex"]["categories"], SELECTED["sex"], 0)
    agree(found["race or ethnicity"]["categories"], SELECTED["race"], 0)
    assert found["sex"]["categories"][0]["impact_ratio"] == pytest.approx(0.979, abs=0.0005)
    assert found["sex"]["unknown"] == 2584 + 250 and found["race or ethnicity"]["unknown"] == 2571 + 250
    assert found["intersection"]["categories"] == [] and found["intersection"]["unknown"] == 2571 + 2584 + 250


def test_the_rules_example_of_scoring_rates(tmp_path: Path) -> None:
    """The median of all is 50 by construction: who is above has 60, who is not has 40, the rest 50."""
    rows: list[Row] = [{**person, "score": "60" if hit else "40"} for person, hit in people(SCORED)]
    above = sum(row["score"] == "60" for row in rows)
    below = len(rows) - above
    rows += [{"sex": "", "race": "", "score": "50"}] * (abs(above - below) + 1)
    path = write_csv(tmp_path / "people.csv", rows)
    report = audit(path, score="score", groups=["sex", "race"], template="ll144")
    assert report.document["versions"]["given"]["threshold"] == 50
    assert tables(report) == {}
    found = tables(report, "scoring_rate")
    agree(found["sex"]["categories"], SCORED["sex"], 1)
    agree(found["race or ethnicity"]["categories"], SCORED["race"], 1)


def test_intersections_and_scores_beside_decisions(tmp_path: Path) -> None:
    rows = decisions(300)
    path = write_csv(tmp_path / "loans.csv", rows)
    report = audit(path, groups=["sex", "race"], score="points", template="ll144", **LOANS)
    middle = float(np.median([float(row["points"]) for row in rows]))
    for rate, hit in (
        ("selection_rate", lambda row: row["approved"] == "yes"),
        ("scoring_rate", lambda row: float(row["points"]) > middle),
    ):
        table = tables(report, rate)["intersection"]
        rates: dict[str, list[bool]] = {}
        for row in rows:
            rates.setdefault(f"{row['race']}, {row['sex']}", []).append(hit(row))
        highest = max(float(np.mean(each)) for each in rates.values())
        assert {each["category"]: each["impact_ratio"] for each in table["categories"]} == pytest.approx(
            {name: float(np.mean(each)) / highest for name, each in rates.items()}
        )
    assert report.document["versions"]["given"]["scores"]["median"] == middle


def test_a_small_category_is_shown_and_left_out_of_ratios_only_when_somebody_says_why(tmp_path: Path) -> None:
    rows: list[Row] = [
        {"sex": "f", "race": race, "d": "1" if at < hits else "0"}
        for race, n, hits in (("A", 500, 250), ("B", 490, 196), ("C", 10, 9))
        for at in range(n)
    ]
    path = write_csv(tmp_path / "x.csv", rows)
    named: dict[str, Any] = {"decision": "d", "groups": ["sex", "race"], "template": "ll144"}

    def by_race(**more: Any) -> dict[str, Any]:
        table = tables(audit(path, **named, **more))["race or ethnicity"]
        return {row["category"]: row for row in table["categories"]}

    kept = by_race()
    assert kept["A"]["impact_ratio"] == pytest.approx(0.5 / 0.9) and kept["C"]["impact_ratio"] == 1
    assert [kept[name]["below_two_percent"] for name in "ABC"] == [False, False, True]
    left = by_race(exclude_small="too few to compare")
    assert left["A"]["impact_ratio"] == 1 and left["B"]["impact_ratio"] == pytest.approx(0.8)
    assert left["C"] == kept["C"] | {"impact_ratio": None, "left_out": True}
    html = audit(path, **named, exclude_small="too few to compare").html()
    assert "left out of the ratios: too few to compare" in html


def test_the_period_and_the_year_are_stated(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "loans.csv", decisions(60))
    named: dict[str, Any] = {**LOANS, "groups": {"gender": "sex", "ethnicity": "race"}, "template": "ll144"}
    html = audit(path, **named, period=("2024-01-01", "2025-12-31")).html()
    assert "731 days, which is more than a year" in html and "relied on for one year" in html
    assert "which is more" not in audit(path, **named, period=("2025-01-01", "2025-12-31")).html()
    assert "period of the data is not stated" in audit(path, **named).html()
    with pytest.raises(ConfigError, match="give two days"):
        audit(path, **named, period=("2025", "x"))
    with pytest.raises(DataError, match="ends before it begins"):
        audit(path, **named, period=("2025-02-01", "2025-01-01"))
    with pytest.raises(DataError, match="needs one attribute race"):
        audit(path, **{**named, "groups": ["sex"]})
    with pytest.raises(DataError, match="overlapping"):
        audit(path, **{**named, "groups": ["sex"]}, overlapping=True)


def test_no_pass_mark_is_stated_anywhere(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "loans.csv", decisions(200))
    html = audit(path, **LOANS, groups=["sex", "race"], template="ll144").html()
    assert "The rules state no ratio that passes" in html
    assert not any(word in html.lower() for word in ("four-fifths", "4/5", "80 %", "adverse impact", "compliant"))


def test_a_score_at_the_median_is_not_above_it(tmp_path: Path) -> None:
    scores = {"f": (1, 2, 2, 3), "m": (2, 2, 3, 3, 0)}
    rows: list[Row] = [
        {"sex": sex, "race": "A", "d": "1", "points": str(each)} for sex in scores for each in scores[sex]
    ]
    path = write_csv(tmp_path / "x.csv", rows)
    named: dict[str, Any] = {"score": "points", "groups": ["sex", "race"], "template": "ll144"}
    beside: dict[str, Any] = {"decision": "d", "labels": ["0", "1"]}
    for more in ({}, beside):
        table = tables(audit(path, **named, **more), "scoring_rate")["sex"]
        assert {row["category"]: (row["hits"], row["n"]) for row in table["categories"]} == {"f": (1, 4), "m": (2, 5)}
    cut = audit(path, **named).figures["given"]["attributes"]["sex"]["groups"]
    assert {name: each["selection_rate"]["value"] for name, each in cut.items()} == {"f": 0.25, "m": 0.4}
