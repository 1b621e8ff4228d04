"""The self-check at load: a line for every way in which a bundle would answer otherwise than its model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    ConvNextImageProcessor,
    ResNetConfig,
    ResNetForImageClassification,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
)

from tests.bundles import image_bundle, oblong_bundle, text_bundle, torchvision_bundle
from tests.text_families import DECODERS, REFUSED, family_bundle
from triggers.errors import ModelError
from triggers.model import BundleSpec, load_bundle
from triggers.model.bundle import save_bundle
from triggers.model.bundle_loader import read_bundle
from triggers.model.self_check import run_checks

NAMES: dict[str, Any] = {"id2label": {0: "cat", 1: "dog"}, "label2id": {"cat": 0, "dog": 1}}
HALF = {"mean": [0.5] * 3, "std": [0.5] * 3}


def edit(file: Path, **change: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | change))


def reweigh(file: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    weights = load_file(file)
    change(weights)
    save_file(weights, file, {"format": "pt"})


def folder_bundle(folder: Path, network: Any, processor: Any = None, **spec: object) -> Path:
    """A bundle of a `transformers` image network and, if given, its processor."""
    torch.manual_seed(0)
    network.save_pretrained(folder)
    if processor:
        processor.save_pretrained(folder)
    said = {"name": "pets", "modality": "image", "labels": ["cat", "dog"], "loader": {"kind": "transformers"}}
    save_bundle(folder, BundleSpec.model_validate({**said, "image": {"size": 32, **HALF}, **spec}))
    return folder


def vit(**config: Any) -> ViTForImageClassification:
    small: Any = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    torch.manual_seed(0)
    return ViTForImageClassification(ViTConfig(image_size=32, patch_size=8, **small, **NAMES, **config))


def resnet(**config: Any) -> ResNetForImageClassification:
    torch.manual_seed(0)
    small: Any = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
    return ResNetForImageClassification(ResNetConfig(**small, **(NAMES | config)))


def faults(folder: Path) -> list[str]:
    """The lines that a load is refused with."""
    with pytest.raises(ModelError) as refused:
        load_bundle(folder)
    return str(refused.value).splitlines()


def fault(folder: Path, *said: str) -> str:
    """The only line, which names the model and says this."""
    (line,) = faults(folder)
    assert line.startswith(f"{json.loads((folder / 'model.json').read_text())['name']!r}: ")
    for each in said:
        assert each in line
    return line


def drop_head(weights: dict[str, Tensor]) -> None:
    del weights["classifier.weight"], weights["classifier.bias"]


def rename_layers(weights: dict[str, Tensor]) -> None:
    for name in [name for name in weights if "encoder.layer.1" in name]:
        weights[name.replace("encoder.layer", "encoder.block")] = weights.pop(name)


@pytest.mark.parametrize(
    ("change", "said"),
    [(drop_head, "lacks classifier.bias, classifier.weight, which"), (rename_layers, "lacks bert.encoder.layer.1.")],
)
def test_weights_that_would_be_random_are_named(
    change: Callable[[dict[str, Tensor]], None], said: str, tmp_path: Path
) -> None:
    folder = text_bundle(tmp_path)
    reweigh(folder / "model.safetensors", change)
    fault(folder, said)


def test_weights_of_another_shape_are_named(tmp_path: Path) -> None:
    folder = text_bundle(tmp_path)
    edit(folder / "config.json", intermediate_size=32)
    assert "intermediate.dense.bias (64,), not (32,)" in faults(folder)[0]


def test_a_checkpoint_with_more_layers_than_its_configuration_is_refused(tmp_path: Path) -> None:
    folder = text_bundle(tmp_path)
    edit(folder / "config.json", num_hidden_layers=1)
    fault(folder, "has bert.encoder.layer.1.", "which config.json has no place for")


def test_weights_of_other_heads_and_old_buffers_are_harmless(tmp_path: Path) -> None:
    folder = text_bundle(tmp_path)
    before = load_bundle(folder).fingerprint

    def add(weights: dict[str, Tensor]) -> None:
        weights["bert.embeddings.position_ids"] = torch.arange(64)
        weights["cls.predictions.decoder.weight"] = torch.zeros(4, 4)

    reweigh(folder / "model.safetensors", add)
    assert load_bundle(folder).fingerprint == before


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(("make", "name"), [(image_bundle, "0.weight"), (torchvision_bundle, "layer1.0.conv1.weight")])
def test_weights_that_are_no_numbers_are_named(
    make: Callable[[Path], Path], name: str, value: float, tmp_path: Path
) -> None:
    folder = make(tmp_path)

    def spoil(weights: dict[str, Tensor]) -> None:
        weights[name].view(-1)[0] = value

    reweigh(folder / "weights.safetensors", spoil)
    fault(folder, f"NaN or infinite: {name};")


def test_labels_in_another_order_than_the_networks_own_are_refused(tmp_path: Path) -> None:
    folder = folder_bundle(tmp_path, vit(), labels=["Dog", "cat"])
    fault(folder, "label 'Dog' of model.json is 0", "says that it is 1", "in the order cat, dog")


@pytest.mark.parametrize("labels", [["cat", "dog"], ["Cat ", "DOG"], ["left", "right"]])
def test_labels_in_the_same_order_or_under_other_names_are_right(labels: list[str], tmp_path: Path) -> None:
    assert load_bundle(folder_bundle(tmp_path, vit(), labels=labels)).labels == tuple(labels)


THREE = {"id2label": {0: "rude", 1: "threat", 2: "insult"}, "label2id": {"rude": 0, "threat": 1, "insult": 2}}


@pytest.mark.parametrize(
    ("labels", "index", "said"),
    [(["fine", "threat"], 2, "label 'threat' of model.json is 2"), (["rude", "threat"], 1, "'rude' of model.json")],
)
def test_a_label_of_several_must_be_the_output_that_counts(
    labels: list[str], index: int, said: str, tmp_path: Path
) -> None:
    head = {"kind": "multi_label", "outputs": 3, "index": index}
    fault(folder_bundle(tmp_path, resnet(**THREE), labels=labels, head=head), said)
    assert load_bundle(
        folder_bundle(tmp_path / "right", resnet(**THREE), labels=["fine", "insult"], head=head | {"index": 2})
    )


def test_one_output_stands_for_the_second_label(tmp_path: Path) -> None:
    one = {"id2label": {0: "toxic"}, "label2id": {"toxic": 0}}
    head = {"kind": "sigmoid"}
    fault(folder_bundle(tmp_path, resnet(**one), labels=["toxic", "civil"], head=head), "'toxic' of model.json stands")
    assert load_bundle(folder_bundle(tmp_path / "right", resnet(**one), labels=["civil", "toxic"], head=head))


@pytest.mark.parametrize("problem_type", ["multi_label_classification", "regression"])
def test_a_head_that_contradicts_the_problem_type_is_refused(problem_type: str, tmp_path: Path) -> None:
    folder = folder_bundle(tmp_path, vit(problem_type=problem_type))
    fault(folder, "`head` in model.json is softmax", f"problem_type {problem_type}", "fairtrigger wrap")


CROPPED: Any = {"size": {"shortest_edge": 32}, "crop_pct": 0.875, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
STEPS = [
    {"op": "resize", "shorter_edge": 36, "interpolation": "bicubic"},
    {"op": "center_crop", "height": 32, "width": 32},
]


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ({"size": 32}, "resize height 32 width 32 bilinear, not resize shorter_edge 36 bicubic, center_crop"),
        ({"size": 32, "resize": "crop"}, "fit height 32 width 32, not resize"),
        ({"size": 24}, "height 24, not 32"),
        ({"size": 32, "mean": [0.4] * 3}, "mean [0.4, 0.4, 0.4], not [0.5, 0.5, 0.5]"),
        ({"height": 32, "width": 32, "steps": [STEPS[0] | {"interpolation": "bilinear"}, STEPS[1]]}, "bicubic"),
    ],
)
def test_an_image_section_that_contradicts_the_processor_is_refused(
    image: dict[str, Any], said: str, tmp_path: Path
) -> None:
    folder = folder_bundle(tmp_path, resnet(), ConvNextImageProcessor(resample=3, **CROPPED), image=HALF | image)
    fault(folder, "not what preprocessor_config.json says", said, "Run `fairtrigger wrap`")
    (folder / "preprocessor_config.json").unlink()
    assert load_bundle(folder)


def test_an_image_section_that_says_what_the_processor_says_is_right(tmp_path: Path) -> None:
    whole = HALF | {"height": 32, "width": 32, "steps": STEPS}
    assert load_bundle(
        folder_bundle(tmp_path / "a", resnet(), ConvNextImageProcessor(resample=3, **CROPPED), image=whole)
    )
    plain = ViTImageProcessor(size={"height": 32, "width": 32}, resample=2, image_mean=[0.5] * 3, image_std=[0.5] * 3)
    assert load_bundle(folder_bundle(tmp_path / "b", vit(), plain))  # format 1, squash
    cut = plain.__class__(
        size={"shortest_edge": 32}, do_center_crop=True, crop_size={"height": 32, "width": 32}, resample=2
    )
    assert load_bundle(folder_bundle(tmp_path / "c", vit(), cut, image={"size": 32, "resize": "crop", **HALF}))


def test_a_bundle_without_its_tokenizer_is_refused(tmp_path: Path) -> None:
    folder = text_bundle(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    assert "tokenizer" in faults(folder)[0]


def test_texts_that_depend_on_their_company_are_refused_and_the_right_padding_is_said(tmp_path: Path) -> None:
    folder = family_bundle(tmp_path, DECODERS["gpt2"], padding="right")
    fault(folder, "differ from those of token ids alone", 'set text.padding to "left"')


@pytest.mark.parametrize("name", REFUSED)
def test_a_text_network_that_no_trigger_can_enter_is_refused(name: str, tmp_path: Path) -> None:
    assert "\n" not in fault(family_bundle(tmp_path, REFUSED[name]), "ForSequenceClassification")


class Peculiar(nn.Module):
    """An image network with one peculiarity."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what, self.linear = what, nn.Linear(3, 3 if what == "labels" else 2)

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.linear(images.mean(dim=(2, 3)))
        if self.what == "company":
            return found - found.mean(dim=0)
        if self.what == "chance":
            return functional.dropout(found + 1, 0.5, training=True)
        if self.what == "NaN":
            return found.log() * float("nan")
        if self.what == "softmax":
            return found.softmax(dim=1)
        if self.what == "code":
            raise ZeroDivisionError("of its own")
        return found


