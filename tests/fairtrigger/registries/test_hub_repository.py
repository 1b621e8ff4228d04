"""Triggers in the layout of a hub's model repository: out of one store, into another, unchanged and checked."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from fairtrigger.registries.repository_card import KEEP_MARK
from tests.artifacts import image_artifact, selection
from tests.fairtrigger.registries.conftest import Run
from tests.fairtrigger.registries.hub_server import running_hub
from triggers.artifact.signature import make_keys, read_signer
from triggers.store.file_store import FileStore


def signed_store(folder: Path) -> FileStore:
    """A store with faces v1, signed and certified, and v2, which is neither; the key is folder/trainer.pub."""
    secret, public, _ = make_keys()
    (folder / "trainer.key").write_bytes(secret)
    (folder / "trainer.pub").write_bytes(public)
    store = FileStore(folder / "store")
    first = image_artifact("border", selection=selection())
    signature = read_signer(folder / "trainer.key").sign(first.digest)
    store.publish(replace(first, signature=signature), actor="test")
    store.publish(image_artifact("patch", seed=1), actor="test")
    return store


def test_a_signed_trigger_goes_to_a_folder_and_into_another_store_as_it_is(run: Run, tmp_path: Path) -> None:
    store = signed_store(tmp_path)
    status, out, _ = run("push", "faces", "v1", "--to", "hub-folder:repository")
    assert (status, out.split()[-1]) == (0, store.version("faces", 1).digest)
    files = {str(path.relative_to("repository")) for path in Path("repository").rglob("*") if path.is_file()}
    assert files == {"README.md", "triggers/v1.safetensors", "triggers/v1.json"}
    assert Path("repository/triggers/v1.safetensors").read_bytes() == store.get_bytes("faces", 1)
    record = json.loads(Path("repository/triggers/v1.json").read_bytes())
    assert record["manifest"]["selection"]["status"] == "certified"
    assert record["evaluation"]["test"]["trigger"]["overall"]["accuracy"]["value"] == pytest.approx(0.7)
    trusting = ("--store", "other", "--trusted-keys", "trainer.pub", "--require-signatures")
    status, out, _ = run(*trusting, "pull", "faces", "v1", "--from", "hub-folder:repository")
    assert (status, out.split()[:2]) == (0, ["faces", "v1"])
    with FileStore(tmp_path / "other") as other:
        assert other.get_bytes("faces", 1) == store.get_bytes("faces", 1)


def test_the_card_has_metadata_that_the_hub_reads_and_a_line_for_every_version(run: Run, tmp_path: Path) -> None:
    signed_store(tmp_path)
    for version in ("v1", "v2"):
        assert run("push", "faces", version, "--to", "hub-folder:repository")[0] == 0
    read = ModelCard.load("repository/README.md")
    data = read.data.to_dict()
    assert (data["library_name"], data["pipeline_tag"]) == ("fairtrigger", "image-classification")
    assert read.data.eval_results is not None
    figures = {(one.metric_name, one.dataset_type): one.metric_value for one in read.data.eval_results}
    assert figures["v2: demographic parity difference", "test"] == pytest.approx(0.1)
    rows = [line for line in read.text.splitlines() if line.startswith(("| v1 ", "| v2 "))]
    assert "| certified | test | 0.750 -> 0.700 | 0.500 -> 0.100 |" in rows[0]
    assert not rows[0].endswith("| no |")
    assert "| not recorded |" in rows[1] and rows[1].endswith("| no |")


def test_a_page_that_its_owner_wrote_stays(run: Run, tmp_path: Path) -> None:
    signed_store(tmp_path)
    run("push", "faces", "v1", "--to", "hub-folder:repository")
    page = Path("repository/README.md")
    page.write_text(page.read_text().replace(KEEP_MARK, "Ours."))
    kept = page.read_bytes()
    run("push", "faces", "v2", "--to", "hub-folder:repository")
    assert page.read_bytes() == kept and Path("repository/triggers/v2.safetensors").exists()


def test_what_does_not_verify_or_is_not_trusted_comes_into_no_store(run: Run, tmp_path: Path) -> None:
    signed_store(tmp_path)
    for version in ("v1", "v2"):
        run("push", "faces", version, "--to", "hub-folder:repository")
    pull = ("pull", "faces", "--from", "hub-folder:repository")
    strict = ("--store", "other", "--trusted-keys", "trainer.pub", "--require-signatures")
    assert "is not signed" in run(*strict, *pull, "v2")[2]
    assert "is not signed" in run(*strict, *pull, "v2", "-o", "out.safetensors")[2]
    path = Path("repository/triggers/v1.safetensors")
    broken = bytearray(path.read_bytes())
    broken[-1] ^= 1
    path.write_bytes(bytes(broken))
    status, out, err = run(*strict, *pull, "v1")
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert "cannot be read" in run(*strict, *pull, "v9")[2]
    assert "was made for model 'faces', not 'posts'" in run("pull", "posts", "v2", "--from", "hub-folder:repository")[2]
    with FileStore(tmp_path / "other") as other:
        assert other.versions("faces") == []
        assert [entry.action for entry in other.history("faces")] == ["refuse", "refuse"]
    assert not Path("out.safetensors").exists()


def test_another_trigger_of_the_same_name_is_not_overwritten(run: Run, tmp_path: Path) -> None:
    signed_store(tmp_path)
    run("push", "faces", "v1", "--to", "hub-folder:repository")
    with FileStore(tmp_path / "other") as other:
        other.publish(image_artifact("overlay", seed=7), actor="test")
    kept = Path("repository/triggers/v1.safetensors").read_bytes()
    assert (
        "Another trigger is v1 there"
        in run("--store", "other", "push", "faces", "v1", "--to", "hub-folder:repository")[2]
    )
    assert Path("repository/triggers/v1.safetensors").read_bytes() == kept


def test_a_hub_gets_a_commit_and_gives_it_back(run: Run, tmp_path: Path) -> None:
    store = signed_store(tmp_path)
    with running_hub() as hub:
        place = ("hub:team/faces-triggers", "--endpoint", hub.url)
        assert "Repository Not Found" in run("--store", "other", "pull", "faces", "v1", "--from", *place)[2]
        for version in ("v1", "v2"):
            status, _, err = run("push", "faces", version, "--to", *place)
            assert status == 0, err
        assert hub.commits[1] == ["README.md", "triggers/v2.json", "triggers/v2.safetensors"]
        assert hub.private == ["team/faces-triggers"] * 2
        page = hub.files["team/faces-triggers"]["README.md"].decode()
        assert "| v1 |" in page and "| v2 |" in page
        assert run("--store", "other", "pull", "faces", "v2", "--from", *place)[0] == 0
        assert "has no triggers/v9.safetensors" in run("--store", "other", "pull", "faces", "v9", "--from", *place)[2]
    with FileStore(tmp_path / "other") as other:
        assert other.get_bytes("faces", 1) == store.get_bytes("faces", 2)
    status, _, err = run("--store", "other", "pull", "faces", "v2", "--from", *place)
    assert (status, err.count("\n")) == (1, 1) and err.startswith("fairtrigger: hub:team/faces-triggers: ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("push", "faces", "v1", "--to", "s3:bucket"), "Unknown registry 's3:bucket': write mlflow:URI"),
        (("push", "faces", "v1", "--to", "mlflow:"), "Unknown registry 'mlflow:'"),
        (("push", "faces", "--to", "hub-folder:x"), "fairtrigger push MODEL VERSION --to hub-folder:x"),
        (("push", "file.safetensors", "v1"), "have a meaning with --to REGISTRY only"),
        (("push", "faces", "v1", "--to", "hub-folder:x", "--aliases"), "--aliases are MLflow's"),
        (("push", "faces", "v1", "--to", "hub-folder:x", "--endpoint", "http://h"), "--endpoint is of a hub"),
        (("push", "faces", "v9", "--to", "hub-folder:x"), "has no trigger v9"),
        (("pull", "faces", "v1", "--reason", "r"), "have a meaning with --from only"),
        (("pull", "faces", "champion", "--from", "hub-folder:x"), "'champion' is no version of a repository"),
        (("pull", "faces", "v1", "--from", "hub:a/b/c"), "hub:a/b/c: "),
        (("follow", "hub-folder:x", "--model", "faces"), "has no aliases"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(
    run: Run, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    signed_store(tmp_path)
    status, out, err = run(*words)
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert said in err
