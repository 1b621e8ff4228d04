"""fairlearn's MetricFrame out of an audit, and an audit out of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fairlearn.metrics import MetricFrame, count, selection_rate, true_positive_rate

from fairtrigger.auditing import audit
from tests.fairtrigger.auditing.decisions import LOANS, Row, decisions, score_rows, write_csv
from triggers.errors import DataError, NotFound


def test_a_metric_frame_is_the_one_of_the_rows(tmp_path: Path) -> None:
    rows = decisions(300)
    report = audit(write_csv(tmp_path / "loans.csv", rows), groups=["sex", "race"], **LOANS)
    frame = report.metric_frame()
    assert list(frame.by_group.columns) == [
        "count", "selection_rate", "accuracy", "true_positive_rate", "false_positive_rate",
    ]  # fmt: skip
    own: Any = MetricFrame(
        metrics={"count": count, "selection_rate": selection_rate, "true_positive_rate": true_positive_rate},
        y_true=np.array([row["repaid"] == "yes" for row in rows]),
        y_pred=np.array([row["approved"] == "yes" for row in rows]),
        sensitive_features={name: [row[name] for row in rows] for name in ("race", "sex")},
    )
    for rate in ("count", "selection_rate", "true_positive_rate"):
        assert frame.by_group[rate].to_dict() == pytest.approx(own.by_group[rate].to_dict())
    groups = report.figures["given"]["groups"]
    for (race, sex), found in frame.by_group.iterrows():
        for rate in ("selection_rate", "accuracy", "true_positive_rate", "false_positive_rate"):
            assert groups[f"race={race},sex={sex}"][rate]["value"] == pytest.approx(found[rate])


def test_more_than_two_labels_and_a_named_version(tmp_path: Path) -> None:
    rows: list[Row] = [
        {"d": "abc"[n * 5 % 7 % 3], "t": "abc"[n % 3], "g": "xy"[n % 2], "v": "pq"[n // 60]} for n in range(120)
    ]
    path = write_csv(tmp_path / "x.csv", rows)
    report = audit(path, decision="d", truth="t", groups=["g"], version="v", positive="b")
    frame = report.metric_frame("q")
    for name, group in report.figures["q"]["groups"].items():
        for rate in ("selection_rate", "accuracy", "true_positive_rate", "false_positive_rate"):
            assert frame.by_group[rate][name] == pytest.approx(group[rate]["value"])
    with pytest.raises(NotFound, match="no version 'r'; it has p, q"):
        report.metric_frame("r")


def test_rows_without_a_label_are_left_out_only_when_asked(tmp_path: Path) -> None:
    rows = decisions(200, unlabelled=0.3)
    report = audit(write_csv(tmp_path / "loans.csv", rows), groups=["sex"], **LOANS)
    with pytest.raises(DataError, match="of 200 rows have no true label"):
        report.metric_frame()
    frame = report.metric_frame(labelled_only=True)
    assert frame.overall["count"] == sum(row["repaid"] != "" for row in rows)
    assert frame.overall["accuracy"] == pytest.approx(report.figures["given"]["overall"]["accuracy"]["value"])
    bare = audit(write_csv(tmp_path / "x.csv", rows), groups=["sex"], **LOANS | {"truth": None})
    assert list(bare.metric_frame().by_group.columns) == ["count", "selection_rate"]
    with pytest.raises(DataError, match="No row has a true label"):
        bare.metric_frame(labelled_only=True)


def test_overlapping_groups_are_no_metric_frame(tmp_path: Path) -> None:
    rows: list[Row] = [{"d": "10"[n % 2], "g": ("a + b", "a")[n // 2 % 2]} for n in range(8)]
    report = audit(write_csv(tmp_path / "x.csv", rows), decision="d", groups={"group": "g"}, overlapping=True)
    with pytest.raises(DataError, match="these overlap"):
        report.metric_frame()


def test_the_counts_of_a_metric_frame_are_audited() -> None:
    rows = decisions(300)
    decided = np.array([row["approved"] == "yes" for row in rows])
    given: Any = {"y_true": decided, "y_pred": decided}
    features = {name: [row[name] for row in rows] for name in ("sex", "race")}
    metrics = {"count": count, "selection_rate": selection_rate}
    frame: Any = MetricFrame(metrics=metrics, sensitive_features=features, **given)
    report = audit(frame)
    gap = report.figures["given"]["gaps"]["demographic_parity_difference"]
    assert gap["value"] == pytest.approx(frame.difference()["selection_rate"])
    assert report.figures["given"]["n"] == 300 and report.document["terms"]["attributes"] == ["race", "sex"]
    assert report.figures["given"]["overall"]["selection_rate"]["value"] == pytest.approx(decided.mean())
    assert report.metric_frame().by_group["count"].to_dict() == {
        (race, sex): n for (sex, race), n in frame.by_group["count"].to_dict().items()
    }
    bare: Any = MetricFrame(metrics={"selection_rate": selection_rate}, sensitive_features=features, **given)
    with pytest.raises(DataError, match="has no count by group"):
        audit(bare)
    alone: Any = MetricFrame(metrics=selection_rate, sensitive_features=features, **given)
    with pytest.raises(DataError, match="has no count and no selection_rate"):
        audit(alone)
    features_of = {"sex": features["sex"]}
    controlled: Any = MetricFrame(
        metrics=metrics, sensitive_features=features_of, control_features=features["race"], **given
    )
    with pytest.raises(DataError, match="control features"):
        audit(controlled)


def test_a_data_frame_holds_every_figure(tmp_path: Path) -> None:
    report = audit(write_csv(tmp_path / "scores.csv", score_rows()), positive="toxic")
    table = report.data_frame()
    row = table.query("version == 'v3' and attributes == 'sex' and group == 'female' and figure == 'selection_rate'")
    assert len(row) == 1
    estimate = report.figures["v3"]["attributes"]["sex"]["groups"]["female"]["selection_rate"]
    assert row.iloc[0][["value", "low", "high", "n"]].tolist() == list(estimate.values())[:4]
    report.write(tmp_path / "out")
    import pandas

    again = pandas.read_csv(tmp_path / "out" / "audit.csv")
    assert len(again) == len(table) and again["value"].tolist() == pytest.approx(table["value"].tolist())
