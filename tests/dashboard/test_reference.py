"""The reference at /docs in a real Chromium: Swagger UI, which asks no other machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.dashboard.chromium import visit
from tests.service.live import running, settings
from triggers.model.classifier import FrozenClassifier
from triggers.store.file_store import FileStore


@pytest.mark.slow
def test_an_operation_can_be_tried(
    chromium: Browser, image_model: FrozenClassifier, filled_store: FileStore, tmp_path: Path
) -> None:
    with (
        running(settings(tmp_path), filled_store, [image_model]) as client,
        visit(chromium, client, "/docs") as seen,
    ):
        seen.page.get_by_text("The models served here").click()
        seen.page.get_by_role("button", name="Try it out").click()
        seen.page.get_by_role("button", name="Execute").click()
        seen.wait_for('"name": "faces"', ".live-responses-table")
        assert seen.page.title() == "fairtrigger: REST interface"
