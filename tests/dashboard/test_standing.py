"""What the dashboard says of versions that nothing proved, and of models that do not answer as was decided."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import httpx
import pytest
from playwright.sync_api import Browser

from tests.artifacts import artifact_for, selection
from tests.bundles import image_bundle
from tests.dashboard.axe import axe_script, serious_findings
from tests.dashboard.chromium import visit
from tests.dashboard.test_walk import PICTURES, decide, give_token
from tests.dashboard.traffic import some_traffic
from tests.service.engine.test_failed_models import LINE, bad_bundle
from tests.service.live import process
from triggers.model import load_bundle
from triggers.model.bundle import SPEC_FILE
from triggers.store.file_store import FileStore

pytestmark = pytest.mark.slow
SELECTIONS = (
    None,
    selection(),
    selection(status="promising", loss=0.004, bound=0.02, rows=800, rows_needed=3100),
    selection(status="not recommended", reason="The recall of attractive falls to .313 of the bare model's for women."),
)


COMPARISON = {"oracle": "torchvision", "inputs": 40, "largest_difference": 1.2e-7, "flips": 3, "accepted": True}
COMPARED = "torchvision: 40 inputs, scores differ by 1.2e-7 at most, 3 other labels; written all the same"


@contextmanager
def judged(folder: Path) -> Iterator[httpx.Client]:
    """A service with one version of each standing, v2 champion, and beside it a model that fails its self-check."""
    bundle = image_bundle(folder / "faces")
    description = json.loads((bundle / SPEC_FILE).read_text())
    (bundle / SPEC_FILE).write_text(json.dumps(description | {"comparison": COMPARISON}))
    with FileStore(folder / "store") as store:
        for seed, found in enumerate(SELECTIONS):
            store.publish(artifact_for(load_bundle(bundle), "border", seed, selection=found), actor="test")
        store.set_rollout("faces", 2, if_revision=None, actor="test", reason="")
        with process(folder, [bundle, bad_bundle(folder / "bad")]) as service:
            yield service.client


@pytest.mark.parametrize("scheme", [pytest.param("light", marks=pytest.mark.soak), "dark"])
def test_standing_cautions_and_faults_are_shown(
    chromium: Browser, scheme: Literal["light", "dark"], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with judged(tmp_path) as client, visit(chromium, client, color_scheme=scheme) as seen:
        some_traffic(client, PICTURES)
        page = seen.page
        seen.wait_for("v4", "#triggers")
        cards = page.locator("#triggers li").all_inner_texts()
        assert not any(word in cards[0] for word in ("certified", "promising", "recommended"))
        assert "not judged" in cards[0]
        checks = [row.inner_text().split("\t") for row in page.locator("#models tbody tr").all()]
        assert checks[0][:3] == ["faces", "passed", COMPARED]
        assert checks[1][:2] == ["bad", f"failed {LINE}"]
        for text, found in zip(cards[1:], SELECTIONS[1:], strict=True):
            assert found and found.status in text and found.sentence.split(": ", 1)[1] in text
            assert page.locator(f'#triggers .badge[title="{found.sentence}"]').inner_text() == found.status
        assert "certified" in seen.show("#now")
        page.locator("#front summary").click()
        assert seen.show("#front tbody tr").split("\t")[:2] == ["v2", "certified"]
        assert seen.show("#faults") == f"bad is not served: {LINE}"
        give_token(page)
        page.get_by_label("Answers everybody else").select_option("v4")
        decide(page, "v4 is not recommended: The recall of attractive falls")
        seen.wait_for("not recommended", "#now")
        page.get_by_role("button", name="Roll back").click()
        page.locator("#confirm-list", has_text="v2 answers as champion instead of v4.").wait_for()
        assert "certified" not in page.locator("#confirm-list").inner_text()
        page.keyboard.press("Escape")
        page.locator("#d-challenger").select_option("v3")
        decide(page, "v3 is promising, not proved: loses .004 balanced accuracy")
        seen.wait_for("answers 5 %, promising", "#now")
        page.get_by_label("Answers everybody else").select_option("v2")
        page.locator("#d-challenger").select_option("none")
        decide(page, "v2 answers as champion instead of v4.")
        seen.wait_for("Revision 4 is decided", "#d-result")
        seen.wait_for("certified", "#now")
        page.get_by_role("button", name="Roll back").click()
        page.locator("#confirm-list", has_text="v4 is not recommended").wait_for()
        page.keyboard.press("Escape")
        with FileStore(tmp_path / "store") as store:
            path = store.path_of(store.version("faces", 1))
            path.write_bytes(path.read_bytes()[:-1] + b"!")
            store.set_rollout("faces", 1, if_revision=None, actor="test", reason="")
        seen.wait_for("faces: Revision 5 of the rollout is refused, v2 answers: ", "#faults")
        assert serious_findings(page, axe_script(request.config.cache)) == []
