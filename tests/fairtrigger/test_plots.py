"""Plots: every mark at the value of the figure that it stands for, from whatever holds the figures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas
import pytest
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

import fairtrigger
from fairtrigger.client import Client
from fairtrigger.training import TrainedRun
from tests.service.live import TOKEN
from tests.trainer.outcomes import image_config, image_outcome
from tests.trainer.reports import material, summarised
from triggers.errors import ConfigError, DataError
from triggers.model.classifier import FrozenClassifier

OVER_TIME = "demographic_parity_difference"


@pytest.fixture
def run(tmp_path: Path, image_model: FrozenClassifier) -> dict[str, Any]:
    """metrics.json of a run that never happened."""
    return summarised(material(image_config(tmp_path), image_model, image_outcome()))


def decisions(*, truth: bool = True) -> fairtrigger.auditing.AuditReport:
    """Of 100 women 20 are selected, of 50 men 40; all with the label `yes`, if they have one."""
    rows = [("f", "yes")] * 20 + [("f", "no")] * 80 + [("m", "yes")] * 40 + [("m", "no")] * 10
    frame = pandas.DataFrame(rows, columns=["sex", "said"]).assign(true="yes")
    return fairtrigger.audit(
        frame, decision="said", truth="true" if truth else None, groups=["sex"], positive="yes", labels=["no", "yes"]
    )


def bars(axes: Axes) -> list[ErrorbarContainer]:
    return [drawn for drawn in axes.containers if isinstance(drawn, ErrorbarContainer)]


def points(axes: Axes) -> list[list[list[float]]]:
    """What is drawn with intervals: x and y of the marks of each line, in order."""
    return [np.asarray(drawn.lines[0].get_xydata()).tolist() for drawn in bars(axes)]


def marks(axes: Axes) -> list[list[float]]:
    """The same of marks that no line joins."""
    return [mark for (mark,) in points(axes)]


def titles(figure: Figure) -> list[str]:
    return [axes.get_title() for axes in figure.axes]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_a_front_is_drawn_of_a_run_its_document_and_its_folder(run: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text(json.dumps(run))
    sources = (run, TrainedRun(tmp_path, run, (), (), ()), tmp_path, str(tmp_path / "metrics.json"))
    for source in sources:
        figure = fairtrigger.plots.front(source)
        assert titles(figure) == ["demographic parity difference (trained)", "average odds difference (not trained)"]
        (bare,) = [line for line in figure.axes[0].lines if line.get_label() == "no trigger"]
        report = run["bare"]["test"]
        place = (report["overall"]["accuracy"]["value"], report["gaps"][OVER_TIME]["value"])
        assert np.asarray(bare.get_xydata()).tolist() == [pytest.approx(place)]


def test_a_figure_shows_itself_in_a_notebook(run: dict[str, Any]) -> None:
    for figure in (fairtrigger.plots.front(run), fairtrigger.plots.group_rates(run)):
        assert figure._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]


def test_rates_of_a_run_are_those_without_and_with_its_trigger(run: dict[str, Any]) -> None:
    figure = fairtrigger.plots.group_rates(run)
    assert legend(figure) == ["without the trigger", "with the trigger"]
    (shown,) = [one for one in run["candidates"] if one["strength"] == run["shown"]]
    reports = (run["bare"]["test"], shown["splits"]["test"])
    wanted = [group["selection_rate"]["value"] for report in reports for group in report["groups"].values()]
    assert [x for x, _ in marks(figure.axes[0])] == pytest.approx(wanted)


def test_rates_of_an_audit_are_at_their_values_with_their_intervals(tmp_path: Path) -> None:
    audit = decisions()
    (tmp_path / "audit.json").write_text(json.dumps(audit.document))
    for source in (audit, audit.document, tmp_path / "audit.json"):
        figure = fairtrigger.plots.group_rates(source)
        assert titles(figure) == ["selection rate", "true positive rate", "accuracy"], "no row is false: no such rate"
        assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == ["f\nn = 100", "m\nn = 50"]
        assert legend(figure) == ["decisions as given"]
        for axes in figure.axes:
            assert marks(axes) == [[0.2, 0.0], [0.8, 1.0]]
        found = audit.figures["given"]["groups"]["f"]["selection_rate"]
        (bar,) = bars(figure.axes[0])[0].lines[2]
        assert bar.get_segments()[0][:, 0].tolist() == pytest.approx([found["low"], found["high"]])
    assert titles(fairtrigger.plots.group_rates(decisions(truth=False))) == ["selection rate"]


def test_what_cannot_be_plotted_is_refused_in_a_line(run: dict[str, Any], tmp_path: Path) -> None:
    refused: Sequence[tuple[Any, Any, str]] = (
        (fairtrigger.plots.front, decisions(), "of a run"),
        (fairtrigger.plots.front, 3, "int cannot be plotted"),
        (fairtrigger.plots.front, tmp_path / "absent", "absent cannot be read"),
        (fairtrigger.plots.group_rates, {}, "of an audit"),
        (fairtrigger.plots.gaps_over_time, run, "fairness_over_time"),
    )
    for plot, source, reason in refused:
        with pytest.raises(ConfigError, match=reason):
            plot(source)
    with pytest.raises(ConfigError, match="no version 'v9' here; there are decisions as given"):
        fairtrigger.plots.group_rates(decisions(), ["v9"])


def test_live_counts_are_plotted_by_version_and_over_time(service: httpx.Client) -> None:
    now, rows = datetime.now(UTC), []
    for hours, version in ((5, "none"), (4, "none"), (2, "none"), (2, "v2")):
        share = 5 if version == "none" else 2
        for at in range(40):
            said = "attractive" if at % 2 or (at // 2) % 10 < share else "plain"
            rows.append(
                {
                    "observation_id": f"{hours}-{version}-{at}",
                    "version": version,
                    "prediction": said,
                    "group": "m" if at % 2 else "f",
                    "time": (now - timedelta(hours=hours)).isoformat(),
                }
            )
    with Client(str(service.base_url), TOKEN) as client:
        assert {one.status for one in client.observe("faces", rows)} == {"counted"}
        series = client.fairness_over_time("faces", "24h", step="1h")
        figures = client.fairness("faces", "24h")
        with pytest.raises(DataError, match="defined in no step"):
            fairtrigger.plots.gaps_over_time(client.fairness_over_time("posts"))
    over_time = fairtrigger.plots.gaps_over_time(series)
    assert legend(over_time) == ["no trigger", "v2"]
    (axes,) = over_time.axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("time (UTC), steps of 1h", "demographic parity difference")
    drawn = points(axes)
    assert [len(line) for line in drawn] == [2, 1, 1], "an hour without counts breaks the line"
    wanted = [row for row in series.rows() if row["figure"] == OVER_TIME]
    assert [row["version"] for row in wanted] == ["none", "none", "none", "v2"]
    assert [row["value"] for row in wanted] == pytest.approx([0.5, 0.5, 0.5, 0.8])
    middle = (datetime.fromisoformat(wanted[0]["since"]) + timedelta(minutes=30)).timestamp() / 86_400  # days
    assert drawn[0][0] == pytest.approx([middle, 0.5]) and drawn[2][0][1] == pytest.approx(0.8)
    rates = fairtrigger.plots.group_rates(figures, ["v2", "none"])
    assert legend(rates) == ["v2", "no trigger"] and titles(rates) == ["selection rate"]
    assert [x for x, _ in marks(rates.axes[0])] == pytest.approx([0.2, 1.0, 0.5, 1.0])
    assert [tick.get_text() for tick in rates.axes[0].get_yticklabels()] == ["f\nn = 20, 60", "m\nn = 20, 60"]
    accuracy = series.rows()[1]
    assert (accuracy["figure"], accuracy["value"]) == ("accuracy", None)
    with pytest.raises(DataError, match="accuracy is defined in no step"):
        fairtrigger.plots.gaps_over_time(series, "accuracy")
    with pytest.raises(ConfigError, match="no figure 'gap' over time; there are selection_rate, accuracy, demographic"):
        fairtrigger.plots.gaps_over_time(series, "gap")
    assert legend(fairtrigger.plots.gaps_over_time(series, "selection_rate", ["v2"])) == ["v2"]
