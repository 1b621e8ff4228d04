"""Live statistics: what a window contains, per version, and what is said about its limits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from service.fairness.monitor import GROUPINGS, FairnessMonitor, iso_timestamp
from service.fairness.time_windows import WINDOW_MINUTES
from service.ledger.events import Feedback, PredictionEvent
from service.ledger.ledger import Ledger
from tests.service.counted import NEVER, locked
from triggers.errors import InputError, NotFound, StoreUnavailable
from triggers.metrics.fairness_report import evaluate_counts

NOW = 1_790_000_000.0  # 20 s into a minute
MINUTE = int(NOW // 60)
Cells = dict[tuple[str, int | None, int], int]


@dataclass(frozen=True)
class Faces:
    """A model with two labels."""

    labels: tuple[str, ...] = ("plain", "attractive")
    pos_label: int = 1


@dataclass(frozen=True)
class Digits:
    """A model with three labels, of which the first is the selected one."""

    labels: tuple[str, ...] = ("zero", "one", "two")
    pos_label: int = 0


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(
        tmp_path / "ledger.sqlite", flush_interval=NEVER, max_groups=4, busy_seconds=0.05, clock=lambda: NOW
    ) as opened:
        yield opened


@pytest.fixture
def monitor(ledger: Ledger) -> FairnessMonitor:
    return FairnessMonitor(ledger, {"faces": Faces(), "digits": Digits()}, clock=lambda: NOW)


def count(
    ledger: Ledger, n: int, group: str, h: int, y: int | None = None, *,
    version: int | None = None, bare: int | None = None, minute: int = MINUTE, model: str = "faces",
) -> None:  # fmt: skip
    """Count `n` equal predictions, labelled if `y` is given."""
    events = [PredictionEvent(model, minute, version, h, ledger.canonical_group(model, group), bare) for _ in range(n)]
    for event in events:
        ledger.record(event)
    if y is not None:
        ledger.feedback([Feedback(event, y) for event in events])


def fill(ledger: Ledger, version: int | None, cells: Cells) -> None:
    for (group, y, h), n in cells.items():
        count(ledger, n, group, h, y, version=version)


BARE: Cells = {("f", 1, 1): 30, ("f", 0, 1): 20, ("f", 0, 0): 50, ("m", 1, 1): 10, ("m", 1, 0): 20, ("m", 0, 0): 70}
FAIR: Cells = {("f", 1, 1): 25, ("f", 0, 0): 75, ("m", 1, 1): 20, ("m", 0, 0): 80}


def test_versions_are_reported_apart_and_together(ledger: Ledger, monitor: FairnessMonitor) -> None:
    fill(ledger, None, BARE)
    fill(ledger, 3, FAIR)
    document = monitor.fairness_report("faces")
    assert list(document["versions"]) == ["bare", "v3"]
    for name, cells in (("bare", BARE), ("v3", FAIR)):
        expected = json.loads(json.dumps(evaluate_counts(cells).to_dict()))
        got = json.loads(json.dumps(document["versions"][name]))
        assert {key: got[key] for key in expected} == expected
        assert {(c["group"], c["label"], c["prediction"]): c["n"] for c in got["counts"]} == cells
    assert document["versions"]["bare"]["gaps"]["demographic_parity_difference"]["value"] == pytest.approx(0.4)
    (total,) = monitor.fairness_report("faces", by="total")["versions"].values()
    assert total["n"] == sum(BARE.values()) + sum(FAIR.values())


def test_the_document_is_plain_json_and_names_its_terms(ledger: Ledger, monitor: FairnessMonitor) -> None:
    fill(ledger, None, BARE)
    document = json.loads(json.dumps(monitor.fairness_report("faces", "1h"), allow_nan=False))
    assert document["window"] == {
        "name": "1h",
        "since": iso_timestamp((MINUTE - 59) * 60),
        "until": iso_timestamp((MINUTE + 1) * 60),
    }
    assert (document["labels"], document["pos_label"]) == (["plain", "attractive"], 1)
    assert (document["confidence"], document["as_of"]) == (0.95, "2026-09-21T14:13:20.000Z")
    assert (document["stale"], document["possible_loss"], document["warnings"]) == (False, None, [])


@pytest.mark.parametrize(("window", "expected"), [("5m", 5), ("15m", 15), ("1h", 60), ("6h", 360), ("all", 500)])
def test_a_window_holds_its_minutes_and_the_current_one(
    ledger: Ledger, monitor: FairnessMonitor, window: str, expected: int
) -> None:
    for age in range(500):
        count(ledger, 1, "f", 1, minute=MINUTE - age)
    assert monitor.fairness_report("faces", window)["versions"]["bare"]["n"] == expected


def test_a_late_label_improves_the_minute_of_its_prediction(ledger: Ledger, monitor: FairnessMonitor) -> None:
    old = PredictionEvent("faces", MINUTE - 30, None, 1, "f")
    ledger.record(old)
    ledger.feedback([Feedback(old, 1)])
    assert monitor.fairness_report("faces", "5m")["versions"] == {}
    assert monitor.fairness_report("faces", "1h")["versions"]["bare"]["labelled"] == 1


def test_nothing_counted_yet(monitor: FairnessMonitor) -> None:
    assert monitor.fairness_report("faces")["versions"] == {}
    total = monitor.fairness_report("faces", by="total")["versions"]["total"]
    assert (total["n"], total["twins"], total["counts"]) == (0, None, [])
    assert total["gaps"]["demographic_parity_difference"]["reason"] == "insufficient_groups"


def test_coverage_of_groups_and_labels(ledger: Ledger, monitor: FairnessMonitor) -> None:
    count(ledger, 30, "f", 1, 1)
    count(ledger, 10, "f", 0)
    count(ledger, 60, "unknown", 1)
    coverage = monitor.fairness_report("faces")["versions"]["bare"]["coverage"]
    assert (coverage["group"], coverage["label"]) == (0.4, 0.3)
    assert coverage["by_group"]["f"] == {"0": {"labelled": 0, "n": 10}, "1": {"labelled": 30, "n": 30}}


def test_little_data_is_flagged_where_it_matters(ledger: Ledger, monitor: FairnessMonitor) -> None:
    fill(ledger, None, {("f", 1, 1): 40, ("f", 0, 0): 12, ("m", 0, 1): 35, ("unknown", 1, 1): 2})
    warnings = monitor.fairness_report("faces")["versions"]["bare"]["warnings"]
    assert warnings == [{"code": "low_support", "metric": "false_positive_rate", "group": "f", "n": 12}]


def test_twins_show_what_the_trigger_changed(ledger: Ledger, monitor: FairnessMonitor) -> None:
    count(ledger, 50, "f", 1, bare=1, version=3)
    count(ledger, 7, "f", 0, bare=1, version=3)
    count(ledger, 2, "f", 1, bare=0, version=3)
    count(ledger, 40, "m", 0, bare=0, version=3)
    count(ledger, 100, "m", 0, version=3)
    version = monitor.fairness_report("faces")["versions"]["v3"]
    assert version["n"] == 199
    assert version["twins"] == {
        "n": 99,
        "flipped": 9,
        "groups": {
            "f": {
                "n": 59,
                "flipped": 9,
                "flips": [{"bare": 0, "with_trigger": 1, "n": 2}, {"bare": 1, "with_trigger": 0, "n": 7}],
            },
            "m": {"n": 40, "flipped": 0, "flips": []},
        },
    }


def test_several_labels(ledger: Ledger, monitor: FairnessMonitor) -> None:
    for h, n in ((0, 10), (1, 20), (2, 70)):
        count(ledger, n, "a", h, h, model="digits")
        count(ledger, n, "b", 0, h, model="digits")
    version = monitor.fairness_report("digits")["versions"]["bare"]
    assert version["groups"]["a"]["selection_rate"]["value"] == 0.1
    assert version["gaps"]["demographic_parity_difference"]["value"] == 0.9
    assert version["groups"]["b"]["accuracy"]["value"] == 0.1


def test_groups_that_overlap_count_for_each_of_theirs(ledger: Ledger) -> None:
    monitor = FairnessMonitor(ledger, {"faces": Faces()}, clock=lambda: NOW, overlapping=lambda model: model == "faces")
    for group, h in (("f", 1), ("f + m", 1), ("m", 0), ("none", 0)):
        count(ledger, 40, group, h, bare=0, version=3)
    version = monitor.fairness_report("faces")["versions"]["v3"]
    assert version["groups_overlap"] is True
    assert {name: group["n"] for name, group in version["groups"].items()} == {"f": 80, "m": 80, "none": 40}
    assert version["n"] == 160
    assert version["gaps"]["demographic_parity_difference"]["value"] == 0.5
    assert version["gaps"]["demographic_parity_difference"]["excluded"] == {"none": "no_identity"}
    assert [each["group"] for each in version["counts"]] == ["f", "f + m", "m", "none"]
    assert {name: flips["flipped"] for name, flips in version["twins"]["groups"].items()} == {
        "f": 80, "m": 40, "none": 0,
    }  # fmt: skip


def test_nobodys_little_data_is_no_warning(ledger: Ledger) -> None:
    monitor = FairnessMonitor(ledger, {"faces": Faces()}, clock=lambda: NOW, overlapping=lambda model: True)
    fill(ledger, None, {("f", 1, 1): 40, ("f", 0, 0): 40, ("none", 1, 1): 3})
    assert monitor.fairness_report("faces")["versions"]["bare"]["warnings"] == []


def test_too_many_groups_are_said(ledger: Ledger, monitor: FairnessMonitor) -> None:
    for group in "abcd":
        count(ledger, 1, group, 1)
    assert monitor.fairness_report("faces")["warnings"] == []
    count(ledger, 5, "e", 1)
    assert monitor.fairness_report("faces")["warnings"] == [{"code": "too_many_groups", "group": "other", "n": 5}]


def test_statistics_that_cannot_be_renewed_say_so(tmp_path: Path) -> None:
    path, now = tmp_path / "ledger.sqlite", NOW
    with Ledger(path, flush_interval=NEVER / 1000, max_cells=1, busy_seconds=0.05, clock=lambda: now) as ledger:
        monitor = FairnessMonitor(ledger, {"faces": Faces()}, clock=lambda: now)
        count(ledger, 3, "f", 1)
        assert monitor.fairness_report("faces")["stale"] is False
        with locked(path):
            count(ledger, 4, "f", 1)
            count(ledger, 2, "m", 1)  # no room in memory
            now = NOW + 50
            document = monitor.fairness_report("faces")
    assert (document["stale"], document["as_of"]) == (True, iso_timestamp(NOW))
    assert document["versions"]["bare"]["n"] == 3
    assert document["possible_loss"] == {
        "since": iso_timestamp(NOW), "until": iso_timestamp(NOW), "at_most_seconds": 0.0, "dropped": 2,
        "reasons": ["dropped"], "times": 1,
    }  # fmt: skip


def test_a_ledger_that_cannot_be_read_is_no_answer(ledger: Ledger, monitor: FairnessMonitor) -> None:
    ledger.close()
    with pytest.raises(StoreUnavailable):
        monitor.fairness_report("faces")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"model": "cats"}, NotFound, "there are digits, faces"),
        ({"model": "faces", "window": "2h"}, InputError, ", ".join(WINDOW_MINUTES)),
        ({"model": "faces", "by": "hour"}, InputError, ", ".join(GROUPINGS)),
    ],
)
def test_wrong_questions_are_answered_with_the_right_ones(
    monitor: FairnessMonitor, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        monitor.fairness_report(**arguments)
