"""What is said of a version beyond its plain figures: attributes, gains of twins, the front."""

from __future__ import annotations

import json

import pytest

from service.fairness.pareto_front import pareto_front
from service.fairness.version_report import ReportParams, regroup, version_report
from service.ledger.events import Cell

TERMS = ReportParams(labels=2, pos_label=1)


def cell(group: str, label: int | None, prediction: int, bare: int | None = None) -> Cell:
    return Cell("faces", 0, 3, group, label, prediction, bare)


def test_every_attribute_has_its_own_figures() -> None:
    cells = {
        cell("sex=f,age=old", 1, 1): 30, cell("sex=f,age=young", 0, 0): 30, cell("age=old,sex=m", 1, 0): 40,
        cell("sex=m,age=young", 0, 1): 20, cell("unknown", 1, 1): 5,
    }  # fmt: skip
    report = version_report(regroup(cells, ()), TERMS)
    assert set(report["groups"]) == {"age=old,sex=f", "age=old,sex=m", "age=young,sex=f", "age=young,sex=m", "unknown"}
    assert set(report["attributes"]) == {"age", "sex"}
    sex = report["attributes"]["sex"]
    assert {name: each["n"] for name, each in sex["groups"].items()} == {"sex=f": 60, "sex=m": 60, "unknown": 5}
    assert sex["gaps"]["demographic_parity_difference"]["value"] == pytest.approx(30 / 60 - 20 / 60)
    alone = version_report(regroup(cells, ("sex",)), TERMS)
    assert alone["groups"] == sex["groups"] and alone["attributes"] == {}


def test_the_gain_of_twins() -> None:
    cells = {cell("f", 1, 1, 1): 40, cell("f", 0, 0, 1): 10, cell("m", 1, 1, 0): 10, cell("m", 0, 0, 0): 40}
    paired = version_report(cells | {cell("m", 0, 1): 99}, TERMS)["paired"]
    gain = paired["gains"]["demographic_parity_difference"]
    assert (gain["before"], gain["after"], gain["value"]) == pytest.approx((1.0, 0.6, 0.4))
    assert gain["low"] > 0.2 and paired["n"] == 100 and paired["flipped"] == 20
    assert paired["overall"]["accuracy"]["value"] == pytest.approx(0.2)
    assert paired["groups"]["f"]["flips"] == [{"before": 1, "after": 0, "n": 10}]
    assert version_report({cell("m", 0, 1): 99}, TERMS)["paired"] is None


def test_a_version_is_beaten_by_what_is_as_accurate_and_fairer() -> None:
    def version(right: int, gap: int) -> dict[Cell, int]:
        """Of 100 rows of two groups each: right answers, and so many more selected in the first."""
        rows = {cell("f", 1, 1): 50 + gap, cell("f", 1, 0): 50 - gap, cell("m", 1, 1): 50, cell("m", 1, 0): 50}
        # who has no group makes up for what the gap does to accuracy
        return rows | {cell("unknown", 0, 0): right - gap, cell("unknown", 0, 1): 1000 - right + gap}

    points = pareto_front(
        {"bare": version(900, 20), "v1": version(900, 10), "v2": version(950, 30), "v3": {}}, {}, TERMS
    )
    beaten = {point["version"]: point["demographic_parity_difference"]["beaten_by"] for point in points}
    assert beaten == {"bare": ["v1"], "v1": [], "v2": [], "v3": None}
    json.dumps(points, allow_nan=False)
