"""The short cut in front of FastAPI answers as the usual way would, faults of ours included."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from service.api.raw_request import RawRequest
from service.engine.batching.admission_control import AdmissionControl
from service.engine.prediction_log import PredictionLog
from service.errors import Overloaded
from tests.service.live import as_item, picture, problem, running, settings
from triggers.model.classifier import FrozenClassifier
from triggers.store.file_store import FileStore

PREDICT = "/v1/models/faces/predict"


def test_a_fault_of_ours_is_an_anonymous_problem_and_is_counted(
    tmp_path: Path, image_model: FrozenClassifier, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(self: PredictionLog, *arguments: Any, **options: Any) -> None:
        raise LookupError("a secret of the service")

    body = {"inputs": [as_item(picture(1))]}
    with FileStore(tmp_path / "store") as store, running(settings(tmp_path), store, [image_model]) as client:
        with monkeypatch.context() as patched:
            patched.setattr(PredictionLog, "record_prediction", broken)
            found = client.post(PREDICT, json=body, headers={"X-Request-Id": "order-7"})
        assert problem(found, 500, "internal_error") and "secret" not in found.text
        assert found.headers["x-request-id"] == "order-7"
        assert client.post(PREDICT, json=body).status_code == 200, "and the next request finds its place"
        assert f'code="500",model="faces",route="{PREDICT.replace("faces", "{model}")}"' in client.get("/metrics").text
    assert "a secret of the service" in capsys.readouterr().err, "the log has the fault"


def test_whatever_is_not_this_route_goes_the_usual_way(strict: httpx.Client) -> None:
    allowed = strict.get(PREDICT)
    assert problem(allowed, 405, "method_not_allowed") and allowed.headers["allow"] == "POST"
    problem(strict.post("/v1/models/nobody/predict", json={"inputs": [{"text": "a"}]}), 404, "unknown_model")
    problem(strict.post(f"{PREDICT}/more", json={}), 404, "not_found")


def test_of_a_header_sent_twice_the_first_counts() -> None:
    async def nothing() -> Any: ...

    scope = {"headers": [(b"x-timeout-ms", b"5"), (b"x-timeout-ms", b"7")], "client": None}
    call = RawRequest(scope, nothing)
    assert (call.header(b"x-timeout-ms"), call.header(b"other"), call.actor) == ("5", None, "client")


def test_room_is_taken_at_once_and_given_back_after_a_failure() -> None:
    places = AdmissionControl(2)
    with pytest.raises(ValueError), places.acquire(2):
        with pytest.raises(Overloaded):
            places.acquire(1)
        raise ValueError
    assert places.in_flight == 0
