"""A file of a whole network is wrapped with what its owner says of pictures and outputs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from triggers.errors import ModelError
from triggers.model import load_bundle
from triggers.model.head import MultiLabelHead, ProbabilitiesHead, SoftmaxHead
from triggers.sources import WrapOptions, read_source, write_source_bundle

IMAGE = {"size": 8, "mean": [127.5] * 3, "std": [63.75] * 3, "range": 255}
OPTIONS = WrapOptions(labels=("no", "yes"), image=IMAGE)


@pytest.fixture(scope="module")
def softmax_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnx", reason="needs the extra onnx")
    pytest.importorskip("onnxruntime", reason="needs the extra onnx-check")
    from tests.triggers.model.networks.onnx_network.graphs import convolutional, saved

    return saved(tmp_path_factory.mktemp("onnx") / "faces.onnx", convolutional())


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2)).eval()
    path = tmp_path_factory.mktemp("exported") / "small.pt2"
    shapes = ({0: torch.export.Dim("batch")},)
    torch.export.save(torch.export.export(network, (torch.rand(2, 3, 8, 8),), dynamic_shapes=shapes), path)
    return path


def test_an_onnx_file_is_compared_with_onnxruntime(softmax_file: Path, tmp_path: Path) -> None:
    spec = write_source_bundle(read_source(str(softmax_file), OPTIONS), tmp_path / "bundle", OPTIONS)
    assert spec.name == "faces" and spec.head == ProbabilitiesHead()
    assert spec.image and spec.image.mean == (0.5,) * 3 and spec.image.std == (0.25,) * 3
    record = spec.comparison
    assert record and "onnxruntime" in record.oracle and record.largest_difference < 1e-5 and record.flips == 0
    assert (tmp_path / "bundle" / "model.onnx").read_bytes() == softmax_file.read_bytes()


def test_a_program_is_compared_with_itself_alone(program: Path, tmp_path: Path) -> None:
    spec = write_source_bundle(read_source(str(program), OPTIONS), tmp_path / "bundle", OPTIONS)
    assert spec.head == SoftmaxHead() and spec.comparison and spec.comparison.largest_difference < 1e-5
    assert load_bundle(tmp_path / "bundle").labels == ("no", "yes")


def test_of_a_programs_outputs_one_label_may_count(program: Path) -> None:
    source = read_source(str(program), replace(OPTIONS, label="yes"))
    assert source.head == MultiLabelHead(outputs=2, index=1) and source.labels == ("not yes", "yes")


def test_what_the_file_contradicts_or_leaves_open_is_refused_in_one_line(program: Path) -> None:
    faults = {
        "How are pictures prepared": replace(OPTIONS, image=None),
        "the network takes 3 x 8 x 8": replace(OPTIONS, image=IMAGE | {"size": 9}),
        "--image cannot be used": replace(OPTIONS, image=IMAGE | {"colour": 1}),
        "mean and std are lists": replace(OPTIONS, image=IMAGE | {"mean": ["a"] * 3}),
        "--labels names 3: name 2 in order": replace(OPTIONS, labels=("a", "b", "c")),
        "--labels is missing": replace(OPTIONS, labels=None),
        "--label 'maybe' is none of the labels": replace(OPTIONS, label="maybe"),
        "--head cannot be used": replace(OPTIONS, head={"kind": "guess"}),
        "takes (1,) outputs": replace(OPTIONS, head={"kind": "sigmoid"}),
    }
    for reason, said in faults.items():
        with pytest.raises(ModelError) as refusal:
            read_source(str(program), said)
        assert reason in str(refusal.value) and "\n" not in str(refusal.value), str(refusal.value)
    for wrong in ({"range": 0}, {"range": None}, {"mean": 3}):
        with pytest.raises(ModelError, match="--image cannot be used"):
            read_source(str(program), replace(OPTIONS, image=IMAGE | wrong))
