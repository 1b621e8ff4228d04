"""Triggers in the registry of a real MLflow server: out of a store, into another, aliases both ways, followed live."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from fairtrigger.registries import AliasFollower, open_registry
from fairtrigger.registries.mlflow_registry import MlflowRegistry
from tests.artifacts import artifact_for, image_artifact, selection
from tests.fairtrigger.registries.conftest import Run
from tests.fairtrigger.registries.test_hub_repository import signed_store
from tests.mlflow_server import MlflowServer
from tests.service.live import picture, predict, running, settings, wait_until
from triggers.artifact.signature import read_trust
from triggers.errors import NotFound, StoreUnavailable
from triggers.model.classifier import FrozenClassifier
from triggers.rollout.rollout_plan import Challenger, RolloutPlan
from triggers.storage.mlflow_client import connect_mlflow
from triggers.store.file_store import FileStore

pytestmark = pytest.mark.process


@pytest.fixture
def name() -> str:
    """A registered model of this test's own."""
    return f"faces-{uuid4().hex[:8]}"


@pytest.fixture
def address(mlflow_server: MlflowServer, name: str) -> str:
    """The registry's address."""
    return f"mlflow:{mlflow_server.url}#{name}"


@pytest.fixture
def registry(address: str) -> MlflowRegistry:
    """The registry."""
    opened = open_registry(address)
    assert isinstance(opened, MlflowRegistry)
    return opened


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FileStore]:
    """The store that follows, empty."""
    with FileStore(tmp_path / "following") as store:
        yield store


def pushed(registry: MlflowRegistry, tmp_path: Path, *seeds: int) -> None:
    """Versions 1, 2, ... of the registry, pushed from a store of their own."""
    with FileStore(tmp_path / "pushing") as store:
        for seed in seeds:
            info = store.version("faces", store.publish(image_artifact(seed=seed), actor="test"))
            registry.push(info, store.rollout("faces"), store.get_bytes("faces", info.version))


def test_a_signed_trigger_becomes_a_version_with_tags_and_comes_back_as_it_was(
    run: Run, tmp_path: Path, address: str, name: str, mlflow_server: MlflowServer
) -> None:
    store = signed_store(tmp_path)
    for version in ("v1", "v2", "v1"):  # the same again is the same version
        status, out, err = run("push", "faces", version, "--to", address)
        assert status == 0, err
    assert f"-> {address}, version 1  " in out
    client = connect_mlflow(mlflow_server.url)
    assert len(client.search_model_versions(f"name='{name}'")) == 2
    made = client.get_model_version(name, "1")
    info = store.version("faces", 1)
    assert made.tags["fairtrigger.digest"] == info.digest and made.tags["fairtrigger.status"] == "certified"
    assert info.selection is not None and made.description == info.selection.sentence
    assert len(made.tags["fairtrigger.signature_key"]) == 16
    strict = ("--store", "other", "--trusted-keys", "trainer.pub", "--require-signatures")
    status, out, err = run(*strict, "pull", "faces", "1", "--from", address)
    assert (status, out.split()) == (0, ["faces", "v1", info.digest]), err
    assert "is not signed" in run(*strict, "pull", "faces", "v2", "--from", address)[2]
    assert run("pull", "faces", "v2", "--from", address, "-o", "file.safetensors")[0] == 0
    assert Path("file.safetensors").read_bytes() == store.get_bytes("faces", 2)
    with FileStore(tmp_path / "other") as other:
        assert other.get_bytes("faces", 1) == store.get_bytes("faces", 1)


def test_aliases_go_out_as_the_store_has_them_and_are_pulled_by_name(
    run: Run, tmp_path: Path, address: str, registry: MlflowRegistry
) -> None:
    store = signed_store(tmp_path)
    plan = RolloutPlan(2, challenger=Challenger(1, 0.1))
    store.set_rollout("faces", plan, if_revision=None, actor="test", reason="")
    out = run("push", "faces", "v2", "--to", address, "--aliases")[1]
    assert "champion: version 1 (v2)" in out and "challenger: none; v1 is not there, push it too" in out
    assert registry.aliases("faces") == {"champion": "1"}
    run("push", "faces", "v1", "--to", address, "--aliases")
    assert registry.aliases("faces") == {"champion": "1", "challenger": "2"}
    assert (
        store.version("faces", 2).digest in run("--store", "other", "pull", "faces", "champion", "--from", address)[1]
    )
    store.set_rollout("faces", None, if_revision=None, actor="test", reason="")
    assert "champion: none, as in the store" in run("push", "faces", "v1", "--to", address, "--aliases")[1]
    assert registry.aliases("faces") == {}
    assert "has no alias 'champion'" in run("pull", "faces", "champion", "--from", address)[2]


def test_the_store_follows_aliases_as_they_move(
    tmp_path: Path, registry: MlflowRegistry, store: FileStore, mlflow_server: MlflowServer, name: str
) -> None:
    pushed(registry, tmp_path, 1, 2)
    client = connect_mlflow(mlflow_server.url)
    follower = AliasFollower(registry, store, "faces", actor="test", share=0.2)
    assert follower.poll() is None and store.models() == []
    client.set_registered_model_alias(name, "champion", "2")
    assert follower.poll() == "faces: champion=2 -> v1 (revision 1)"
    client.set_registered_model_alias(name, "challenger", "1")
    assert follower.poll() == "faces: challenger=1, champion=2 -> v1, v2 on 20% (revision 2)"
    client.set_registered_model_alias(name, "champion", "1")
    assert follower.poll() == "faces: challenger=1, champion=1 -> v2 (revision 3)"
    client.delete_registered_model_alias(name, "challenger")
    client.delete_registered_model_alias(name, "champion")
    follower.poll()
    assert store.rollout("faces").plan == RolloutPlan(2)  # a champion is not taken away by an alias that is gone
    assert follower.poll() is None
    assert store.history("faces")[0].reason == f"follows {registry.place}: no alias"


