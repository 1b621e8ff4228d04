"""Whether everybody can use the dashboard: axe-core, keyboard, 200 % zoom; in light and in dark."""

from __future__ import annotations

from typing import Literal

import httpx
import pytest
from playwright.sync_api import Browser

from tests.dashboard.axe import axe_script, serious_findings
from tests.dashboard.chromium import visit
from tests.dashboard.test_walk import PICTURES, give_token
from tests.dashboard.traffic import some_traffic
from tests.service.guard.test_guard import Ahead
from tests.service.live import decided

pytestmark = pytest.mark.slow
Scheme = Literal["light", "dark"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(
    chromium: Browser, ahead: Ahead, scheme: Scheme, request: pytest.FixtureRequest
) -> None:
    script = axe_script(request.config.cache)
    challenger = {"version": "v1", "share": 0.5}
    assert decided(ahead.client, "faces", champion="v2", challenger=challenger, twin_share=1.0).status_code == 200
    some_traffic(ahead.client, PICTURES)
    # the page's own policy stays in force: axe comes through the debugger, not as a script of the page
    with visit(chromium, ahead.client, color_scheme=scheme) as seen:
        page = seen.page
        give_token(page)
        page.locator("#decide").wait_for()
        page.locator("#timeline .main-svg").first.wait_for()
        for summary in page.locator("summary").all():
            summary.click()
        assert serious_findings(page, script) == []
        page.get_by_role("button", name="Roll back").click()
        assert serious_findings(page, script) == []


def test_the_page_without_plotly_is_sound_too(
    chromium: Browser, service: httpx.Client, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    script = axe_script(request.config.cache)
    monkeypatch.setattr("service.api.static_files.find_spec", lambda name: None)
    with chromium.new_page() as page:
        page.goto(f"{service.base_url}/dashboard")
        assert serious_findings(page, script) == []


def test_everything_can_be_reached_by_keyboard_and_at_200_percent(chromium: Browser, ahead: Ahead) -> None:
    some_traffic(ahead.client, PICTURES)
    with visit(chromium, ahead.client, viewport={"width": 640, "height": 400}) as seen:  # 1280 x 800 at 200 %
        page = seen.page
        page.locator("#timeline .main-svg").first.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        give_token(page)
        page.locator("#decide").wait_for()
        page.locator(".skip").focus()
        reached: list[str] = []
        page.keyboard.press("Tab")
        while page.evaluate("document.activeElement !== document.body") and len(reached) < 80:
            reached.append(page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none", reached
            page.keyboard.press("Tab")
        assert {"model", "window", "theme", "pause", "token", "metric", "d-champion", "d-rollback"} <= set(reached)


CUT_OFF = """() => [...document.querySelectorAll(".chart:not([hidden])")].flatMap((chart) => {
    const box = chart.getBoundingClientRect();
    return [...chart.querySelectorAll("text")].filter((text) => text.textContent).filter((text) => {
        const { left, right } = text.getBoundingClientRect();
        return left < box.left - 1 || right > box.right + 1;
    }).map((text) => `${chart.parentElement.id}: ${text.textContent}`);
})"""


@pytest.mark.parametrize("mobile", [True, False])
def test_a_narrow_screen_shows_whole_charts_and_does_not_scroll_sideways(
    chromium: Browser, ahead: Ahead, mobile: bool
) -> None:
    challenger = {"version": "v1", "share": 0.5}
    assert decided(ahead.client, "faces", champion="v2", challenger=challenger, twin_share=1.0).status_code == 200
    some_traffic(ahead.client, PICTURES)
    with visit(chromium, ahead.client, viewport={"width": 390, "height": 844}, is_mobile=mobile) as seen:
        page = seen.page
        give_token(page)
        page.locator("#decide").wait_for()
        for chart in ("timeline", "groups", "front", "gains"):
            page.locator(f"#{chart} .main-svg").first.wait_for()
            page.locator(f"#{chart} summary").click()
        assert page.evaluate("[document.documentElement.scrollWidth, innerWidth]") == [390, 390]
        assert page.evaluate(CUT_OFF) == []


def test_the_theme_can_be_chosen_and_is_kept(chromium: Browser, service: httpx.Client) -> None:
    with visit(chromium, service, color_scheme="light") as seen:
        page = seen.page
        seen.wait_for("Counted up to", "#freshness")
        background = "getComputedStyle(document.body).backgroundColor"
        light = page.evaluate(background)
        page.get_by_label("Theme").select_option("dark")
        assert page.evaluate(background) != light
        page.reload()
        seen.wait_for("Counted up to", "#freshness")
        assert page.evaluate(background) != light
        page.get_by_label("Theme").select_option("light")
        assert page.evaluate(background) == light
