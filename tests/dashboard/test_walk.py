"""An operator at the dashboard, in a real Chromium: watch, swap, canary, the guard's rollback, and what goes wrong."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page

from tests.dashboard.chromium import Visit, visit
from tests.dashboard.traffic import some_traffic
from tests.service.guard.test_guard import BIASED, Ahead
from tests.service.live import TOKEN, picture, running, settings, swap
from triggers.model.classifier import FrozenClassifier
from triggers.store.file_store import FileStore

pytestmark = pytest.mark.slow
PICTURES = [picture(seed) for seed in range(24)]


def give_token(page: Page, token: str = TOKEN) -> None:
    page.get_by_label("Admin token", exact=True).fill(token)
    page.get_by_role("button", name="Use token").click()


def rollout_of(client: httpx.Client) -> dict[str, object]:
    found: dict[str, object] = client.get("/v1/models/faces/rollout").json()
    return found


def decide(page: Page, expect: str) -> None:
    """Review, see the consequence in words, confirm."""
    page.get_by_role("button", name="Review change").click()
    told = page.locator("#confirm-list")
    told.filter(has_text=expect).wait_for()
    page.get_by_role("button", name="Do it").click()


def test_an_operator_watches_swaps_tries_and_sees_the_guard_act(chromium: Browser, ahead: Ahead) -> None:
    client = ahead.client
    some_traffic(client, PICTURES)
    with visit(chromium, client) as seen:
        page = seen.page
        watch(seen)
        swap_champion(page, client)
        canary(page, client)
        guard_rolls_back(seen, ahead)
        roll_back(page, client)


def watch(seen: Visit) -> None:
    """Everything is shown to whoever looks, and nothing can be changed."""
    page = seen.page
    page.locator("#timeline .main-svg").first.wait_for()
    assert "v2" in seen.show("#now")
    for chart in ("timeline", "groups", "front", "gains"):
        assert page.locator(f"#{chart} .chart").get_attribute("aria-label"), chart
        page.locator(f"#{chart} summary").click()
    assert {"f", "m"} <= set(page.locator("#groups tbody th").all_inner_texts())
    assert "of 24" in seen.show("#coverage") or "of" in seen.show("#coverage")
    assert page.locator("#triggers img").count() == 2
    assert "r2" in seen.show("#decisions") and "watching" not in seen.show("#replicas")
    assert not page.locator("#decide").is_visible()


def swap_champion(page: Page, client: httpx.Client) -> None:
    give_token(page)
    page.get_by_label("Answers everybody else").select_option("v1")
    page.get_by_label("Reason, for the history").fill("try the first again")
    decide(page, "v1 answers as champion instead of v2.")
    page.locator("#d-result", has_text="Revision 3 is decided. Every service serves it.").wait_for()
    assert rollout_of(client)["champion"] == "v1" and rollout_of(client)["reason"] == "try the first again"
    assert rollout_of(client)["twin_share"] == 0.5  # what was not touched stays
    page.locator("#decisions", has_text="try the first again").wait_for()
    assert "r3" in page.locator("#timeline .annotation-text").all_text_contents()


def canary(page: Page, client: httpx.Client) -> None:
    page.locator("#d-challenger").select_option("v2")
    page.locator("#d-share").fill("20")
    page.locator("#d-twins").fill("25")
    decide(page, "v2 answers 20 % of request keys as challenger.")
    page.locator("#d-result", has_text="Revision 4 is decided").wait_for()
    assert rollout_of(client)["challenger"] == {"version": "v2", "share": 0.2}
    assert rollout_of(client)["twin_share"] == 0.25
    page.locator("#triggers .badge", has_text="challenger 20 %").wait_for()


def guard_rolls_back(seen: Visit, ahead: Ahead) -> None:
    ahead.now = ahead.guard._models["faces"].serving_state().since
    ahead.service.guard._watches = ahead.guard._watches  # the page asks the service's own guard
    ahead.pass_minutes(5, BIASED, version=1)
    ahead.guard.check("faces")
    seen.wait_for("Revision 5 of faces was decided by guard.", "#news")
    seen.wait_for("alarm: rolled back to v2", "#guard")
    row = seen.page.locator("#decisions tr", has_text="guard")
    assert "disparity_above_limit" in row.first.inner_text() and "v2" in row.first.inner_text()


def roll_back(page: Page, client: httpx.Client) -> None:
    page.get_by_role("button", name="Roll back").click()
    page.locator("#confirm-list", has_text="v1 answers as champion instead of v2.").wait_for()
    page.keyboard.press("Escape")
    assert not page.locator("#confirm").is_visible()
    assert rollout_of(client)["revision"] == 5
    page.get_by_role("button", name="Roll back").press("Enter")
    page.get_by_role("button", name="Do it").press("Enter")
    page.locator("#d-result", has_text="Revision 6 is decided").wait_for()
    assert rollout_of(client)["champion"] == "v1"


def test_whoever_was_slower_or_has_no_token_is_told(chromium: Browser, ahead: Ahead) -> None:
    with visit(chromium, ahead.client) as seen:
        page = seen.page
        seen.expected = ("status of 401", "status of 412")  # Chromium writes every failed answer to the console
        give_token(page, "a wrong one")
        seen.wait_for("This is no key of the service, or it has ended.", "#problems")
        give_token(page)
        page.get_by_label("Answers everybody else").select_option("bare")
        page.get_by_role("button", name="Review change").click()
        assert swap(ahead.client, "faces", "v1").status_code == 200
        page.get_by_role("button", name="Do it").click()
        seen.wait_for("revision", "#problems .problem")
        seen.wait_for("you began at 2", "#d-result")
        assert rollout_of(ahead.client)["champion"] == "v1"
        page.get_by_role("button", name="Forget token").click()
        page.locator("#decide").wait_for(state="hidden")
        assert page.evaluate("[Object.keys(localStorage), document.cookie, location.href].join()").count(TOKEN) == 0


def test_others_are_told_why_there_is_little_to_see(
    chromium: Browser,
    image_model: FrozenClassifier,
    text_model: FrozenClassifier,
    filled_store: FileStore,
    tmp_path: Path,
) -> None:
    with running(settings(tmp_path, k_min=11), filled_store, [image_model, text_model]) as client:
        some_traffic(client, PICTURES)
        with visit(chromium, client) as seen:
            seen.wait_for("Without the admin token there are only sealed periods of an hour", "#timeline")
            assert "public view" in seen.show("#freshness")
            seen.page.locator("#model").select_option("posts")
            seen.wait_for("learned embeddings", "#triggers")
            seen.wait_for("Words:", "#triggers")
            seen.expected = ("status of 422",)
            seen.page.locator("#window").select_option("5m")
            seen.wait_for("for the admin token only", "#problems")
