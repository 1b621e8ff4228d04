"""A service that lets certified versions answer, and no others."""

from __future__ import annotations

from pathlib import Path

from tests.artifacts import artifact_for, selection
from tests.service.live import decided, running, settings, swap, wait_until
from triggers.model import FrozenClassifier
from triggers.store.file_store import FileStore

ROLLOUT = "/v1/models/faces/rollout"


def test_only_certified_versions_answer_and_others_may_be_shadows(
    tmp_path: Path, image_model: FrozenClassifier
) -> None:
    promising = selection(status="promising", loss=0.004, bound=0.02, rows=800, rows_needed=3100)
    with FileStore(tmp_path / "store") as store:
        for seed, found in enumerate((selection(), promising, None)):
            store.publish(artifact_for(image_model, "border", seed, selection=found), actor="test")
        with running(settings(tmp_path, require_certified=True), store, [image_model]) as client:
            shadow = {"versions": ["v2"], "share": 1.0}
            assert decided(client, "faces", champion="v1", shadow=shadow).status_code == 200
            for version, standing in (("v2", promising.sentence), ("v3", "of a release that recorded no selection")):
                for answer in (
                    swap(client, "faces", version),
                    decided(client, "faces", champion="v1", challenger={"version": version, "share": 0.1}),
                ):
                    assert (answer.status_code, answer.json()["code"]) == (422, "artifact_uncertified")
                    assert answer.json()["detail"].startswith(
                        f"Only certified triggers may answer, and this one is {standing}."
                    )
            assert store.history("faces")[0].action == "refuse"
            store.set_rollout("faces", 2, if_revision=None, actor="elsewhere", reason="")
            wait_until(lambda: client.get(ROLLOUT).json()["fault"])
            assert "v1 answers: Only certified" in client.get(ROLLOUT).json()["fault"]
            assert decided(client, "faces", champion=None).status_code == 200
