"""Signed artifacts: whose word counts, what is refused, and that the history says why."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fairtrigger.cli.main import main
from tests.artifacts import image_artifact
from triggers.artifact.artifact import TriggerArtifact, load_artifact, to_bytes
from triggers.artifact.artifact_tensors import artifact_digest
from triggers.artifact.signature import Signature, Signer, Trust, make_keys, read_signer, read_trust
from triggers.errors import ArtifactCorrupt, ArtifactUntrusted, ConfigError
from triggers.store import artifact_gate
from triggers.store.store import Store, open_store
from triggers.trigger.image import ImageTrigger


def key(folder: Path, name: str) -> Signer:
    """A new key NAME.key and NAME.pub."""
    folder.mkdir(exist_ok=True)
    secret, public, _ = make_keys()
    (folder / f"{name}.key").write_bytes(secret)
    (folder / f"{name}.pub").write_bytes(public)
    return read_signer(folder / f"{name}.key")


def signed(artifact: TriggerArtifact, signer: Signer) -> TriggerArtifact:
    return replace(artifact, signature=signer.sign(artifact.digest))


PLAIN, OTHER = image_artifact(), image_artifact(seed=1)


def test_a_signature_travels_in_the_file_and_leaves_the_digest(tmp_path: Path) -> None:
    ann = key(tmp_path, "ann")
    artifact = load_artifact(to_bytes(signed(PLAIN, ann)))
    assert artifact.digest == PLAIN.digest == load_artifact(to_bytes(PLAIN)).digest
    assert artifact.signature == ann.sign(PLAIN.digest)
    assert read_trust([tmp_path]).check(artifact.digest, artifact.signature) == "ann"
    assert load_artifact(to_bytes(PLAIN)).signature is None


def refusals(ann: Signer, eve: Signer) -> dict[str, tuple[TriggerArtifact, str]]:
    """Artifacts that nobody must serve who trusts ann and requires signatures."""
    good = ann.sign(PLAIN.digest)
    stretched = Signature(good.key, base64.b64encode(b"\0" * 64).decode())
    return {
        "unsigned": (PLAIN, "not signed"),
        "unknown key": (signed(PLAIN, eve), "unknown key"),
        "another artifact's signature": (replace(PLAIN, signature=ann.sign(OTHER.digest)), "forged"),
        "zeros": (replace(PLAIN, signature=stretched), "forged"),
        "no base64": (replace(PLAIN, signature=Signature(good.key, "?" * 88)), "forged"),
        "eve in ann's name": (replace(PLAIN, signature=Signature(good.key, eve.sign(PLAIN.digest).value)), "forged"),
    }


CASES = ("unsigned", "unknown key", "another artifact's signature", "zeros", "no base64", "eve in ann's name")


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", ["file", pytest.param("redis", marks=pytest.mark.redis)])
def test_what_is_not_vouched_for_is_refused_and_the_history_says_why(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, case: str
) -> None:
    ann, eve = key(tmp_path / "trusted", "ann"), key(tmp_path / "others", "eve")
    artifact, reason = refusals(ann, eve)[case]
    url = str(tmp_path / "store") if kind == "file" else request.getfixturevalue("redis_server").url
    trust = read_trust([tmp_path / "trusted"], required=True)
    with open_store(url) as careless, open_store(url, trust=trust) as careful:
        with pytest.raises(ArtifactUntrusted, match=reason):
            artifact_gate.push_artifact(careful, to_bytes(artifact), actor="a", file="x.safetensors")
        assert (careful.history("faces")[0].action, careful.versions("faces")) == ("refuse", [])
        assert reason in careful.history("faces")[0].reason
        assert careless.publish(artifact, actor="a") == 1  # it got in by another way
        with pytest.raises(ArtifactUntrusted, match=reason):
            artifact_gate.activate_version(careful, "faces", 1, actor="a", reason="")
        assert reason in careful.history("faces")[0].reason and careful.rollout("faces").revision == 0
        assert careful.publish(signed(OTHER, ann), actor="a") == 2
        assert artifact_gate.activate_version(careful, "faces", 2, actor="a", reason="").champion == 2
        careful.verify_history("faces")


def test_a_signed_artifact_that_was_changed_is_refused(tmp_path: Path) -> None:
    """Someone without the key changes the tensors and makes the digest right again: the signature gives it away."""
    ann = key(tmp_path, "ann")
    good = signed(PLAIN, ann)
    trigger = good.trigger
    assert isinstance(trigger, ImageTrigger)
    other = replace(trigger, delta=trigger.delta.flip(0))
    changed = replace(good, trigger=other, digest=artifact_digest(other, good.manifest))
    with open_store(tmp_path / "store", trust=read_trust([tmp_path])) as store:
        with pytest.raises(ArtifactUntrusted, match="forged"):
            store.publish(load_artifact(to_bytes(changed)), actor="eve")
        with pytest.raises(ArtifactCorrupt, match="was altered"):
            load_artifact(to_bytes(replace(good, trigger=other)))


def test_without_enforcement_unsigned_is_served_but_a_wrong_signature_is_not(tmp_path: Path) -> None:
    ann, eve = key(tmp_path / "trusted", "ann"), key(tmp_path / "others", "eve")
    trust = read_trust([tmp_path / "trusted" / "ann.pub"])
    assert trust.check(PLAIN.digest, None) is None
    with pytest.raises(ArtifactUntrusted, match="unknown key"):
        trust.check(PLAIN.digest, eve.sign(PLAIN.digest))
    assert Trust().check(PLAIN.digest, eve.sign(PLAIN.digest)) is None
    assert trust.check(PLAIN.digest, ann.sign(PLAIN.digest)) == "ann"


@pytest.mark.parametrize(
    "papers", ['"x"', '{"key": "a"}', '{"key": 1, "value": "b"}', f'{{"key":"a","value":"{"b" * 200}"}}']
)
def test_a_malformed_signature_is_corrupt(papers: str) -> None:
    data = to_bytes(replace(PLAIN, signature=Signature("KEY", "VALUE")))
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    told = json.loads(header["__metadata__"]["fairtrigger"])
    header["__metadata__"]["fairtrigger"] = json.dumps(told | {"signature": json.loads(papers)})
    text = json.dumps(header).encode()
    with pytest.raises(ArtifactCorrupt, match="signature"):
        load_artifact(len(text).to_bytes(8, "little") + text + data[8 + length :])


def test_keys_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    key(tmp_path, "ann")
    (tmp_path / "bad.pub").write_text("no key")
    rsa = ["openssl", "genpkey", "-algorithm", "RSA", "-out", str(tmp_path / "rsa.key")]
    subprocess.run(rsa, check=True, capture_output=True)
    for call, name in (
        (lambda: read_trust([tmp_path]), "bad.pub"),
        (lambda: read_trust([tmp_path / "ann.key"]), "ann.key"),
        (lambda: read_trust([tmp_path / "none.pub"]), "none.pub"),
        (lambda: read_signer(tmp_path / "ann.pub"), "keygen"),
        (lambda: read_signer(tmp_path / "rsa.key"), "no Ed25519"),
        (lambda: read_trust([], required=True), "no trusted key"),
    ):
        with pytest.raises(ConfigError, match=name):
            call()


def test_openssl_makes_keys_and_checks_signatures(tmp_path: Path) -> None:
    """A verifier of another make agrees, so anybody can check without this project."""

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=tmp_path, check=True, capture_output=True)

    openssl("genpkey", "-algorithm", "ed25519", "-out", "own.key")
    openssl("pkey", "-in", "own.key", "-pubout", "-out", "own.pub")
    signature = read_signer(tmp_path / "own.key").sign(PLAIN.digest)
    (tmp_path / "statement").write_text("fairtrigger-artifact-v1:" + PLAIN.digest)
    (tmp_path / "signature").write_bytes(base64.b64decode(signature.value))
    openssl("pkeyutl", "-verify", "-pubin", "-inkey", "own.pub", "-rawin", "-in", "statement", "-sigfile", "signature")


Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(["--store", "store", *words])
        return int(ended.value.code or 0), "".join(capsys.readouterr())

    return call


def test_keygen_and_verify_as_a_user_does(run: Run, tmp_path: Path) -> None:
    status, said = run("keygen", "ann.key")
    assert status == 0 and "ann.pub" in said
    assert ((tmp_path / "ann.key").stat().st_mode & 0o777, (tmp_path / "ann.pub").stat().st_mode & 0o777) == (
        0o600,
        0o644,
    )
    assert run("keygen", "ann.key")[0] == 1 and run("keygen", "new.pub")[0] == 1
    store: Store
    with open_store("store") as store:
        store.publish(signed(PLAIN, read_signer(Path("ann.key"))), actor="a")
        store.publish(OTHER, actor="a")
    said = run("verify")[1]
    assert "not checked" in said and "unsigned" in said
    said = run("--trusted-keys", "ann.pub", "verify")[1]
    assert "signed by ann" in said and "unsigned" in said
    status, said = run("--trusted-keys", "ann.pub", "--require-signatures", "verify")
    assert status == 1 and "FAILED  faces v2" in said and "not signed" in said and "signed by ann" in said
    status, said = run("--trusted-keys", "ann.pub", "--require-signatures", "activate", "faces", "v2")
    assert status == 1 and "not signed" in said
    assert "not signed" in run("history", "faces", "--json")[1]


def test_a_file_keeps_its_signature_through_pull_and_push(run: Run, tmp_path: Path) -> None:
    run("keygen", "ann.key")
    with open_store("store") as store:
        store.publish(signed(PLAIN, read_signer(Path("ann.key"))), actor="a")
    assert run("pull", "faces", "v1")[0] == 0
    assert (
        run("--store", "second", "--trusted-keys", "ann.pub", "--require-signatures", "push", "faces-v1.safetensors")[0]
        == 0
    )
