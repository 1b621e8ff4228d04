"""An audit of a running service's counts, and of a file of the same rows: every figure is the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from fairtrigger.auditing import audit
from tests.artifacts import artifact_for
from tests.fairtrigger.auditing.decisions import write_csv
from tests.service.live import TOKEN, picture, predict, running, settings
from triggers.errors import ConfigError, DataError, NotFound, StoreUnavailable
from triggers.model.classifier import FrozenClassifier
from triggers.store.file_store import FileStore

GROUPS = ["sex=f,age=old", "age=young,sex=f", "sex=m,age=old", "sex=m,age=young", "sex=m", "", "age=old"]
ROWS = 84


def counted(client: httpx.Client) -> list[dict[str, str]]:
    """Predictions of no trigger and of v1, with groups and some labels, sent and noted as a score file's rows."""
    rows = []
    for version in ("none", "v1"):
        groups = [GROUPS[n % len(GROUPS)] or None for n in range(ROWS)]
        answers = predict(client, "faces", [picture(n) for n in range(ROWS)], group=groups, trigger=version)
        late = []
        for n, (answer, group) in enumerate(zip(answers, groups, strict=True)):
            truth = ("plain", "attractive")[n * 7 % 5 % 2] if n % 6 else ""
            if truth:
                late.append({"prediction_id": answer["prediction_id"], "label": truth})
            row = {"row": str(n), "id": str(n), "label": answer["label"], "score_plain": "0", "score_attractive": "0"}
            said = {"version": version, "digest": answer["trigger"]["digest"] or "", "threshold": ""}
            rows.append({**row, **said, "group": group or "", "truth": truth})
        results = client.post("/v1/models/faces/feedback", json=late).json()["results"]
        assert results == [{"status": "counted"}] * len(late)
    return rows


def test_a_file_and_a_service_over_the_same_rows_agree_in_every_figure(
    tmp_path: Path, image_model: FrozenClassifier
) -> None:
    with FileStore(tmp_path / "store") as store:
        store.publish(artifact_for(image_model, "border"), actor="test")
        with running(settings(tmp_path), store, [image_model]) as client:
            rows = counted(client)
            url = str(client.base_url)
            live = audit(live=url, token=TOKEN)
            said = client.get(
                "/v1/models/faces/fairness",
                params={"window": "all", "attributes": "age,sex"},
                headers={"Authorization": f"Bearer {TOKEN}"},
            ).json()
            with pytest.raises(NotFound, match="HTTP 404: There is no model 'cats' here; served: faces"):
                audit(live=url, model="cats", token=TOKEN)
            with pytest.raises(ConfigError, match="HTTP 422: window is '2y'"):
                audit(live=url, window="2y", token=TOKEN)
    from_file = audit(write_csv(tmp_path / "scores.csv", rows), positive="attractive")
    assert list(live.figures) == ["none", "v1"]
    for name in ("figures", "missing", "terms"):
        assert live.document[name] == from_file.document[name], name
    for version, facts in from_file.document["versions"].items():
        assert live.document["versions"][version]["counts"] == facts["counts"]
        assert live.document["versions"][version]["digest"] == facts["digest"]
    assert live.document["model"] == {"name": "faces", "digest": image_model.fingerprint}
    assert live.document["source"]["rows"] == 2 * ROWS == from_file.document["source"]["rows"]
    assert live.document["missing"]["v1"]["without_group"] == {"age": 24, "sex": 24}
    assert live.figures["v1"]["labelled"] == ROWS * 5 // 6
    figures: Any = said["versions"]["v1"]
    for name in ("n", "labelled", "overall", "groups", "gaps"):
        assert live.figures["v1"][name] == figures[name], name


def test_counts_that_are_not_exact_are_never_taken_for_exact_ones(
    tmp_path: Path, image_model: FrozenClassifier
) -> None:
    with FileStore(tmp_path / "store") as store, running(settings(tmp_path, k_min=5), store, [image_model]) as client:
        predict(client, "faces", [picture(n) for n in range(6)], group=["a", "b"] * 3)
        url = str(client.base_url)
        assert audit(live=url, token=TOKEN).figures["none"]["n"] == 6
        with pytest.raises(ConfigError, match="The token is no administrator's"):
            audit(live=url, token="not-the-token")
        with pytest.raises(DataError, match=r"discloses no prediction .* give the admin token"):
            audit(live=url)


def test_what_the_service_says_of_its_own_counts_is_said(tmp_path: Path, image_model: FrozenClassifier) -> None:
    chosen = settings(tmp_path, groups="declared")
    with FileStore(tmp_path / "store") as store:
        store.publish(artifact_for(image_model, "border"), actor="test")  # it declares f and m
        with running(chosen, store, [image_model]) as client:
            predict(client, "faces", [picture(n) for n in range(6)], group=["f", "m", "x"] * 2)
            report = audit(live=str(client.base_url), token=TOKEN)
    assert report.document["terms"]["attributes"] == ["group"]
    assert any("2 predictions are counted as undeclared" in each for each in report.cautions)
    assert report.document["missing"]["none"]["without_group"] == {"group": 2}


@pytest.mark.parametrize(
    ("url", "error", "reason"),
    [
        ("ftp://x", ConfigError, "no service's address"),
        ("http://me:secret@localhost:1", ConfigError, "no password"),
        ("http://127.0.0.1:9", StoreUnavailable, "does not answer as a service"),
    ],
)
def test_an_address_that_is_none_or_does_not_answer(url: str, error: type[Exception], reason: str) -> None:
    with pytest.raises(error, match=reason):
        audit(live=url)
    with pytest.raises(ConfigError, match="a service knows its own"):
        audit(live=url, decision="x")
