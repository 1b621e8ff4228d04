"""Folders of `transformers` become bundles that answer as their pipelines do, or are refused in one line."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import pipeline

from tests.bundles import SIX_LABELS
from tests.model_folders import CROPPED, bert_folder, changed_config, resnet_folder, toxicity_folder
from tests.text_families import BERT, ENCODERS, Family, family_bundle
from triggers.errors import ModelError
from triggers.model import BundleSpec, FrozenClassifier, load_bundle, scores, sweep
from triggers.model.bundle import SPEC_FILE
from triggers.model.head import MultiLabelHead, SigmoidHead
from triggers.preprocessing.image_spec import CenterCrop, Resize
from triggers.sources import WrapOptions, read_source, write_source_bundle
from triggers.sources.builtin_inputs import builtin_images


def wrapped(folder: Path, **said: Any) -> BundleSpec:
    """The folder wrapped as the bundle beside it."""
    options = WrapOptions(**said)
    return write_source_bundle(read_source(str(folder), options), folder.with_name("bundle"), options)


def own_scores(classifier: FrozenClassifier, given: bytes | str) -> list[float]:
    """Scores without a trigger."""
    batch = classifier.batch([classifier.preprocess(given)])
    with torch.no_grad():
        found: list[float] = scores(sweep(classifier, batch, classifier.bank([classifier.null_trigger()]))[0])[
            0
        ].tolist()
    return found


def refused(folder: Path, reason: str, **said: Any) -> None:
    """Wrapping fails in one line with this reason, and leaves nothing."""
    with pytest.raises(ModelError) as refusal:
        wrapped(folder, **said)
    assert reason in str(refusal.value) and "\n" not in str(refusal.value)
    assert {each.name for each in folder.parent.iterdir()} == {folder.name}


def test_a_shorter_edge_and_crop_pct_are_followed(tmp_path: Path) -> None:
    folder = resnet_folder(tmp_path / "faces")
    spec = wrapped(folder)
    assert spec.image and spec.image.steps == (
        Resize(shorter_edge=36, interpolation="bicubic", library="torchvision"),
        CenterCrop(32, 32),
    )
    assert spec.labels == ("plain", "attractive") and spec.pos_label == 1
    run, classifier = pipeline("image-classification", model=str(folder)), load_bundle(tmp_path / "bundle")
    for data in builtin_images(40, seed=3)[24:]:
        picture = Image.open(io.BytesIO(data))
        if picture.getexif().get(0x0112, 1) == 1:
            wanted = {each["label"]: each["score"] for each in run(picture.convert("RGB"))}
            assert own_scores(classifier, data) == pytest.approx([wanted[name] for name in spec.labels], abs=1e-5)
    record = spec.comparison
    assert record and record.inputs == 24 and record.flips == 0 and record.largest_difference < 1e-5
    assert record.spread is not None and record.spread > 0.01 and not record.accepted


@pytest.mark.parametrize(
    "processor",
    [
        {"feature_extractor_type": "ConvNextFeatureExtractor", "size": 32, "crop_pct": 0.875},
        {"feature_extractor_type": "ViTFeatureExtractor", "size": 32, "resample": 2},
    ],
)
def test_a_processor_of_old_is_followed(processor: dict[str, Any], tmp_path: Path) -> None:
    spec = wrapped(resnet_folder(tmp_path / "faces", processor))
    assert spec.image and spec.image.pixel_shape == (3, 32, 32)


def test_a_distilbert_is_wrapped_with_its_padding_and_tokens(tmp_path: Path) -> None:
    folder = family_bundle(tmp_path / "posts", ENCODERS["distilbert"])
    (folder / SPEC_FILE).unlink()
    spec = wrapped(folder)
    assert spec.text and (spec.text.padding, spec.text.max_tokens) == ("right", 200)
    assert spec.labels == ("civil", "toxic") and spec.comparison and spec.comparison.flips == 0
    run, classifier = pipeline("text-classification", model=str(folder)), load_bundle(tmp_path / "bundle")
    wanted = {each["label"]: each["score"] for each in run("a kind woman", top_k=None)}
    assert own_scores(classifier, "a kind woman") == pytest.approx([wanted[name] for name in spec.labels], abs=1e-6)


def test_a_text_network_without_word_embeddings_is_refused_in_one_line(tmp_path: Path) -> None:
    small: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    family = Family("canine", "wordpiece", BERT, None, small | {"intermediate_size": 64, "num_hash_buckets": 64})
    folder = family_bundle(tmp_path / "posts", family)
    (folder / SPEC_FILE).unlink()
    refused(folder, "CanineForSequenceClassification has no table of word embeddings")


def test_of_several_sigmoids_the_label_counts(tmp_path: Path) -> None:
    folder = toxicity_folder(tmp_path / "posts")
    refused(folder, "choose one: --label toxic | severe_toxic")
    spec = wrapped(folder, label="threat", threshold=0.8)
    assert spec.head == MultiLabelHead(outputs=6, index=SIX_LABELS.index("threat")) and spec.threshold == 0.8
    assert spec.labels == ("not threat", "threat")
    run = pipeline("text-classification", model=str(folder), function_to_apply="sigmoid")
    wanted = {each["label"]: each["score"] for each in run("the bad dog", top_k=None)}["threat"]
    assert own_scores(load_bundle(tmp_path / "bundle"), "the bad dog")[1] == pytest.approx(wanted, abs=1e-6)


def test_one_output_is_a_sigmoid(tmp_path: Path) -> None:
    spec = wrapped(resnet_folder(tmp_path / "faces", id2label={0: "attractive"}))
    assert (spec.labels, spec.head) == (("not attractive", "attractive"), SigmoidHead())


def test_names_that_are_numbers_are_kept_or_replaced(tmp_path: Path) -> None:
    folder = bert_folder(tmp_path / "posts")
    spec = wrapped(folder, labels=("civil", "toxic"), positive="civil")
    assert (spec.labels, spec.pos_label, spec.origin["labels"]) == (("civil", "toxic"), 0, "--labels")
    (tmp_path / "bundle").rename(tmp_path / "other")
    assert wrapped(folder).labels == ("LABEL_0", "LABEL_1")


def test_outputs_of_one_name_are_named_by_the_owner(tmp_path: Path) -> None:
    folder = resnet_folder(tmp_path / "birds", id2label={0: "a", 1: "b", 2: "c"})
    changed_config(folder, id2label={"0": "crane", "1": "crane", "2": "owl"})
    refused(folder, "2 different names for 3 outputs: name them in order, --labels A,B,...", positive="owl")
    spec = wrapped(folder, labels=("bird", "machine", "owl"), positive="machine")
    assert spec.labels == ("bird", "machine", "owl") and spec.comparison and spec.comparison.flips == 0


def test_weights_in_several_files_are_all_copied(tmp_path: Path) -> None:
    folder = resnet_folder(tmp_path / "faces")
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    parts = {f"model-0000{n + 1}-of-00002.safetensors": list(state)[n::2] for n in range(2)}
    for file, keys in parts.items():
        save_file({key: state[key] for key in keys}, folder / file, metadata={"format": "pt"})
    places = {key: file for file, keys in parts.items() for key in keys}
    index = {"metadata": {"total_size": 1}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert wrapped(folder).comparison
    (folder / list(parts)[1]).unlink()
    with pytest.raises(ModelError, match="transformers"):
        read_source(str(folder), WrapOptions())


def test_pickled_weights_and_code_are_not_copied(tmp_path: Path) -> None:
    folder = resnet_folder(tmp_path / "faces")
    for name in ("pytorch_model.bin", "modeling.py"):
        (folder / name).write_text("x")
    wrapped(folder)
    copied = {path.name for path in (tmp_path / "bundle" / "network").iterdir()}
    assert copied == {"config.json", "model.safetensors", "preprocessor_config.json"}


def _only_bin(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _no_processor(folder: Path) -> None:
    (folder / "preprocessor_config.json").unlink()


def _mixed_sizes(folder: Path) -> None:
    (folder / "preprocessor_config.json").write_text(json.dumps(CROPPED | {"size": {"longest_edge": 32}}))


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "only .bin": (_only_bin, "holds no safetensors; where you trust its .bin, convert it"),
    "no config": (lambda folder: (folder / "config.json").unlink(), "config.json is missing"),
    "no processor": (_no_processor, "has no preprocessor_config.json"),
    "a processor of no one size": (_mixed_sizes, "ConvNextImageProcessor"),
    "regression": (lambda folder: changed_config(folder, problem_type="regression"), "is a regression"),
    "no classifier": (
        lambda folder: changed_config(folder, architectures=["ResNetModel"]),
        "ResNetModel is no network",
    ),
    "timm": (
        lambda folder: changed_config(folder, model_type="timm_wrapper", architectures=None, architecture="resnet18"),
        "Networks of timm are wrapped as FILE.py:FUNCTION",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_cannot_be_followed_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    folder = resnet_folder(tmp_path / "faces")
    change, reason = FAULTS[name]
    change(folder)
    refused(folder, reason)


def test_of_three_labels_the_selected_one_is_asked_for(tmp_path: Path) -> None:
    folder = resnet_folder(tmp_path / "birds", id2label={0: "a", 1: "b", 2: "c"})
    refused(folder, "Give --positive with one of: a, b, c.")
    refused(folder, "--positive 'd' is none of the labels: a, b, c.", positive="d")
    assert wrapped(folder, positive="c").pos_label == 2
