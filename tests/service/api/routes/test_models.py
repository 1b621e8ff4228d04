"""The card of a model."""

from __future__ import annotations

from pathlib import Path

from tests.service.live import running, settings
from triggers.model import FrozenClassifier
from triggers.model.bundle import ComparisonRecord
from triggers.store.file_store import FileStore


def test_a_card_says_where_a_model_came_from_and_how_it_compares(tmp_path: Path, image_model: FrozenClassifier) -> None:
    record = ComparisonRecord(oracle="onnxruntime", inputs=24, largest_difference=3e-4, flips=1, accepted=True)
    spec = image_model.spec.model_copy(update={"comparison": record, "origin": {"labels": "--labels"}})
    wrapped = FrozenClassifier(spec, image_model.network)
    with FileStore(tmp_path / "store") as store:
        for model, comparison, origin in ((wrapped, record.model_dump(), spec.origin), (image_model, None, {})):
            with running(settings(tmp_path / str(bool(origin))), store, [model]) as client:
                card = client.get("/v1/models/faces").json()
                assert (card["comparison"], card["origin"]) == (comparison, origin)
                assert client.get("/v1/models").json()["failed"] == []
                assert "failed" not in client.get("/readyz").json()