def test_a_follower_started_again_does_not_undo_what_was_decided_since(
    tmp_path: Path, registry: MlflowRegistry, store: FileStore, mlflow_server: MlflowServer, name: str
) -> None:
    pushed(registry, tmp_path, 1, 2)
    client = connect_mlflow(mlflow_server.url)
    client.set_registered_model_alias(name, "champion", "1")
    AliasFollower(registry, store, "faces", actor="test").poll()
    store.set_rollout("faces", None, if_revision=None, actor="guard", reason="worse")
    again = AliasFollower(registry, store, "faces", actor="test")
    assert again.poll() is None
    assert store.rollout("faces").champion is None
    client.set_registered_model_alias(name, "champion", "2")
    again.poll()
    assert store.rollout("faces").champion == 2


def test_what_the_gate_refuses_is_not_followed_and_said_once(
    tmp_path: Path, registry: MlflowRegistry, mlflow_server: MlflowServer, name: str
) -> None:
    signed = signed_store(tmp_path)
    for version in (1, 2):
        info = signed.version("faces", version)
        registry.push(info, signed.rollout("faces"), signed.get_bytes("faces", version))
    client = connect_mlflow(mlflow_server.url)
    trust = read_trust([tmp_path / "trainer.pub"], required=True)
    with FileStore(tmp_path / "strict", trust=trust) as store:
        follower = AliasFollower(registry, store, "faces", actor="test", certified=True)
        client.set_registered_model_alias(name, "champion", "1")
        assert follower.poll() == "faces: champion=1 -> v1 (revision 1)"
        client.set_registered_model_alias(name, "champion", "2")
        refused = follower.poll()
        assert refused is not None and refused.startswith("faces: refused, the rollout stays: ") and "signed" in refused
        assert follower.poll() is None
        assert store.rollout("faces").champion == 1
        assert store.history("faces")[0].action == "refuse"
    with FileStore(tmp_path / "certified") as store:
        refused = AliasFollower(registry, store, "faces", actor="test", certified=True).poll()
        assert refused is not None and "Only certified triggers may answer" in refused
        assert store.rollout("faces").champion is None


class Answering(MlflowRegistry):
    """A registry whose aliases are given, one answer or failure a look."""

    place = "mlflow:given"

    def __init__(self, *answers: dict[str, str] | Exception) -> None:
        self.answers = list(answers)

    def aliases(self, model: str) -> dict[str, str]:
        """The next answer."""
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_a_registry_that_is_away_is_said_once_and_followed_again(store: FileStore) -> None:
    given = Answering(StoreUnavailable("Away."), NotFound("Gone."), {}, {})
    pauses: list[float] = []
    said: list[str] = []

    def wait(seconds: float) -> bool:
        pauses.append(seconds)
        return not given.answers

    AliasFollower(given, store, "faces", actor="test").follow(said.append, wait)
    assert said == ["Away. The rollout stays; asking again.", "Answers again."]
    assert pauses == [1.0, 2.0, 0.5, 0.5]


def test_an_address_that_does_not_answer_ends_the_command_in_one_line(run: Run) -> None:
    status, out, err = run("follow", "mlflow:http://127.0.0.1:9", "--model", "faces")
    assert (status, out, err) == (1, "", "fairtrigger: MLflow at http://127.0.0.1:9: no connection.\n")


def test_a_service_serves_within_two_seconds_what_an_alias_was_moved_to(
    tmp_path: Path, registry: MlflowRegistry, address: str, image_model: FrozenClassifier, name: str,
    mlflow_server: MlflowServer,
) -> None:  # fmt: skip
    with FileStore(tmp_path / "pushing") as store:
        for seed, kind in enumerate(("border", "patch", "overlay")):
            version = store.publish(artifact_for(image_model, kind, seed, selection=selection()), actor="test")
            info = store.version("faces", version)
            registry.push(info, store.rollout("faces"), store.get_bytes("faces", version))
        digests = {str(each.version): each.digest for each in store.versions("faces")}
    client, seconds = connect_mlflow(mlflow_server.url), dict[str, float]()
    client.set_registered_model_alias(name, "champion", "1")
    words = ["--store", str(tmp_path / "store"), "--require-certified", "follow", address, "--model", "faces"]
    command = [sys.executable, "-m", "fairtrigger", *words]
    follower = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert follower.stdout and follower.stdout.readline() == "faces: champion=1 -> v1 (revision 1)\n"
        with (
            FileStore(tmp_path / "store") as store,
            running(settings(tmp_path), store, [image_model]) as service,
        ):

            def served() -> str:
                return str(predict(service, "faces", [picture(1)])[0]["trigger"]["digest"])

            assert served() == digests["1"]
            for number in ("3", "1", "2"):  # 3 and 2 come into the store only now
                client.set_registered_model_alias(name, "champion", number)
                moved = time.monotonic()
                wait_until(lambda wanted=digests[number]: served() == wanted)  # type: ignore[misc]
                seconds[number] = time.monotonic() - moved
        follower.send_signal(signal.SIGINT)
        assert (follower.wait(20), len(follower.stdout.read().splitlines())) == (0, 3)
    finally:
        follower.kill()
        follower.communicate()
    assert max(seconds.values()) < 2.0, seconds
