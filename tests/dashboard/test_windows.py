"""The stretch of time that is shown: what fits the counts, unless somebody chose another."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from service.fairness import WINDOW_MINUTES
from service.ledger.events import PredictionEvent
from tests.dashboard.chromium import Visit, visit
from tests.dashboard.test_walk import PICTURES
from tests.dashboard.traffic import some_traffic
from tests.service.guard.test_guard import Ahead
from tests.service.live import running, settings, wait_until
from triggers.model.classifier import FrozenClassifier
from triggers.store.file_store import FileStore

pytestmark = pytest.mark.slow
AXIS_MINUTES = """() => {
    const [from, to] = document.querySelector("#timeline .chart").layout.xaxis.range;
    return (new Date(to) - new Date(from)) / 60000;
}"""


def window_of(seen: Visit) -> str:
    """The chosen option, once the figures are there."""
    seen.page.locator("#timeline .main-svg").first.wait_for()
    return str(seen.page.evaluate("document.querySelector('#window').selectedOptions[0].textContent"))


def test_what_was_counted_fills_the_time_axis(chromium: Browser, ahead: Ahead) -> None:
    some_traffic(ahead.client, PICTURES)
    with visit(chromium, ahead.client, "/dashboard") as seen:
        page = seen.page
        assert window_of(seen) == "all there is: 5 minutes"
        assert page.evaluate(AXIS_MINUTES) == 5 and "window" not in page.url
        earlier = PredictionEvent("faces", int(time.time() // 60) - 40, 1, 1, "f", 0)
        ahead.service.ledger.record(earlier)
        path = "/v1/models/faces/fairness?window=all&by=total"
        wait_until(lambda: ahead.client.get(path).json()["versions"]["total"]["n"] == 2 * len(PICTURES) + 1)
        page.reload()
        assert window_of(seen) == "all there is: 1 hour" and page.evaluate(AXIS_MINUTES) == 60


def test_what_a_person_chose_wins_and_stays_in_the_address(chromium: Browser, ahead: Ahead) -> None:
    some_traffic(ahead.client, PICTURES)
    with visit(chromium, ahead.client, "/dashboard") as seen:
        page = seen.page
        window_of(seen)
        page.locator("#window").select_option("6h")
        wait_until(lambda: page.evaluate(AXIS_MINUTES) >= 360)
        assert "window=6h" in page.url
        page.reload()
        assert window_of(seen) == "6 hours" and page.evaluate(AXIS_MINUTES) >= 360
        page.locator("#window").select_option("fit")
        wait_until(lambda: page.evaluate(AXIS_MINUTES) == 5)


def test_where_nothing_was_counted_an_hour_is_shown(chromium: Browser, ahead: Ahead) -> None:
    with visit(chromium, ahead.client, "/dashboard") as seen:
        seen.wait_for("Nothing to draw in this time", "#timeline")
        assert seen.page.locator("#window option").first.inner_text() == "all there is: 1 hour"


def test_others_are_offered_every_window_and_see_one_that_is_public(
    chromium: Browser, image_model: FrozenClassifier, filled_store: FileStore, tmp_path: Path
) -> None:
    with running(settings(tmp_path, k_min=11), filled_store, [image_model]) as client:
        some_traffic(client, PICTURES)
        with visit(chromium, client, "/dashboard") as seen:
            seen.wait_for("sealed periods of an hour", "#timeline")
            options = seen.page.locator("#window option")
            assert options.first.inner_text() == "all there is: 1 hour"
            values = [option.get_attribute("value") for option in options.all()]
            assert values == ["fit", *WINDOW_MINUTES]
