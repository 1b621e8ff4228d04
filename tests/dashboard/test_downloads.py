"""What can be taken along: tables as CSV, the fairness document and the cards as JSON, and the tokens of texts."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page

from tests.dashboard.chromium import visit
from tests.dashboard.test_walk import PICTURES, give_token
from tests.dashboard.traffic import some_traffic
from tests.service.guard.test_guard import Ahead
from tests.service.live import running, settings
from triggers.model.classifier import FrozenClassifier
from triggers.store.file_store import FileStore

pytestmark = pytest.mark.slow
FORMULA = "=1+1"


def saved(page: Page, button: str) -> tuple[str, str]:
    """Name and content of the file that a button saves."""
    with page.expect_download() as download:
        page.get_by_role("button", name=button).click()
    return download.value.suggested_filename, Path(download.value.path()).read_text()


def test_a_table_is_saved_as_it_is_shown(chromium: Browser, ahead: Ahead) -> None:
    some_traffic(ahead.client, PICTURES, groups=('m "x", y', FORMULA))
    with visit(chromium, ahead.client) as seen:
        page = seen.page
        page.locator("#groups summary").click()
        name, text = saved(page, "CSV of: Selection rate by group")
        assert name == "selection-rate-by-group.csv"
        rows = list(csv.reader(text.splitlines()))
        shown = [row.inner_text().split("\t") for row in page.locator("#groups tr").all()]
        assert [[cell.removeprefix("'") for cell in row] for row in rows] == shown
        assert {row[0] for row in rows} >= {'m "x", y', f"'{FORMULA}"}, "no group is a formula of a spreadsheet"


def test_the_counts_behind_the_page_are_saved_as_the_service_gives_them(chromium: Browser, ahead: Ahead) -> None:
    some_traffic(ahead.client, PICTURES)
    with visit(chromium, ahead.client) as seen:
        page = seen.page
        page.locator("#timeline .main-svg").first.wait_for()
        name, text = saved(page, "Fairness document as JSON")
        assert name == "fairness-faces-1h.json"
        address = seen.show("#export-address")
        assert json.loads(text)["versions"] == ahead.client.get(address).json()["versions"]
        assert sum(row["n"] for row in json.loads(text)["versions"]["v2"]["counts"]) == 2 * len(PICTURES)
        audit = f"fairtrigger audit --live {seen.url.rstrip('/')} --model faces --window 1h"
        assert seen.show("#export-command") == f"{audit} --out audit"
        give_token(page)
        seen.wait_for(f"{audit} --token-file FILE --out audit", "#export-command")
        name, text = saved(page, "Card as JSON: v2")
        assert name == "faces-v2.json"
        assert json.loads(text) == ahead.client.get("/v1/models/faces/triggers/v2").json()


def test_tokens_of_texts_are_shown_with_their_weights(
    chromium: Browser,
    image_model: FrozenClassifier,
    text_model: FrozenClassifier,
    filled_store: FileStore,
    tmp_path: Path,
) -> None:
    with running(settings(tmp_path), filled_store, [image_model, text_model]) as client:
        with visit(chromium, client, "/dashboard#model=posts&window=1h") as seen:
            seen.wait_for("Words:", "#triggers")
            for version, words in versions(client).items():
                card = seen.page.locator("#triggers li", has=seen.page.get_by_role("heading", name=version))
                assert [cell.split("\t")[:2] for cell in card.locator("tr").all_inner_texts()] == words


def versions(client: httpx.Client) -> dict[str, list[list[str]]]:
    """The rows that each version is to be shown with: word, or number of the vector, and length."""
    found = {}
    for each in client.get("/v1/models/posts/triggers").json()["triggers"]:
        tokens = client.get(f"/v1/models/posts/triggers/{each['version']}/tokens").json()["tokens"]
        found[each["version"]] = [
            [token["word"] or f"vector {number}", f"{token['norm']:#.3g}"] for number, token in enumerate(tokens, 1)
        ]
    return found