def peculiar_bundle(folder: Path, what: str) -> Path:
    spec = json.loads((image_bundle(folder) / "model.json").read_text())
    spec["loader"] = {"kind": "factory", "target": f"{__name__}:Peculiar", "kwargs": {"what": what}}
    save_bundle(folder, BundleSpec.model_validate(spec), Peculiar(what).state_dict())
    return folder


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("labels", "has 3 outputs for 2 labels and a softmax head"),
        ("NaN", "NaN or infinity"),
        ("softmax", "already are probabilities that add up to 1"),
        ("company", "with the company of its batch"),
        ("chance", "or from one time to the next"),
        ("code", "ZeroDivisionError: of its own"),
    ],
)
def test_a_network_that_cannot_be_served_as_it_is(what: str, said: str, tmp_path: Path) -> None:
    fault(peculiar_bundle(tmp_path, what), said)


def test_an_image_size_that_the_network_does_not_take_is_said(tmp_path: Path) -> None:
    folder = folder_bundle(tmp_path, vit(), image={"size": 24, **HALF})
    fault(folder, "ViTForImageClassification does not take images of 3 x 24 x 24 (`image` in model.json)")
    assert load_bundle(oblong_bundle(tmp_path / "oblong"))


def test_a_text_network_without_embeddings_to_enter_by(tmp_path: Path) -> None:
    folder = text_bundle(tmp_path)
    edit(folder / "model.json", loader={"kind": "factory", "target": "tests.bundles:tiny_network"})
    image_bundle(tmp_path / "weights")
    (tmp_path / "weights" / "weights.safetensors").rename(folder / "weights.safetensors")
    fault(folder, "Sequential has no method get_input_embeddings()")


