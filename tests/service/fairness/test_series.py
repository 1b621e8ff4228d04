"""Fairness over time: steps that add up to their window, and disclose no more than it does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from service.fairness.disclosure import Disclosure, DisclosureRule
from service.fairness.fairness_series import remembered_point
from service.fairness.monitor import FairnessMonitor
from service.fairness.time_windows import TimeWindows
from service.ledger.events import PredictionEvent
from service.ledger.ledger import Ledger
from tests.service.counted import NEVER
from tests.service.live import ADMIN
from triggers.errors import InputError

DAY = 1_790_000_000 // 86400 * 1440  # first minute of a day


@dataclass(frozen=True)
class Labelled:
    labels: tuple[str, ...] = ("no", "yes")
    pos_label: int = 1


@dataclass
class World:
    """A monitor of a model `m` at a moment that the test sets."""

    path: Path
    minute: int = DAY

    def __post_init__(self) -> None:
        clock = lambda: self.minute * 60.0 + 20  # noqa: E731
        self.ledger = Ledger(self.path, flush_interval=NEVER, clock=clock)
        windows = TimeWindows(
            self.ledger, Disclosure(self.ledger, DisclosureRule(wait_hours=0), lambda model: 2), clock
        )
        self.monitor = FairnessMonitor(self.ledger, {"m": Labelled()}, windows=windows)

    def count(self, n: int, group: str, h: int = 1, version: int | None = 1) -> None:
        name = self.ledger.canonical_group("m", group)
        for _ in range(n):
            self.ledger.record(PredictionEvent("m", self.minute, version, h, name))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path / "ledger.sqlite")
    yield made
    made.ledger.close()


@pytest.fixture
def two_hours(world: World) -> World:
    """Sixty predictions of each of two groups at the start, a swap after 70 minutes, the same again."""
    for minutes, version in ((0, None), (70, 2)):
        world.minute = DAY + minutes
        for group, selected in (("a", 40), ("b", 20)):
            world.count(selected, group, 1, version)
            world.count(60 - selected, group, 0, version)
    world.minute = DAY + 75
    return world


@pytest.mark.parametrize("step", ["5m", "15m", "1h", "6h", "1d"])
def test_the_steps_add_up_to_the_window(two_hours: World, step: str) -> None:
    found = two_hours.monitor.fairness_series("m", "24h", step)
    whole = two_hours.monitor.fairness_report("m", "24h")
    for version in ("bare", "v2"):
        points = [point["versions"][version] for point in found["points"] if version in point["versions"]]
        assert sum(point["n"] for point in points) == whole["versions"][version]["n"] == 120
        gap = "demographic_parity_difference"
        assert [point["gaps"][gap] for point in points] == [whole["versions"][version]["gaps"][gap]]
        group = points[0]["groups"]["a"]
        assert (group["n"], group["selection_rate"]["value"]) == (60, 40 / 60)


def test_steps_are_aligned_and_empty_ones_are_missing(two_hours: World) -> None:
    points = two_hours.monitor.fairness_series("m", "24h", "15m")["points"]
    assert [point["since"][11:16] for point in points] == ["00:00", "01:00"]
    assert [point["until"][11:16] for point in points] == ["00:15", "01:15"]
    assert [list(point["versions"]) for point in points] == [["bare"], ["v2"]]


def test_only_steps_that_changed_are_computed_again(two_hours: World) -> None:
    first = two_hours.monitor.fairness_series("m", "24h", "15m")
    computed = remembered_point.cache_info().misses
    assert two_hours.monitor.fairness_series("m", "24h", "15m")["points"] == first["points"]
    assert remembered_point.cache_info().misses == computed
    two_hours.count(7, "a", version=2)
    again = two_hours.monitor.fairness_series("m", "24h", "15m")["points"]
    assert remembered_point.cache_info().misses == computed + 1
    assert again[:2] == first["points"] and again[2]["versions"]["v2"]["n"] == 7


def test_everything_is_told_by_day_and_the_present_day_is_in_it(two_hours: World) -> None:
    found = two_hours.monitor.fairness_series("m", "all")
    assert (found["step"], len(found["points"])) == ("1d", 1)
    assert found["points"][0]["versions"]["v2"]["n"] == 120


def test_others_see_whole_sealed_hours_and_no_few_people(two_hours: World) -> None:
    two_hours.minute = DAY + 30
    two_hours.count(10, "c")
    two_hours.minute = DAY + 75
    found = two_hours.monitor.fairness_series("m", "24h", exact=False)
    assert found["step"] == "1h" and found["disclosure"]["k_min"] == 11
    (point,) = found["points"]
    assert list(point["versions"]) == ["bare"] and list(point["versions"]["bare"]["groups"]) == ["a", "b"]
    whole = two_hours.monitor.fairness_report("m", "24h", exact=False)
    assert point["versions"]["bare"]["n"] == whole["versions"]["bare"]["n"] == 120
    with pytest.raises(InputError, match="for the admin token only"):
        two_hours.monitor.fairness_series("m", "24h", "15m", exact=False)
    with pytest.raises(InputError, match="for the admin token only"):
        two_hours.monitor.fairness_series("m", "5m", exact=False)


@pytest.mark.parametrize(
    ("window", "step", "told"),
    [("1y", "1h", "window is '1y'"), ("24h", "2m", "step is '2m'"), ("90d", "1h", "more than 400 points")],
)
def test_a_window_or_step_that_cannot_be_is_refused(world: World, window: str, step: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        world.monitor.fairness_series("m", window, step)


def test_every_window_has_a_usual_step(world: World) -> None:
    windows = ("5m", "15m", "1h", "6h", "24h", "7d", "30d", "90d", "all")
    found = [world.monitor.fairness_series("m", window)["step"] for window in windows]
    assert found == ["1m", "1m", "1m", "5m", "15m", "6h", "6h", "1d", "1d"]


def test_the_series_comes_over_http(service: httpx.Client) -> None:
    body = {"inputs": [{"text": "a good day"}], "group": "f"}
    assert service.post("/v1/models/posts/predict", json=body).status_code == 200
    path = "/v1/models/posts/fairness/series"
    found = service.get(path, params={"window": "15m", "by": "total"}, headers=ADMIN).json()
    assert found["points"][-1]["versions"]["total"]["groups"]["f"]["n"] == 1
    refused = service.get(path, params={"step": "1s"})
    assert (refused.status_code, refused.json()["code"]) == (422, "unknown_step")
