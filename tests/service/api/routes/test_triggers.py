"""The list and the cards of versions."""

from __future__ import annotations

from pathlib import Path

from tests.artifacts import artifact_for, selection
from tests.service.live import running, settings
from triggers.model import FrozenClassifier
from triggers.store.file_store import FileStore


def test_versions_say_what_their_selection_found(tmp_path: Path, image_model: FrozenClassifier) -> None:
    found = selection(status="promising", loss=0.004, bound=0.02, rows=800, rows_needed=3100)
    with FileStore(tmp_path / "store") as store:
        for seed, record in enumerate((None, found)):
            store.publish(artifact_for(image_model, "border", seed, selection=record), actor="test")
        with running(settings(tmp_path), store, [image_model]) as client:
            old, new = client.get("/v1/models/faces/triggers").json()["triggers"]
            assert old["selection"] is None
            assert new["selection"] == {"status": "promising", "sentence": found.sentence}
            card = client.get("/v1/models/faces/triggers/v2").json()
            assert card["manifest"]["selection"] == found.model_dump()
            assert "selection" not in client.get("/v1/models/faces/triggers/v1").json()["manifest"]


def test_the_list_comes_in_pages(tmp_path: Path, image_model: FrozenClassifier) -> None:
    with FileStore(tmp_path / "store") as store:
        for seed in range(4):
            store.publish(artifact_for(image_model, "border", seed), actor="test")
        with running(settings(tmp_path), store, [image_model]) as client:

            def page(**query: int | str) -> tuple[list[str], str | None]:
                found = client.get("/v1/models/faces/triggers", params=query).raise_for_status().json()
                return [each["version"] for each in found["triggers"]], found["earlier"]

            assert page() == (["v1", "v2", "v3", "v4"], None)
            assert page(limit=3) == (["v2", "v3", "v4"], "v2")
            assert page(limit=3, before="v2") == (["v1"], None)
            assert page(before="1") == ([], None)
            for wrong in ({"limit": 0}, {"limit": 1001}, {"before": "x"}):
                assert client.get("/v1/models/faces/triggers", params=wrong).status_code == 422
            metadata = client.get("/v2/models/faces").json()
            assert metadata["versions"] == ["none", "v1", "v2", "v3", "v4"]
