"""Figures of files: fairlearn's and statsmodels', the same from every kind of file, and refused where ambiguous."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from fairlearn import metrics
from statsmodels.stats.proportion import proportion_confint

from fairtrigger.auditing import AuditReport, audit
from tests.fairtrigger.auditing.decisions import LOANS, Row, decisions, score_rows, write_csv
from triggers.errors import ConfigError, DataError


def figures(report: AuditReport, version: str = "given") -> Any:
    return report.figures[version]


def test_every_figure_is_fairlearns_and_every_interval_of_a_rate_statsmodels(tmp_path: Path) -> None:
    rows = decisions()
    found = figures(audit(write_csv(tmp_path / "loans.csv", rows), groups=["sex", "race"], **LOANS))
    true = np.array([row["repaid"] == "yes" for row in rows])
    decided = np.array([row["approved"] == "yes" for row in rows])
    crossed = [f"race={row['race']},sex={row['sex']}" for row in rows]
    for groups, part in ((crossed, found), ([row["sex"] for row in rows], found["attributes"]["sex"])):
        given: Any = {"y_true": true, "y_pred": decided, "sensitive_features": groups}
        gaps = {name: gap["value"] for name, gap in part["gaps"].items()}
        for name in (
            "demographic_parity_difference", "demographic_parity_ratio", "equalized_odds_difference",
            "equal_opportunity_difference",
        ):  # fmt: skip
            assert gaps[name] == pytest.approx(getattr(metrics, name)(**given)), name
        frame = metrics.MetricFrame(
            metrics={
                "selection_rate": metrics.selection_rate,
                "true_positive_rate": metrics.true_positive_rate,
                "false_positive_rate": metrics.false_positive_rate,
                "accuracy": lambda y, h: float(np.mean(y == h)),
            },
            **given,
        )
        for rate, by_group in frame.by_group.items():
            assert {name: each[rate]["value"] for name, each in part["groups"].items()} == pytest.approx(
                by_group.to_dict()
            )
            assert found["overall"][rate]["value"] == pytest.approx(frame.overall[rate])
    for group in found["groups"].values():
        rate = group["selection_rate"]
        low, high = proportion_confint(round(rate["value"] * rate["n"]), rate["n"], 0.05, "wilson")
        assert (rate["low"], rate["high"]) == pytest.approx((low, high))


def as_csv(path: Path, rows: list[dict[str, str]]) -> Any:
    return write_csv(path / "loans.csv", rows)


def as_semicolons(path: Path, rows: list[dict[str, str]]) -> Any:
    pandas.DataFrame(rows).to_csv(path / "loans.csv", sep=";", index=False)
    return path / "loans.csv"


def as_json_lines(path: Path, rows: list[dict[str, str]]) -> Any:
    (path / "loans.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path / "loans.jsonl"


def as_parquet(path: Path, rows: list[dict[str, str]]) -> Any:
    pandas.DataFrame(rows).replace("", None).to_parquet(path / "loans.parquet")
    return path / "loans.parquet"


def as_frame(path: Path, rows: list[dict[str, str]]) -> Any:
    return pandas.DataFrame(rows).replace("", np.nan)


@pytest.mark.parametrize("made", [as_csv, as_semicolons, as_json_lines, as_parquet, as_frame])
def test_every_kind_of_file_gives_the_same_figures(
    tmp_path: Path, made: Callable[[Path, list[dict[str, str]]], Any]
) -> None:
    rows = decisions(200, unlabelled=0.2)
    rows[0]["sex"] = rows[1]["sex"] = ""
    rows[2]["race"] = "NaN"
    report = audit(made(tmp_path, rows), groups=["sex", "race"], **LOANS)
    found = report.document["missing"]["given"]
    assert found["without_group"] == {"race": 1, "sex": 2} and found["without_any_of_them"] == 3
    assert found["unlabelled"] == sum(row["repaid"] == "" for row in rows) > 10
    assert any("2 of 200 rows have no known sex" in each for each in report.cautions)
    assert figures(report)["attributes"]["sex"]["groups"]["unknown"]["n"] == 2
    expected = audit(as_csv(tmp_path, rows), groups=["sex", "race"], **LOANS)
    assert report.document["versions"] == expected.document["versions"]
    assert report.figures == expected.figures


def test_a_score_file_needs_no_columns_named_and_pairs_its_versions(tmp_path: Path) -> None:
    rows = score_rows()
    path = write_csv(tmp_path / "scores.csv", rows)
    Path(f"{path}.json").write_text(json.dumps({"model": {"name": "comments", "digest": "sha256:aa"}}))
    report = audit(path, positive="toxic")
    assert list(report.figures) == ["none", "v3"]
    assert report.document["terms"]["labels"] == ["civil", "toxic"]
    assert report.document["terms"]["attributes"] == ["age", "sex"]
    assert report.document["model"] == {"name": "comments", "digest": "sha256:aa"}
    assert report.document["versions"]["v3"]["digest"] == "sha256:" + "ab" * 32
    assert report.document["versions"]["none"]["digest"] is None
    paired = report.document["paired"]["v3"]
    by_row = {(row["row"], row["version"]): row["label"] for row in rows}
    flipped = sum(by_row[str(n), "none"] != by_row[str(n), "v3"] for n in range(300))
    assert (paired["n"], paired["flipped"], paired["before"]) == (300, flipped, "none") and flipped > 5
    gain = paired["gains"]["demographic_parity_difference"]
    gaps = [figures(report, name)["gaps"]["demographic_parity_difference"]["value"] for name in ("none", "v3")]
    assert gain["value"] == pytest.approx(gaps[0] - gaps[1])


def test_more_than_two_labels_have_the_gaps_over_all_of_them(tmp_path: Path) -> None:
    rows: list[Row] = [{"label": "abc"[n % 3], "sex": "fm"[n % 2], "true": "abc"[n % 5 % 3]} for n in range(120)]
    report = audit(write_csv(tmp_path / "x.csv", rows), decision="label", truth="true", groups=["sex"], positive="b")
    assert report.document["terms"]["labels"] == ["a", "b", "c"]
    assert figures(report)["gaps"]["total_variation_distance"]["value"] == pytest.approx(0.0)
    assert figures(report)["overall"]["selection_rate"]["value"] == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("decided", "true", "n", "right"),
    [("1", "1.0", 4, 2), ("True", "1", 4, 2), ("1", "true", 4, 2)],
)
def test_numbers_and_flags_mean_labels(tmp_path: Path, decided: str, true: str, n: int, right: int) -> None:
    other = {"1": "0", "1.0": "0.0", "True": "False", "true": "false"}
    rows: list[Row] = [
        {"d": decided if at < 2 else other[decided], "t": true if at % 2 else other[true], "g": "ab"[at % 2]}
        for at in range(n)
    ]
    report = audit(write_csv(tmp_path / "x.csv", rows), decision="d", truth="t", groups=["g"])
    assert report.document["terms"] == report.document["terms"] | {"labels": ["0", "1"], "positive": "1"}
    assert figures(report)["overall"]["accuracy"]["value"] == right / n
    assert figures(report)["overall"]["selection_rate"]["value"] == 0.5


def test_labels_that_are_numbers_are_names_and_never_places(tmp_path: Path) -> None:
    rows: list[Row] = [{"d": "12"[n % 2], "t": "12"[n % 2], "g": "ab"[n // 2 % 2]} for n in range(8)]
    named: dict[str, Any] = {"decision": "d", "truth": "t", "groups": ["g"], "positive": "2"}
    found = figures(audit(write_csv(tmp_path / "x.csv", rows), **named))
    assert found["overall"]["accuracy"]["value"] == 1.0
    rows[0] = {**rows[0], "t": "0"}
    with pytest.raises(DataError, match="'0' is none of the labels 1, 2"):
        audit(write_csv(tmp_path / "x.csv", rows), labels=["1", "2"], **named)


def test_scores_are_decisions_at_a_threshold(tmp_path: Path) -> None:
    rows = decisions(200)
    path = write_csv(tmp_path / "loans.csv", rows)
    by_score = audit(path, score="points", threshold=0.5, groups=["sex"])
    selected = sum(float(row["points"]) >= 0.5 for row in rows) / 200
    assert figures(by_score)["overall"]["selection_rate"]["value"] == pytest.approx(selected)
    assert by_score.document["versions"]["given"]["threshold"] == 0.5
    named = audit(path, score="points", threshold=0.5, truth="repaid", groups=["sex"], labels=["no", "yes"])
    assert named.document["terms"]["positive"] == "yes"
    assert figures(named)["overall"]["selection_rate"] == figures(by_score)["overall"]["selection_rate"]
    right = sum((float(row["points"]) >= 0.5) == (row["repaid"] == "yes") for row in rows) / 200
    assert figures(named)["overall"]["accuracy"]["value"] == pytest.approx(right)


def test_groups_that_overlap_count_for_each_of_their_names(tmp_path: Path) -> None:
    groups = ["jewish + women", "women", "none", "jewish", ""]
    rows: list[Row] = [{"d": "10"[n % 2], "g": groups[n // 2 % 5]} for n in range(40)]
    found = figures(audit(write_csv(tmp_path / "x.csv", rows), decision="d", groups={"group": "g"}, overlapping=True))
    assert {name: each["n"] for name, each in found["groups"].items()} == {
        "jewish": 16, "women": 16, "none": 8, "unknown": 8,
    }  # fmt: skip
    assert found["groups_overlap"] is True


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no decision": ({"groups": ["sex"]}, r"no column 'label' for the decision .--decision.; there are: id, sex"),
    "misspelt": (LOANS | {"groups": ["sexe"]}, r"no column 'sexe' for the group .*did you mean sex\?"),
    "misspelt truth": (LOANS | {"groups": ["sex"], "truth": "repayed"}, r"did you mean repaid"),
    "no group": (LOANS, r"No group column is named: give --group COLUMN"),
    "no positive": (LOANS | {"groups": ["sex"], "positive": None}, r"Say --positive, one of no, yes"),
    "wrong positive": (LOANS | {"groups": ["sex"], "positive": "maybe"}, r"maybe is none of the labels no, yes"),
    "more labels than stated": (
        LOANS | {"groups": ["sex"], "labels": ["no", "perhaps"], "positive": "no"},
        r"'yes' is none of the labels no, perhaps",
    ),
    "a column of numbers": (LOANS | {"groups": ["sex"], "decision": "points", "truth": None}, r"right column\?"),
    "scores alone": ({"score": "points", "groups": ["sex"]}, r"are no decisions: give --threshold"),
    "both": (LOANS | {"groups": ["sex"], "score": "points", "threshold": 0.5}, r"give one of them"),
    "text for scores": ({"score": "sex", "threshold": 0.5, "groups": ["race"]}, r"row 1 has no number in 'sex'"),
    "an empty group": (LOANS | {"groups": ["sex", "nobody"]}, r"No row has a nobody: the column is empty"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_missing_or_ambiguous_is_refused_in_one_line(tmp_path: Path, case: str) -> None:
    path = write_csv(tmp_path / "loans.csv", [{**row, "nobody": ""} for row in decisions(150)])
    given, reason = REFUSED[case]
    with pytest.raises(DataError, match=reason) as refused:
        audit(path, **given)
    assert "\n" not in str(refused.value)


def test_rows_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    def refused(rows: list[dict[str, str]], reason: str, **named: Any) -> None:
        with pytest.raises(DataError, match=reason):
            audit(write_csv(tmp_path / "x.csv", rows), **({"positive": "toxic"} | named))

    rows = score_rows(20)
    refused([*rows, rows[0]], "Row 0 is there twice for version none: it would count twice")
    refused(
        [{**row, "group": "sex=x,age=old"} if n == 1 else row for n, row in enumerate(rows[2:])],
        "Row 1 has another group",
    )
    other = [{**row, "digest": "sha256:other"} if n == 1 else row for n, row in enumerate(rows)]
    refused(other, "Version v3 has two digests")
    refused([{**row, "label": ""} for row in rows], "row 1 has no decision in 'label'")
    words = [{**row, "repaid": {"yes": "1", "no": "0"}[row["repaid"]]} for row in decisions(40)]
    refused(words, "Decisions say no, yes and true labels 0, 1: say which", **LOANS | {"groups": ["sex"]})
    assert (
        audit(write_csv(tmp_path / "x.csv", words), **LOANS, groups=["sex"], labels=["no", "yes"]).figures
        == audit(write_csv(tmp_path / "y.csv", decisions(40)), **LOANS, groups=["sex"]).figures
    )
    many = [{**row, **{f"g{n}": "a" for n in range(5)}} for row in decisions(40)]
    refused(many, "5 attributes", **LOANS | {"groups": [f"g{n}" for n in range(5)]})
    clash = [{**row, "sex": "f,x=1" if n else "f", "x": "2" if n else "1,x=2"} for n, row in enumerate(decisions(2))]
    refused(clash, "Two groups would both be called", **LOANS | {"groups": ["sex", "x"], "labels": ["no", "yes"]})


@pytest.mark.parametrize(
    "given", [{}, {"source": "x.csv", "live": "http://x"}, {"source": "x.csv", "period": ("2025-01-01", "2025-02-01")}]
)
def test_words_that_do_not_go_together(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        audit(**given)


def test_small_groups_are_shown_and_said_to_prove_little(tmp_path: Path) -> None:
    rows = decisions(400)
    for row in rows[:12]:
        row["race"] = "Pacific Islander"
    report = audit(write_csv(tmp_path / "loans.csv", rows), groups=["race"], **LOANS)
    assert figures(report)["groups"]["Pacific Islander"]["n"] == 12
    assert any("Too few rows to say" in each and "Pacific Islander" in each for each in report.cautions)
    assert all(cell["group"] != "Pacific Islander" for cell in figures(report)["worst_cells"])
    assert "do not show that a model is fair" in report.findings[-1]


def test_the_farthest_group_is_named(tmp_path: Path) -> None:
    rows: list[Row] = [
        {"d": "1" if at < selected else "0", "g": group}
        for group, selected in (("a", 50), ("b", 52), ("c", 10))
        for at in range(100)
    ]
    report = audit(write_csv(tmp_path / "x.csv", rows), decision="d", groups=["g"])
    (cell,) = figures(report)["worst_cells"]
    assert (cell["rate"], cell["group"], cell["n"], cell["overall_outside"]) == ("selection_rate", "c", 100, True)
    assert cell["to_overall"] == pytest.approx(0.10 - 112 / 300)
    assert "differ by up to .420" in report.findings[0] and "more than chance explains" in report.findings[0]
    assert any("No row has a true label" in each for each in report.cautions)
