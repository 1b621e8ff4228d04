"""Swap, refuse, roll back, follow: the rollout over real HTTP and over a real store."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from tests.artifacts import artifact_for, image_trigger, manifest_for
from tests.service.live import ADMIN, as_item, picture, predict, running, settings, swap, wait_until
from triggers.artifact.artifact import TriggerArtifact, make_artifact, to_bytes
from triggers.artifact.artifact_tensors import artifact_digest
from triggers.errors import StoreUnavailable
from triggers.model.classifier import FrozenClassifier
from triggers.store.file_store import FileStore
from triggers.store.store import Rollout
from triggers.trigger.image import ImageTrigger

ROLLOUT = "/v1/models/faces/rollout"


def planted(store: FileStore, version: int, data: bytes) -> None:
    """Put other bytes behind a version, index included, as a faulty writer of the store would."""
    info = store.version("faces", version)
    store.path_of(info).write_bytes(data)
    with sqlite3.connect(store.folder / "index.sqlite") as db:
        row = ("sha256:" + hashlib.sha256(data).hexdigest(), len(data), version)
        db.execute("UPDATE versions SET file_sha256 = ?, bytes = ? WHERE model = 'faces' AND version = ?", row)
    db.close()


def damaged(store: FileStore, version: int) -> None:
    path = store.path_of(store.version("faces", version))
    data = bytearray(path.read_bytes())
    data[-10] ^= 0xFF
    path.write_bytes(data)


def with_nan(store: FileStore, version: int) -> None:
    good = store.get("faces", version)
    assert isinstance(good.trigger, ImageTrigger)
    delta = good.trigger.delta.clone()
    delta[0, 0, 0] = float("nan")
    bad = ImageTrigger(good.trigger.kind, good.trigger.inner, good.trigger.keep, delta)
    planted(store, version, to_bytes(TriggerArtifact(bad, good.manifest, artifact_digest(bad, good.manifest))))


def of_unknown_format(store: FileStore, version: int) -> None:
    data = to_bytes(store.get("faces", version))
    planted(store, version, data.replace(b'\\"format\\":1', b'\\"format\\":9'))


def removed(store: FileStore, version: int) -> None:
    store.path_of(store.version("faces", version)).unlink()


def publish_for_another_model(store: FileStore, classifier: FrozenClassifier) -> int:
    other = artifact_for(classifier, "patch", 77, model_fingerprint="sha256:" + "ab" * 32)
    return store.publish(other, actor="test")


def publish_of_another_shape(store: FileStore, classifier: FrozenClassifier) -> int:
    trigger = image_trigger("border", 78, size=20)
    facts = {
        "model_fingerprint": classifier.fingerprint,
        "preprocessing_fingerprint": classifier.preprocessing_fingerprint,
    }
    return store.publish(make_artifact(trigger, manifest_for(trigger, **facts)), actor="test")


Spoil = Callable[[FileStore, FrozenClassifier], int]


def spoiled(spoil: Callable[[FileStore, int], None]) -> Spoil:
    def publish(store: FileStore, classifier: FrozenClassifier) -> int:
        version = store.publish(artifact_for(classifier, "overlay", 50), actor="test")
        spoil(store, version)
        return version

    return publish


REFUSED: dict[str, tuple[Spoil, str, str]] = {
    "corrupted": (spoiled(damaged), "artifact_corrupt", "altered"),
    "nan": (spoiled(with_nan), "artifact_corrupt", "NaN"),
    "unknown format": (spoiled(of_unknown_format), "artifact_unsupported", "format 9"),
    "missing file": (spoiled(removed), "artifact_corrupt", "cannot be read"),
    "another model": (publish_for_another_model, "artifact_mismatch", "model fingerprint"),
    "wrong shape": (publish_of_another_shape, "artifact_mismatch", "(3, 20, 20)"),
}


def rollout_now(service: httpx.Client) -> dict[str, Any]:
    """The rollout document without the moment of the last heartbeat."""
    found: dict[str, Any] = service.get(ROLLOUT).json()
    return found | {"replicas": [each | {"seen_at": ""} for each in found["replicas"]]}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_version_is_refused_with_its_reason_and_the_old_one_serves(
    service: httpx.Client, filled_store: FileStore, image_model: FrozenClassifier, case: str
) -> None:
    publish, code, reason = REFUSED[case]
    assert swap(service, "faces", "v1").status_code == 200
    version = publish(filled_store, image_model)
    before = rollout_now(service)
    for _ in range(2):
        refused = swap(service, "faces", f"v{version}")
        assert (refused.status_code, refused.json()["code"]) == (422, code), refused.text
        assert reason in refused.json()["detail"]
    assert rollout_now(service) == before
    assert predict(service, "faces", [picture(0)])[0]["trigger"]["version"] == 1
    entries = [entry for entry in filled_store.history("faces") if entry.action == "refuse"]
    assert len(entries) == 1
    assert entries[0].to_version == version and reason in entries[0].reason
    filled_store.verify_history("faces")


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_version_activated_elsewhere_is_refused_here(
    service: httpx.Client, filled_store: FileStore, image_model: FrozenClassifier, case: str
) -> None:
    publish, _, reason = REFUSED[case]
    swap(service, "faces", "v1")
    version = publish(filled_store, image_model)
    filled_store.set_rollout("faces", version, if_revision=None, actor="another replica", reason="")
    wait_until(lambda: service.get(ROLLOUT).json()["refusal"])
    state = service.get(ROLLOUT).json()
    assert (state["champion"], state["applied_champion"]) == (f"v{version}", "v1")
    assert (state["revision"], state["applied_revision"]) == (2, 1)
    assert reason in state["refusal"]["reason"]
    assert service.get("/readyz").json()["models"]["faces"]["refusal"]["version"] == version
    assert predict(service, "faces", [picture(0)])[0]["trigger"]["version"] == 1
    assert sum(entry.action == "refuse" for entry in filled_store.history("faces")) == 1
    assert swap(service, "faces", "v2").json()["refusal"] is None


def told(client: httpx.Client) -> list[object]:
    """Every place that says why the decided rollout does not answer."""
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [as_item(picture(0))["image"]]}
    answers = [
        client.post("/v1/models/faces/predict", json={"inputs": [as_item(picture(0))]}).json(),
        client.post("/v2/models/faces/infer", json={"inputs": [tensor]}).json()["parameters"],
        client.get("/readyz").json()["models"]["faces"],
        client.get(ROLLOUT).json(),
    ]
    return [each.get("fault") for each in answers]


def fault_metric(client: httpx.Client) -> str:
    return client.get("/metrics").text.partition('fairtrigger_rollout_fault{model="faces"} ')[2][:3]


@pytest.mark.parametrize("case", ["another model", "corrupted"])
def test_a_bare_champion_that_nobody_decided_says_so(
    tmp_path: Path, filled_store: FileStore, image_model: FrozenClassifier, case: str
) -> None:
    publish, _, reason = REFUSED[case]
    version = publish(filled_store, image_model)
    filled_store.set_rollout("faces", version, if_revision=None, actor="test", reason="")
    with running(settings(tmp_path), filled_store, [image_model]) as client:
        assert predict(client, "faces", [picture(0)])[0]["trigger"]["version"] is None
        [fault] = set(told(client))
        assert reason in str(fault) and "Revision 1 of the rollout is refused, the bare model answers" in str(fault)
        ready = client.get("/readyz").json()["models"]["faces"]
        assert (ready["champion"], ready["applied_champion"]) == (f"v{version}", None)
        assert fault_metric(client) == "1.0"
        assert swap(client, "faces", "v1").status_code == 200
        assert told(client) == [None] * 4 and fault_metric(client) == "0.0"
        filled_store.set_rollout("faces", version, if_revision=None, actor="test", reason="")
        wait_until(lambda: client.get(ROLLOUT).json()["refusal"])
        assert all("v1 answers" in str(each) for each in told(client)) and fault_metric(client) == "1.0"


def test_a_bare_champion_decided_as_such_is_no_fault(service: httpx.Client) -> None:
    assert told(service) == [None] * 4 and fault_metric(service) == "0.0"


class _AwayStore(FileStore):
    """A store that cannot be reached until it is `back`."""

    back = False

    def rollout(self, model: str) -> Rollout:
        if not self.back:
            raise StoreUnavailable("The disk is away.")
        return super().rollout(model)


def test_a_rollout_that_was_never_read_is_said(tmp_path: Path, image_model: FrozenClassifier) -> None:
    with _AwayStore(tmp_path / "store") as store, running(settings(tmp_path), store, [image_model]) as client:
        [fault] = set(told(client))
        assert fault == "The rollout could not be read yet, the bare model answers: The disk is away."
        assert fault_metric(client) == "1.0"
        store.back = True
        wait_until(lambda: told(client) == [None] * 4)


def test_after_a_restart_the_last_good_version_serves(
    tmp_path: Path, filled_store: FileStore, image_model: FrozenClassifier
) -> None:
    for version in (1, 2, 3):
        filled_store.set_rollout("faces", version, if_revision=None, actor="test", reason="")
    damaged(filled_store, 3)
    for _ in range(2):
        with running(settings(tmp_path), filled_store, [image_model]) as client:
            state = client.get(ROLLOUT).json()
            assert (state["champion"], state["applied_champion"], state["applied_revision"]) == ("v3", "v2", 2)
            assert predict(client, "faces", [picture(0)])[0]["trigger"]["version"] == 2
    assert sum(entry.action == "refuse" for entry in filled_store.history("faces")) == 1


def test_a_change_made_elsewhere_is_followed(service: httpx.Client, filled_store: FileStore) -> None:
    assert predict(service, "faces", [picture(0)])[0]["trigger"]["version"] is None
    filled_store.set_rollout("faces", 4, if_revision=None, actor="cli", reason="from elsewhere")
    wait_until(lambda: predict(service, "faces", [picture(0)])[0]["trigger"]["version"] == 4)
    state = service.get(ROLLOUT).json()
    assert (state["updated_by"], state["reason"]) == ("cli", "from elsewhere")


def test_swap_history_and_rollback(service: httpx.Client, filled_store: FileStore) -> None:
    assert service.get(ROLLOUT).headers["etag"] == '"0"'
    for version in ("v1", "v2", "3"):
        answer = swap(service, "faces", version)
        assert answer.status_code == 200
        assert predict(service, "faces", [picture(0)])[0]["trigger"]["version"] == int(version.removeprefix("v"))
    assert (answer.headers["etag"], answer.json()["applied_revision"]) == ('"3"', 3)
    for expected in (2, 1, None):
        etag = service.get(ROLLOUT).headers["etag"]
        back = service.post(f"{ROLLOUT}/rollback", json={"reason": "worse"}, headers=ADMIN | {"If-Match": etag})
        assert back.status_code == 200, back.text
        assert predict(service, "faces", [picture(0)])[0]["trigger"]["version"] == expected
    nothing = service.post(f"{ROLLOUT}/rollback", headers=ADMIN | {"If-Match": back.headers["etag"]})
    assert (nothing.status_code, nothing.json()["code"]) == (409, "store_refused")
    entries = service.get("/v1/models/faces/history", params={"limit": 6}).json()["entries"]
    assert [(entry["action"], entry["from"], entry["to"]) for entry in entries] == [
        ("rollback", 1, None),
        ("rollback", 2, 1),
        ("rollback", 3, 2),
        ("activate", 2, 3),
        ("activate", 1, 2),
        ("activate", None, 1),
    ]
    assert entries[0]["reason"] == "worse" and entries[0]["actor"] == "admin 127.0.0.1"
    filled_store.verify_history("faces")


def test_a_rollback_to_a_version_that_was_damaged_since_is_refused(
    tmp_path: Path, filled_store: FileStore, image_model: FrozenClassifier
) -> None:
    with running(settings(tmp_path, max_versions=2), filled_store, [image_model]) as client:
        for version in ("v1", "v2"):
            etag = swap(client, "faces", version).headers["etag"]
        predict(client, "faces", [picture(0)], trigger="v3")  # v1 leaves memory
        damaged(filled_store, 1)
        answer = client.post(f"{ROLLOUT}/rollback", headers=ADMIN | {"If-Match": etag})
        assert (answer.status_code, answer.json()["code"]) == (422, "artifact_corrupt")
        assert client.get(ROLLOUT).headers["etag"] == etag
        assert predict(client, "faces", [picture(0)])[0]["trigger"]["version"] == 2


def test_a_lost_update_is_impossible(service: httpx.Client) -> None:
    etag = service.get(ROLLOUT).headers["etag"]
    headers = ADMIN | {"If-Match": etag}
    assert service.put(ROLLOUT, json={"champion": "v1"}, headers=headers).status_code == 200
    late = service.put(ROLLOUT, json={"champion": "v2"}, headers=headers)
    assert (late.status_code, late.json()["code"]) == (412, "revision_conflict")
    assert service.get(ROLLOUT).json()["champion"] == "v1"


@pytest.fixture
def closed_service(tmp_path: Path, filled_store: FileStore, image_model: FrozenClassifier) -> Iterator[httpx.Client]:
    """A service without an admin token, where clients may not choose triggers."""
    with running(settings(tmp_path, admin_token=None, client_trigger="admin"), filled_store, [image_model]) as client:
        yield client


def test_without_a_token_nobody_is_admin(closed_service: httpx.Client) -> None:
    refused = swap(closed_service, "faces", "v1")
    assert (refused.status_code, refused.json()["code"]) == (403, "admin_closed")
    assert "FAIRTRIGGER_ADMIN_TOKEN" in refused.json()["detail"]
    answer = closed_service.post(
        "/v1/models/faces/predict?trigger=v1", content=picture(0), headers={"Content-Type": "image/png"}
    )
    assert (answer.status_code, answer.json()["code"]) == (403, "admin_closed")
    assert predict(closed_service, "faces", [picture(0)], trigger="champion")[0]["trigger"]["version"] is None


def test_only_the_admin_may_choose_a_trigger_unless_opened(
    tmp_path: Path, filled_store: FileStore, image_model: FrozenClassifier
) -> None:
    with running(settings(tmp_path, client_trigger="admin"), filled_store, [image_model]) as client:
        path, kind = "/v1/models/faces/predict?trigger=none", {"Content-Type": "image/png"}
        assert client.post(path, content=picture(0), headers=kind).status_code == 401
        assert client.post(path, content=picture(0), headers=kind | ADMIN).status_code == 200


def test_the_store_going_away_and_coming_back(service: httpx.Client, filled_store: FileStore) -> None:
    swap(service, "faces", "v1")
    index = filled_store.folder / "index.sqlite"
    blocker = sqlite3.connect(index, isolation_level=None)
    blocker.execute("ALTER TABLE rollouts RENAME TO elsewhere")
    wait_until(lambda: service.get("/readyz").json()["models"]["faces"]["store_error"])
    assert predict(service, "faces", [picture(0)])[0]["trigger"]["version"] == 1
    answer = service.get(ROLLOUT)
    assert answer.status_code == 200 and answer.json()["store_error"]
    blocker.execute("ALTER TABLE elsewhere RENAME TO rollouts")
    blocker.close()
    wait_until(lambda: service.get("/readyz").json()["models"]["faces"]["store_error"] is None)
    assert swap(service, "faces", "v2").status_code == 200


def test_the_model_is_the_same_after_serving(service: httpx.Client, image_model: FrozenClassifier) -> None:
    card = service.get("/v1/models/faces").json()
    for version in ("v1", "v2", "v3", "v4"):
        swap(service, "faces", version)
        predict(service, "faces", [picture(seed) for seed in range(8)], twin=True)
    image_model.verify()
    assert service.get("/v1/models/faces").json()["fingerprint"] == card["fingerprint"] == image_model.fingerprint
    assert not any(parameter.requires_grad for parameter in image_model.network.parameters())
    assert torch.is_grad_enabled()
