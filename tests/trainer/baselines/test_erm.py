"""Fitting the classifier that is then frozen: it learns, it repeats itself, and it keeps to its own rows."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertModel
from transformers.utils import logging as transformers_logging

from tests.bundles import tokenizer
from tests.text_families import DECODERS, family_bundle
from tests.trainer.datasets import faces
from tests.trainer.sources import CELEBA, TEXTS, config
from trainer.baselines.erm import build_untrained, random_shift, warmup_cosine
from trainer.config.run_config import RunConfig
from trainer.data.dataset import Splits
from trainer.evaluation.counts import accuracy, confusion_counts
from trainer.progress import LineProgress
from trainer.train import pick_device, prepare_data
from triggers.errors import ConfigError, DataError, ModelError
from triggers.model.bundle import BundleSpec
from triggers.model.classifier import FrozenClassifier
from triggers.preprocessing import TextSpec

IMAGE_BASE = """
[base]
labels = ["plain", "attractive"]
builder = "tests.bundles:tiny_network"
size = 16
flip = true
shift = 1
epochs = 12
batch_size = 16
lr = 0.01
"""

TEXT_BASE = """
[base]
labels = ["fine", "toxic"]
pos_label = 0
encoder = "encoder"
max_tokens = 24
epochs = 6
batch_size = 16
lr = 0.005
"""


def prepared(made: RunConfig) -> tuple[FrozenClassifier, Splits]:
    return prepare_data(made, made.root / "cache", LineProgress(io.StringIO()))


def image_run(folder: Path, *overrides: str) -> RunConfig:
    if not (folder / "celeba").exists():
        faces.celeba(folder / "celeba", train=160)
    return config(folder, CELEBA + IMAGE_BASE, "split.base=120", *overrides)


def text_run(folder: Path, *overrides: str) -> RunConfig:
    transformers_logging.disable_progress_bar()
    torch.manual_seed(0)
    words = tokenizer()
    sizes: dict[str, Any] = {
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 64,
    }
    BertModel(BertConfig(vocab_size=len(words), max_position_embeddings=64, **sizes)).save_pretrained(
        folder / "encoder"
    )
    words.save_pretrained(folder / "encoder")
    rows = [
        f"the {('man', 'woman')[n // 2 % 2]} is {('good', 'awful')[n % 2]} {'very ' * n},{n % 2}" for n in range(120)
    ]
    (folder / "posts.csv").write_text("\n".join(["text,toxic", *rows]))
    return config(folder, TEXTS + TEXT_BASE, "train.device=cpu", *overrides)


def test_an_image_classifier_learns_its_label(tmp_path: Path) -> None:
    classifier, splits = prepared(image_run(tmp_path))
    counts = confusion_counts(classifier, splits.test, classifier.bank([classifier.null_trigger()]), 32)
    assert accuracy(counts[0]) >= 0.9
    assert (classifier.name, classifier.labels) == ("model", ("plain", "attractive"))
    assert not any(parameter.requires_grad for parameter in classifier.network.parameters())


def test_a_text_classifier_learns_its_label(tmp_path: Path) -> None:
    classifier, splits = prepared(text_run(tmp_path))
    counts = confusion_counts(classifier, splits.test, classifier.bank([classifier.null_trigger()]), 32)
    assert accuracy(counts[0]) >= 0.9
    assert classifier.pos_label == 0
    assert classifier.network.config.id2label == {0: "fine", 1: "toxic"}  # type: ignore[union-attr]


def test_a_decoder_is_fitted_at_the_position_that_it_reads(tmp_path: Path) -> None:
    made = text_run(tmp_path, "base.max_tokens=64")
    shutil.rmtree(tmp_path / "encoder")
    family_bundle(tmp_path / "encoder", DECODERS["gpt2"])
    classifier, splits = prepared(made)
    assert classifier.spec.text == TextSpec(64, padding="left")
    counts = confusion_counts(classifier, splits.test, classifier.bank([classifier.null_trigger()]), 32)
    assert accuracy(counts[0]) >= 0.9
    saved = json.loads((made.model.bundle / "config.json").read_text())
    assert saved["pad_token_id"] is None


def test_the_layout_names_the_classes_when_the_base_does_not(tmp_path: Path) -> None:
    made = image_run(
        tmp_path, "base.epochs=1", "base.labels=[]", 'data.label=["Attractive","Male"]', "base.pos_label=3"
    )
    made = replace(made, base=replace(made.base, builder_kwargs={"labels": 4}))  # type: ignore[type-var]
    classifier, splits = prepared(made)
    assert classifier.labels == splits.val.label_names == ("none", "Attractive", "Male", "Attractive & Male")
    assert classifier.pos_label == 3


def test_the_same_seed_gives_the_same_weights(tmp_path: Path) -> None:
    overrides = ("base.epochs=2", "train.threads=1")
    first = prepared(image_run(tmp_path, *overrides))[0].fingerprint
    again = prepared(image_run(tmp_path, "model.bundle=again", *overrides))[0].fingerprint
    other = prepared(image_run(tmp_path, "model.bundle=other", "base.seed=1", *overrides))[0].fingerprint
    assert first == again != other


def test_crops_are_drawn_from_the_seed(tmp_path: Path) -> None:
    overrides = ("base.epochs=2", "train.threads=1")
    without = prepared(image_run(tmp_path, *overrides))[0].fingerprint
    first, again = (
        prepared(image_run(tmp_path, f"model.bundle={name}", "base.crop=[0.5, 1.0]", *overrides))[0].fingerprint
        for name in ("first", "again")
    )
    assert first == again != without


def test_a_fitted_bundle_is_used_as_it_is(tmp_path: Path) -> None:
    first = prepared(image_run(tmp_path, "base.epochs=1"))[0].fingerprint
    assert prepared(image_run(tmp_path, "base.epochs=5"))[0].fingerprint == first


def test_an_interrupted_fit_starts_again(tmp_path: Path) -> None:
    first = prepared(image_run(tmp_path, "base.epochs=1"))[0].fingerprint
    (tmp_path / "model" / "model.json").unlink()
    assert prepared(image_run(tmp_path, "base.epochs=1"))[0].fingerprint == first


def test_rows_that_the_base_has_seen_may_not_judge_triggers(tmp_path: Path) -> None:
    prepared(image_run(tmp_path, "base.epochs=1"))
    assert len((tmp_path / "model" / "trained_on.txt").read_text().split()) == 120
    with pytest.raises(DataError, match=r"rows of the tuning part were used to fit .*model.* Restore \[split\]"):
        prepared(image_run(tmp_path, "split.seed=1"))


def test_a_fit_reports_its_validation_accuracy(tmp_path: Path) -> None:
    said = io.StringIO()
    prepare_data(image_run(tmp_path), tmp_path / "cache", LineProgress(said))
    (line,) = [line for line in said.getvalue().splitlines() if "fit model" in line]
    assert "val_accuracy=" in line and "loss=" in line
    assert "base classifier: validation accuracy" in said.getvalue()


def test_an_epoch_is_validated_after_its_last_step(tmp_path: Path) -> None:
    """120 rows in batches of 16 are 8 steps."""
    said = io.StringIO()
    prepare_data(image_run(tmp_path, "base.epochs=2"), tmp_path / "cache", LineProgress(said, every=0.0))
    validated = [line for line in said.getvalue().splitlines() if "fit model" in line and "val_accuracy=" in line]
    assert " 8/16 " in validated[0] and " 16/16 " in validated[-1]


def test_builders_become_loaders(tmp_path: Path) -> None:
    made = image_run(
        tmp_path, "base.builder=resnet18", "base.builder_kwargs.zero_init_residual=true", "base.name=faces"
    )
    assert made.base
    from torchvision.models import ResNet

    untrained = build_untrained(made.base, tmp_path / "model", torch.device("cpu"))
    assert isinstance(untrained.network, ResNet)
    assert untrained.network.fc.out_features == 2
    assert all(parameter.requires_grad for parameter in untrained.network.parameters())
    loader = {"kind": "torchvision", "builder": "resnet18", "kwargs": {"num_classes": 2, "zero_init_residual": True}}
    assert json.loads(untrained.spec.model_dump_json())["loader"] == loader | {"weights": "weights.safetensors"}
    assert BundleSpec.model_validate_json(untrained.spec.model_dump_json()) == untrained.spec


def test_what_cannot_be_fitted_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="torchvision has no model 'resnet19'"):
        prepared(image_run(tmp_path, "base.builder=resnet19"))
    with pytest.raises(ConfigError, match=r"named 'Bad Name' \(base.name\)"):
        prepared(image_run(tmp_path, "base.name=Bad Name"))
    with pytest.raises(ConfigError, match=r"is no model bundle. Set model.bundle to one, or add \[base\]"):
        prepared(config(tmp_path, CELEBA))
    made = text_run(tmp_path)
    (tmp_path / "encoder").rename(tmp_path / "moved")
    with pytest.raises(ModelError, match=r"No such folder: .*encoder. Set base.encoder"):
        prepared(made)
    (tmp_path / "encoder").mkdir()
    with pytest.raises(ModelError, match="transformers cannot load"):
        prepared(made)


def test_a_fit_that_diverges_is_stopped(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"diverged, its loss is .*lower base\.lr"):
        prepared(image_run(tmp_path, "base.lr=1e30"))
    assert not (tmp_path / "model" / "model.json").exists()


def test_a_bundle_of_the_other_modality_is_refused(tmp_path: Path) -> None:
    prepared(image_run(tmp_path, "base.epochs=1"))
    with pytest.raises(ConfigError, match=r"is a model of images, but trigger.kind 'soft' works on texts"):
        prepared(config(tmp_path, TEXTS))


def test_a_gpu_that_is_not_there_is_a_config_error() -> None:
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="torch sees no GPU"):
            pick_device("cuda")


def test_the_learning_rate_rises_then_falls() -> None:
    factors = [warmup_cosine(step, 100) for step in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[9] == 1.0
    assert factors[9:] == sorted(factors[9:], reverse=True)
    assert 0 < factors[99] < 0.001
    assert warmup_cosine(0, 1) == 1.0


def test_shifts_move_whole_images_and_repeat_the_border() -> None:
    image = torch.arange(36, dtype=torch.uint8).view(1, 1, 6, 6)
    torch.manual_seed(0)
    moved = random_shift(image.repeat(200, 2, 1, 1), 1)
    assert isinstance(moved, torch.Tensor)
    padded = torch.nn.functional.pad(image.float(), (1, 1, 1, 1), mode="replicate")[0, 0].byte()
    windows = {tuple(padded[y : y + 6, x : x + 6].flatten().tolist()) for y in range(3) for x in range(3)}
    assert {tuple(row.flatten().tolist()) for row in moved[:, 0]} == windows
    assert torch.equal(moved[:, 0], moved[:, 1])
    assert random_shift(image, 0) is image


def test_the_last_epoch_is_kept_unless_fitting_stops_early(tmp_path: Path) -> None:
    def kept(*overrides: str) -> str:
        bundle = f"model.bundle={'-'.join(overrides).translate(str.maketrans('.=', '__'))}"
        return prepared(image_run(tmp_path, "base.lr=0.05", "train.threads=1", bundle, *overrides))[0].fingerprint

    last = kept("base.epochs=8")
    assert kept("base.epochs=8", "base.early_stopping=true") != last  # at this learning rate the last is not the best
