"""What an ONNX file says about itself, and which files are refused, each in one line."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, external_data_helper, helper

from tests.triggers.model.networks.onnx_network.graphs import (
    channels_last,
    convolutional,
    model_of,
    node,
    numbers,
    saved,
)
from triggers.errors import ModelError
from triggers.model.networks.onnx_network import load_onnx, read_onnx


def test_a_description_says_what_the_file_says(tmp_path: Path) -> None:
    model = convolutional()
    model.producer_version = "3"
    helper.set_model_props(model, {"labels": "no,yes"})
    _, found = read_onnx(saved(tmp_path / "a.onnx", model))
    assert (found.input, found.shape, found.layout, found.dtype) == ("x", ("N", 3, 8, 8), "NCHW", "float32")
    assert (found.outputs, found.output, found.activation) == ({"y": ("N", 2)}, "y", "softmax")
    assert (found.opset, found.producer, found.metadata) == (18, "tests 3", {"labels": "no,yes"})


def test_channels_last_is_read_from_the_shape(tmp_path: Path) -> None:
    _, found = read_onnx(saved(tmp_path / "a.onnx", channels_last()))
    assert (found.layout, found.channels_first, found.activation) == ("NHWC", ("N", 3, 9, 7), "sigmoid")


def _with_outside_data() -> ModelProto:
    model = model_of([node("Flatten", "x", "f"), node("MatMul", "f w", "y")], {"w": numbers(192, 2)})
    external_data_helper.set_external_data(model.graph.initializer[0], "weights.bin")
    model.graph.initializer[0].ClearField("raw_data")
    return model


def _two_inputs() -> ModelProto:
    model = convolutional()
    model.graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["N"]))
    return model


def _foreign() -> ModelProto:
    made = helper.make_node("FusedGemm", ["x", "x"], ["y"], domain="com.microsoft")
    model = model_of([made])
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return model


def _trained() -> ModelProto:
    stored = {name: numbers(3) for name in "abcd"}
    norm = node("BatchNormalization", "x a b c d", "n mean variance", training_mode=1)
    return model_of([norm, node("Flatten", "n", "y")], stored, outputs={"y": ("N", 192)})


def _dropping() -> ModelProto:
    nodes = [node("Dropout", "x ratio on", "n"), node("Flatten", "n", "y")]
    stored = {"ratio": np.array(0.5, np.float32), "on": np.array(True)}
    return model_of(nodes, stored, outputs={"y": ("N", 192)})


def _by_content() -> ModelProto:
    nodes = [node("Flatten", "x", "f"), node("Cast", "f", "i", to=TensorProto.INT64), node("Tile", "f i", "y")]
    return model_of(nodes, outputs={"y": ("N", 192)})


REFUSED: dict[str, tuple[Callable[[], ModelProto], str]] = {
    "inputs": (_two_inputs, r"2 inputs \(x, mask\)"),
    "outside data": (_with_outside_data, r"onnx.save\(onnx.load\('a.onnx'\)"),
    "foreign": (_foreign, "com.microsoft.FusedGemm"),
    "norm in training": (_trained, "training mode"),
    "dropout in training": (_dropping, "training mode"),
    "integers": (
        lambda: model_of([node("Flatten", "x", "y")], outputs={"y": ("N", 192)}, number=TensorProto.UINT8),
        "does not take floats",
    ),
    "quantised": (
        lambda: model_of(
            [node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "d"), node("Flatten", "d", "y")],
            {"s": np.array(0.1, np.float32), "z": np.array(0, np.uint8)},
        ),
        r"quantised \(DequantizeLinear, QuantizeLinear\)",
    ),
    "unknown operator": (
        lambda: model_of([node("Flatten", "x", "f"), node("Det", "f", "y")], outputs={"y": ("N",)}),
        "operator Det is not supported",
    ),
    "unknown attribute": (
        lambda: model_of([node("AveragePool", "x", "y", kernel_shape=[2, 2], dilations=[2, 2])], opset=19),
        "dilations are not supported",
    ),
    "eight rows": (
        lambda: model_of([node("Flatten", "x", "y")], shape=(8, 3, 8, 8), outputs={"y": (8, 192)}),
        "exactly 8 rows",
    ),
    "rows folded": (
        lambda: model_of([node("Reshape", "x to", "y")], {"to": np.array([-1, 3])}),
        "2 rows give an output of shape",
    ),
    "shape by content": (_by_content, "depends on the values of the input"),
    "old": (lambda: model_of([node("Flatten", "x", "y")], opset=6), "opset 6 is not among 7 to"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_exact_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    build, reason = REFUSED[name]
    path = tmp_path / "a.onnx"
    path.write_bytes(build().SerializeToString())
    with pytest.raises(ModelError, match=reason) as caught:
        load_onnx(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"\x08\x08", b"PK\x03\x04" * 9])
def test_another_file_is_no_onnx_file(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(content)
    with pytest.raises(ModelError, match="is not an ONNX file"):
        load_onnx(tmp_path / "a.onnx")
    with pytest.raises(ModelError, match="cannot be read"):
        load_onnx(tmp_path / "none.onnx")


def test_a_cut_file_is_refused(tmp_path: Path) -> None:
    whole = convolutional().SerializeToString()
    for length in range(1, len(whole), 97):
        (tmp_path / "a.onnx").write_bytes(whole[:length])
        with pytest.raises(ModelError):
            load_onnx(tmp_path / "a.onnx")


def test_local_functions_are_put_in_place(tmp_path: Path) -> None:
    inner = helper.make_function(
        "here", "Twice", ["a"], ["b"], [node("Add", "a a", "b")], [helper.make_opsetid("", 18)]
    )
    call = helper.make_node("Twice", ["f"], ["y"], domain="here")
    model = model_of([node("Flatten", "x", "f"), call], outputs={"y": ("N", 192)})
    model.opset_import.append(helper.make_opsetid("here", 1))
    model.functions.append(inner)
    network = load_onnx(saved(tmp_path / "a.onnx", model))
    import torch

    assert torch.equal(network(torch.ones(2, 3, 8, 8)), torch.full((2, 192), 2.0))


def test_a_missing_package_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "a.onnx", convolutional())
    assert onnx.__name__ in sys.modules
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ModelError, match=r"pip install 'fairtrigger\[onnx\]'"):
        load_onnx(path)
