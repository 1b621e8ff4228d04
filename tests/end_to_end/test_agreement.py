"""Training and serving agree: the trainer trains and publishes, the service serves the same raw inputs over HTTP.

For every kind of trigger, 200 held-out inputs per modality: class scores over HTTP equal those of the trainer's own
forward pass on the trainer's own decoded data, and the frozen model is the same before and after.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from PIL import Image

from service.config.settings import Settings
from tests.bundles import WORDS, image_bundle, oblong_bundle, text_bundle
from tests.service.live import as_item, predict, running
from trainer.config.run_config import RunConfig, load_config
from trainer.data.loader import DataLoader
from trainer.progress import LineProgress
from trainer.train import FinishedRun, train
from triggers.model import load_bundle
from triggers.model.reprogram import scores, sweep
from triggers.store.store import open_store

pytestmark = pytest.mark.slow
HELD_OUT = 200
IMAGE_KINDS = {"border": "width = 2", "patch": "patch_size = 5", "overlay": "epsilon = 0.2", "pixels": "fraction = 0.2"}
TEXT_KINDS = {"hard": "after_cls", "soft": "before_sep", "embedding": "as_published"}
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
name = "{objective}"
strengths = [1.0, 5.0]
[controls]
postprocessing = false
[train]
steps = 6
batch_size = 32
device = "cpu"
lr = 0.1
[select]
publish = "all"
[publish]
store = "store"
[trigger]
kind = "{kind}"
{geometry}
"""


def photos(folder: Path, random: np.random.Generator) -> list[str]:
    """JPEG files of several sizes, all needing a resize."""
    (folder / "photos").mkdir()
    names = []
    for number in range(HELD_OUT + 80):
        shape = (*random.integers(20, 60, 2), 3)
        image = Image.fromarray(random.integers(0, 256, shape, dtype=np.uint8)).resize((40, 30))
        names.append(f"photos/{number}.jpg")
        image.save(folder / names[-1], "JPEG", quality=80)
    return names


def texts(folder: Path, random: np.random.Generator) -> list[str]:
    """Different texts, some of them longer than the model's limit."""
    return [" ".join(random.choice(WORDS, random.integers(3, 30))) + f" {n}" for n in range(HELD_OUT + 80)]


def manifest(
    folder: Path, column: str, inputs: list[str], labels: tuple[str, ...], random: np.random.Generator
) -> None:
    with (folder / "data.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow((column, "label", "group", "split"))
        for number, value in enumerate(inputs):
            split = "test" if number < HELD_OUT else "val" if number < HELD_OUT + 40 else "train"
            writer.writerow((value, labels[random.integers(2)], "ab"[random.integers(2)], split))


def trained(folder: Path, kind: str, geometry: str, objective: str) -> tuple[RunConfig, FinishedRun]:
    path = folder / f"{kind}.toml"
    path.write_text(CONFIG.format(kind=kind, geometry=geometry, objective=objective))
    config = load_config(path)
    return config, train(config, folder / "runs" / kind, LineProgress(io.StringIO()))


def expected(config: RunConfig, finished: FinishedRun) -> tuple[list[bytes | str], torch.Tensor]:
    """The raw held-out inputs, and the trainer's scores (1 + strengths, N, labels): bare first."""
    classifier = finished.classifier
    data = DataLoader(config, classifier.labels, config.root / "cache", LineProgress(io.StringIO()))
    held_out = data.load(classifier, "test")
    raw = [content for _, content in data.raw("test")]
    bank = classifier.bank([classifier.null_trigger(), *(c.trigger for c in finished.result.candidates)])
    with torch.inference_mode():
        return raw, scores(sweep(classifier, held_out.inputs, bank))


def served(client: httpx.Client, model: str, raw: list[bytes | str], choice: str) -> tuple[torch.Tensor, set[Any]]:
    found = [
        one
        for start in range(0, len(raw), 50)
        for one in predict(client, model, raw[start : start + 50], trigger=choice)
    ]
    return torch.tensor([list(one["scores"].values()) for one in found]), {one["trigger"]["digest"] for one in found}


@pytest.mark.parametrize("objective", ["gap", "adversarial"])
@pytest.mark.parametrize("kind", [*IMAGE_KINDS, *TEXT_KINDS])
def test_scores_over_http_are_the_trainers(kind: str, objective: str, tmp_path: Path) -> None:
    random = np.random.default_rng(7)
    if kind in IMAGE_KINDS:
        image_bundle(tmp_path / "model")
        _agree(tmp_path, kind, IMAGE_KINDS[kind], objective, "path", photos(tmp_path, random))
    else:
        text_bundle(tmp_path / "model")
        geometry = f'tokens = 4\nposition = "{TEXT_KINDS[kind]}"'
        _agree(tmp_path, kind, geometry, objective, "text", texts(tmp_path, random))


def test_scores_of_images_that_are_not_square_are_the_trainers(tmp_path: Path) -> None:
    oblong_bundle(tmp_path / "model")
    _agree(tmp_path, "border", "width = 3", "gap", "path", photos(tmp_path, np.random.default_rng(7)))


def test_scores_under_a_border_that_covers_the_edge_are_the_trainers(tmp_path: Path) -> None:
    image_bundle(tmp_path / "model")
    geometry = 'width = 3\nfit = "cover"'
    _agree(tmp_path, "border", geometry, "gap", "path", photos(tmp_path, np.random.default_rng(7)))


def _agree(folder: Path, kind: str, geometry: str, objective: str, column: str, inputs: list[str]) -> None:
    """Train a trigger of the bundle `model` in the folder, serve it, and compare the scores of held-out inputs."""
    classifier = load_bundle(folder / "model")
    manifest(folder, column, inputs, classifier.labels, np.random.default_rng(7))
    config, finished = trained(folder, kind, geometry, objective)
    raw, wanted = expected(config, finished)
    assert len(raw) == HELD_OUT and wanted[1].sub(wanted[0]).abs().max() > 1e-4, "the trigger must do something"

    settings = Settings(data_dir=folder / "data", client_trigger="open")
    with open_store(folder / "store") as store, running(settings, store, [load_bundle(folder / "model")]) as client:
        for row, choice in enumerate(["none", *(f"v{one.version}" for one in finished.published)]):
            found, digests = served(client, classifier.name, raw, choice)
            assert (found - wanted[row]).abs().max() < 1e-5, choice
            assert digests == {None if row == 0 else finished.artifacts[row - 1].digest}
        card = client.get(f"/v1/models/{classifier.name}").json()
        answer = client.post(f"/v1/models/{classifier.name}/predict", json={"inputs": [as_item(raw[0])]}).json()

    fingerprints = {one.manifest.model_fingerprint for one in finished.artifacts}
    assert fingerprints == {classifier.fingerprint} == {card["fingerprint"]} == {answer["model_fingerprint"]}
    assert load_bundle(folder / "model").fingerprint == classifier.fingerprint