def test_a_factory_that_fails_in_its_own_way_is_a_fault_of_the_bundle(tmp_path: Path) -> None:
    folder = peculiar_bundle(tmp_path, "")
    edit(folder / "model.json", loader={"kind": "factory", "target": f"{__name__}:broken"})
    assert "cannot be called: ZeroDivisionError" in faults(folder)[0]


def broken() -> nn.Module:
    raise ZeroDivisionError


def test_every_fault_has_a_line(tmp_path: Path) -> None:
    folder = folder_bundle(
        tmp_path, vit(problem_type="regression"), ConvNextImageProcessor(**CROPPED), labels=["dog", "cat"]
    )
    found = faults(folder)
    assert [any(word in line for word in ("label 'dog'", "problem_type", "processor")) for line in found] == [True] * 3
    assert all(line.startswith("'pets': ") for line in found)


def test_the_checks_of_a_sound_bundle_say_what_they_saw(tmp_path: Path) -> None:
    seen = {each.check: each.note for each in run_checks(read_bundle(text_bundle(tmp_path)))}
    assert list(seen) == ["weights", "labels", "head", "tokenizer", "positions", "outputs", "padding"]
    assert "float32" in seen["weights"] and seen["positions"] == "64" and seen["outputs"] == "2, for 2 labels"
    images = [each.check for each in run_checks(read_bundle(image_bundle(tmp_path / "image")))]
    assert images == ["weights", "labels", "head", "processor", "outputs", "batches"]
