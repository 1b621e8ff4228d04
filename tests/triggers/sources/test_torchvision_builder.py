"""A torchvision builder is served as its preset's transforms and its network answer."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torchvision.models import ShuffleNet_V2_X0_5_Weights, get_model, get_model_weights
from torchvision.transforms.functional import pil_to_tensor

from triggers.errors import ModelError
from triggers.model import BundleSpec, load_bundle, scores, sweep
from triggers.model.bundle import save_bundle
from triggers.model.bundle_loader import read_bundle
from triggers.sources import WrapOptions, read_source, write_source_bundle
from triggers.sources.builtin_inputs import builtin_images

BUILDER = "torchvision:shufflenet_v2_x0_5"
LABELS = ("a", "b", "c")


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    made: nn.Module = get_model("shufflenet_v2_x0_5", weights=None, num_classes=3)
    for each in made.modules():
        if isinstance(each, nn.BatchNorm2d):
            each.momentum = None
    with torch.no_grad():
        made(torch.randn(4, 3, 64, 64))
    return made.eval()


@pytest.fixture
def options(network: nn.Module, tmp_path: Path) -> WrapOptions:
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    return WrapOptions(weights=tmp_path / "w.safetensors", labels=LABELS, positive="b")


def test_a_builder_answers_as_its_preset_and_network_do(
    network: nn.Module, options: WrapOptions, tmp_path: Path
) -> None:
    spec = write_source_bundle(read_source(BUILDER, options), tmp_path / "bundle", options)
    assert spec.labels == LABELS and spec.comparison and spec.comparison.flips == 0
    assert "IMAGENET1K_V1" in spec.origin["image"]
    classifier, transforms = load_bundle(tmp_path / "bundle"), ShuffleNet_V2_X0_5_Weights.IMAGENET1K_V1.transforms()
    bank = classifier.bank([classifier.null_trigger()])
    for data in (builtin_images()[place] for place in (4, 7)):
        picture = pil_to_tensor(Image.open(io.BytesIO(data)).convert("RGB"))
        with torch.no_grad():
            wanted = network(transforms(picture)[None]).softmax(dim=1)
            found = scores(sweep(classifier, classifier.batch([classifier.preprocess(data)]), bank)[0])
        assert torch.allclose(found, wanted, atol=1e-5)


def test_what_does_not_fit_is_refused_in_one_line(options: WrapOptions, tmp_path: Path) -> None:
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    faults = {
        "Give the weights as --weights": replace(options, weights=None),
        "Give the weights as": replace(options, weights=tmp_path / "w.pth"),
        "cannot be read": replace(options, weights=tmp_path / "bad.safetensors"),
        "cannot be read: No": replace(options, weights=tmp_path / "absent.safetensors"),
        "No preset V9": replace(options, preset="V9"),
        "--labels names 2 labels, the network has 3": replace(options, labels=("a", "b")),
        "name them in order, --labels": replace(options, labels=None),
    }
    for reason, said in faults.items():
        with pytest.raises(ModelError) as refusal:
            read_source(BUILDER, said)
        assert reason in str(refusal.value) and "\n" not in str(refusal.value)
    with pytest.raises(ModelError, match="does not fit squeezenet1_1") as refusal:
        read_source("torchvision:squeezenet1_1", options)
    assert "\n" not in str(refusal.value)
    with pytest.raises(ModelError, match="With which preset were the weights trained"):
        read_source("torchvision:mobilenet_v2", options)
    with pytest.raises(ModelError, match=r"no preset of image classification, but SemanticSegmentation\."):
        read_source("torchvision:deeplabv3_resnet50", options)  # whose builder would download weights


@pytest.mark.parametrize("builder", ["mnasnet0_5", "regnet_y_400mf"])
def test_builders_with_ways_of_their_own_are_read(builder: str, tmp_path: Path) -> None:
    """MNASNet asks for the version of its weights, RegNet computes its sizes by tensors."""
    torch.manual_seed(0)
    save_file(get_model(builder, weights=None, num_classes=3).state_dict(), tmp_path / "w.safetensors")
    preset = next(iter(get_model_weights(builder))).name
    said = WrapOptions(weights=tmp_path / "w.safetensors", labels=LABELS, positive="b", preset=preset)
    source = read_source(f"torchvision:{builder}", said)
    assert source.loader.kwargs == {"num_classes": 3}  # type: ignore[union-attr]
    source.copy(tmp_path)
    bundle = BundleSpec(
        name="a", modality="image", loader=source.loader, labels=LABELS, head=source.head, image=source.image
    )
    save_bundle(tmp_path, bundle)
    assert read_bundle(tmp_path).classifier.network.training is False
