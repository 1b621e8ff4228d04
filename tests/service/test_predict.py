"""Predict over real HTTP."""

from __future__ import annotations

import httpx

from tests.service.live import picture, predict, swap


def test_predict_then_swap(service: httpx.Client) -> None:
    bare = predict(service, "faces", [picture(0)])[0]
    assert bare["trigger"] == {"version": None, "digest": None}
    assert swap(service, "faces", "v1").status_code == 200
    triggered = predict(service, "faces", [picture(0)])[0]
    assert triggered["trigger"]["version"] == 1
    assert triggered["scores"] != bare["scores"]
    assert predict(service, "faces", [picture(0)], trigger="none")[0]["scores"] == bare["scores"]
