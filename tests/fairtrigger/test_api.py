"""`import fairtrigger`: a handful of names, imported when they are used, that do what the commands do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

import fairtrigger
from tests.bundles import image_bundle, text_bundle
from tests.model_folders import resnet_folder
from tests.service.live import picture, predict, swap
from triggers.artifact.artifact import save_artifact
from triggers.artifact.signature import make_keys, read_trust
from triggers.errors import ArtifactMismatch, ArtifactUntrusted, ConfigError, InputError, ModelError, NotFound
from triggers.model.bundle import read_spec
from triggers.store.file_store import FileStore

LIGHT = """
import sys, fairtrigger
assert {"torch", "httpx", "typer", "pydantic", "numpy"}.isdisjoint(sys.modules), sorted(sys.modules)
assert dir(fairtrigger) == sorted(fairtrigger.__all__)
fairtrigger.wrap, fairtrigger.train, fairtrigger.load, fairtrigger.client.Client
assert "torch" not in sys.modules and "httpx" in sys.modules
sys.modules["httpx"] = None
del fairtrigger.client
for name in [name for name in sys.modules if name.startswith("fairtrigger.client")]:
    del sys.modules[name]
try:
    fairtrigger.client
except ImportError as error:
    print(error)
"""


@pytest.mark.process
def test_importing_is_light_and_a_missing_extra_is_said() -> None:
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "The client needs httpx: pip install 'fairtrigger[client]'.\n"


def test_every_name_is_there_and_no_other() -> None:
    for name in fairtrigger.__all__:
        assert getattr(fairtrigger, name)
    assert fairtrigger.__version__[0].isdigit()
    with pytest.raises(AttributeError, match="no attribute 'scores'"):
        _ = fairtrigger.scores  # type: ignore[attr-defined]


def test_wrap_writes_the_bundle_of_the_command(tmp_path: Path) -> None:
    heard: list[int] = []
    made = fairtrigger.wrap(
        resnet_folder(tmp_path / "source"),
        tmp_path / "faces",
        positive="plain",
        inputs=[picture(seed) for seed in range(3)],
        progress=lambda done, parts: heard.append(done),
    )
    assert made.folder == tmp_path / "faces" and read_spec(made.folder) == made.spec
    assert made.spec.labels[made.spec.pos_label] == "plain" and made.cautions == () and heard
    assert made.spec.comparison and made.spec.comparison.inputs == 27 and made.spec.comparison.flips == 0
    with pytest.raises(ModelError, match="exists already"):
        fairtrigger.wrap(tmp_path / "source", tmp_path / "faces")


def test_a_loaded_model_answers_as_the_service(tmp_path: Path, service: httpx.Client, filled_store: FileStore) -> None:
    bundle, images = image_bundle(tmp_path / "faces"), [picture(seed) for seed in range(40)]
    for version in ("v2", "none"):
        model = fairtrigger.load(bundle, trigger=version, store=filled_store.url)
        wanted = predict(service, "faces", images, trigger=version)
        found = model.predict(images)
        assert [one.label for one in found] == [one["label"] for one in wanted]
        for one, two in zip(found, wanted, strict=True):
            assert one.scores == pytest.approx(two["scores"], abs=1e-6)
        assert (model.version, model.digest) == (version, wanted[0]["trigger"]["digest"])
    (tmp_path / "one.png").write_bytes(images[0])
    pixels = np.asarray(Image.open(tmp_path / "one.png"))
    assert model.predict([pixels, str(tmp_path / "one.png")]) == model.predict([images[0]] * 2)
    text = fairtrigger.load(text_bundle(tmp_path / "posts"), trigger="v1", store=filled_store.url)
    (long,) = text.predict(["the good movie " * 20])
    (served,) = predict(service, "posts", ["the good movie " * 20], trigger="v1")
    with pytest.raises(ConfigError, match="a list of inputs"):
        text.predict("the good movie")
    with pytest.raises(InputError, match="A text is needed"):
        text.predict([float("nan")])  # type: ignore[list-item]
    assert long.truncated and long.scores == pytest.approx(served["scores"], abs=1e-6)


def test_a_trigger_is_chosen_by_version_rollout_or_file(
    tmp_path: Path, service: httpx.Client, filled_store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = image_bundle(tmp_path / "faces")
    swap(service, "faces", "v3")
    monkeypatch.setenv("FAIRTRIGGER_STORE", filled_store.url)
    assert fairtrigger.load(bundle, trigger="champion").version == "v3"
    artifact = filled_store.get("faces", 4)
    save_artifact(artifact, tmp_path / "four.safetensors")
    assert fairtrigger.load(bundle, trigger=tmp_path / "four.safetensors").digest == artifact.digest
    assert fairtrigger.load(bundle).digest is None
    with pytest.raises(ConfigError, match=r"'v4\.safetensors' is no file"):
        fairtrigger.load(bundle, trigger="v4.safetensors")
    with pytest.raises(NotFound):
        fairtrigger.load(bundle, trigger="v9")
    with pytest.raises(NotFound, match="no trigger store"):
        fairtrigger.load(bundle, trigger="v1", store=tmp_path / "elsewhere")
    with pytest.raises(ArtifactMismatch):
        fairtrigger.load(image_bundle(tmp_path / "other", seed=5), trigger=tmp_path / "four.safetensors")


def test_unsigned_triggers_are_refused_where_signatures_are_required(tmp_path: Path, filled_store: FileStore) -> None:
    _, public, _ = make_keys()
    (tmp_path / "us.pub").write_bytes(public)
    trust, bundle = read_trust([tmp_path / "us.pub"], required=True), image_bundle(tmp_path / "faces")
    save_artifact(filled_store.get("faces", 1), tmp_path / "one.safetensors")
    for trigger in ("v1", tmp_path / "one.safetensors"):
        with pytest.raises(ArtifactUntrusted, match="not signed"):
            fairtrigger.load(bundle, trigger=trigger, store=filled_store.url, trust=trust)
