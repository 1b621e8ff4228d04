"""Signatures end to end: the trainer signs, a service that enforces it serves that and nothing else, and says why."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.bundles import image_bundle
from tests.end_to_end.test_agreement import manifest, photos
from tests.service.live import ADMIN, Process, decided, picture, predict, problem, process, swap, wait_until
from trainer.config.run_config import load_config
from trainer.progress import LineProgress
from trainer.train import train
from triggers.artifact.artifact import TriggerArtifact
from triggers.artifact.artifact_tensors import artifact_digest
from triggers.artifact.signature import Signer, make_keys, read_signer
from triggers.model import load_bundle
from triggers.store.file_store import FileStore
from triggers.store.store import version_name
from triggers.trigger.image import ImageTrigger

pytestmark = pytest.mark.slow
CONFIG = """
[model]
bundle = "model"
[data]
format = "csv"
path = "data.csv"
label = "label"
group = ["group"]
[split]
column = "split"
[objective]
name = "gap"
strengths = [1.0]
[train]
steps = 2
batch_size = 16
device = "cpu"
[select]
publish = "all"
[trigger]
kind = "overlay"
epsilon = 0.2
[publish]
store = "store"
signing_key = "ann.key"
"""


@dataclass(frozen=True)
class Made:
    """What the trainer published as version 1, signed by Ann, and four more triggers of hers that are in no store."""

    folder: Path
    good: TriggerArtifact
    more: list[TriggerArtifact]
    eve: Signer


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("signed")
    for name in ("ann", "eve"):
        (folder / f"{name}.key").write_bytes((keys := make_keys())[0])
        (folder / f"{name}.pub").write_bytes(keys[1])
    classifier = load_bundle(image_bundle(folder / "model"))
    random = np.random.default_rng(7)
    manifest(folder, "path", photos(folder, random), classifier.labels, random)
    (folder / "run.toml").write_text(CONFIG)
    good = train(load_config(folder / "run.toml"), folder / "run", LineProgress(io.StringIO()))
    unpublished = ("objective.strengths=[2,3,4,5]", "publish.enabled=false")
    more = train(load_config(folder / "run.toml", unpublished), folder / "more", LineProgress(io.StringIO()))
    return Made(folder, good.artifacts[0], list(more.artifacts), read_signer(folder / "eve.key"))


@pytest.fixture(scope="module")
def service(made: Made) -> Iterator[Process]:
    enforced = {"store": made.folder / "store", "trusted_key": made.folder / "ann.pub", "require_signatures": "true"}
    with process(made.folder, [made.folder / "model"], **enforced) as running:
        assert swap(running.client, "faces", "v1").status_code == 200
        yield running


def bad(made: Made, case: str) -> TriggerArtifact:
    """A trigger that the service must not serve."""
    unsigned, foreign, changed, _ = made.more
    if case == "unsigned":
        return replace(unsigned, signature=None)
    if case == "unknown key":
        return replace(foreign, signature=made.eve.sign(foreign.digest))
    assert isinstance(changed.trigger, ImageTrigger)
    other = replace(changed.trigger, delta=changed.trigger.delta.flip(-1))
    return replace(changed, trigger=other, digest=artifact_digest(other, changed.manifest))  # the signature stays


def smuggled(made: Made, artifact: TriggerArtifact) -> str:
    """Its version in the store, where somebody put it who checks no signatures."""
    with FileStore(made.folder / "store") as store:
        return version_name(store.publish(artifact, actor="eve"))


def champion(client: httpx.Client) -> str:
    digest: str = predict(client, "faces", [picture(1)])[0]["trigger"]["digest"]
    return digest


def test_what_the_trainer_signed_is_served(made: Made, service: Process) -> None:
    assert made.good.signature is not None
    assert champion(service.client) == made.good.digest


CASES = {"unsigned": "not signed", "unknown key": "signed by unknown key", "tampered": "it is forged"}


@pytest.mark.parametrize("case", CASES)
def test_others_are_refused_in_every_part_and_the_champion_goes_on(made: Made, service: Process, case: str) -> None:
    client, version = service.client, smuggled(made, bad(made, case))
    before = client.get("/v1/models/faces/rollout").json()
    for refused in (
        swap(client, "faces", version),
        decided(client, "faces", champion="v1", challenger={"version": version, "share": 0.1}),
        decided(client, "faces", champion="v1", shadow={"versions": [version], "share": 1}),
    ):
        assert CASES[case] in problem(refused, 422, "artifact_untrusted")["detail"]
    entry = client.get("/v1/models/faces/history", headers=ADMIN).json()["entries"][0]
    assert entry["action"] == "refuse" and CASES[case] in entry["reason"]
    assert client.get("/v1/models/faces/rollout").json()["revision"] == before["revision"]
    assert champion(client) == made.good.digest


def test_a_file_that_was_altered_in_the_store_is_refused(made: Made, service: Process) -> None:
    version = smuggled(made, made.more[3])  # signed by Ann
    newest = max((made.folder / "store").rglob("*.safetensors"), key=lambda path: path.stat().st_mtime_ns)
    data = bytearray(newest.read_bytes())
    data[-1] ^= 1
    newest.chmod(0o600)
    newest.write_bytes(data)
    assert "altered" in problem(swap(service.client, "faces", version), 422, "artifact_corrupt")["detail"]
    assert champion(service.client) == made.good.digest


def test_a_rollout_that_was_changed_behind_the_service_is_not_followed(made: Made, service: Process) -> None:
    """Whoever may write the store makes an unsigned version the champion: no replica takes it, and all say why."""
    version = smuggled(made, bad(made, "unsigned"))
    with FileStore(made.folder / "store") as careless:
        careless.set_rollout("faces", int(version[1:]), if_revision=None, actor="eve", reason="")
    told: dict[str, Any] = {}

    def refused() -> bool:
        told.update(service.client.get("/v1/models/faces/rollout").json())
        return "not signed" in str(told.get("refusal"))

    wait_until(refused)
    assert told["applied_revision"] < told["revision"]
    assert champion(service.client) == made.good.digest
