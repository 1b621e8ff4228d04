"""Small ONNX files for tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, checker, helper, numpy_helper

Shape = Sequence[int | str | None]


def node(kind: str, inputs: str, outputs: str, **attributes: Any) -> NodeProto:
    """A node; names are separated by blanks, `_` leaves an input out."""
    names = ["" if name == "_" else name for name in inputs.split()]
    made: NodeProto = helper.make_node(kind, names, outputs.split(), **attributes)
    return made


def model_of(
    nodes: Sequence[NodeProto],
    stored: Mapping[str, np.ndarray] | None = None,
    shape: Shape = ("N", 3, 8, 8),
    outputs: Mapping[str, Shape] | None = None,
    opset: int = 18,
    number: int = TensorProto.FLOAT,
) -> ModelProto:
    """A model with the input `x` and by default the output `y` (N, 2)."""
    shapes = outputs or {"y": ("N", 2)}
    graph = helper.make_graph(
        list(nodes),
        "small",
        [helper.make_tensor_value_info("x", number, list(shape))],
        [helper.make_tensor_value_info(name, number, list(each)) for name, each in shapes.items()],
        [numpy_helper.from_array(array, name) for name, array in (stored or {}).items()],
    )
    made: ModelProto = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8, producer_name="tests"
    )
    return made


def saved(path: Path, model: ModelProto) -> Path:
    """The path, at which the checked model is."""
    checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    """Normal random numbers."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def convolutional() -> ModelProto:
    """Edge padding of opset 18, a convolution, a product and a sum for each channel, pools and a softmax."""
    stored = {"sides": np.array([0, 0, 1, 1, 0, 0, 2, 1]), "w.a": numbers(4, 3, 3, 3), "b.a": numbers(4)}
    stored |= {"scale": numbers(4, 1, 1, seed=1), "shift": numbers(1, 4, 1, 1, seed=2), "dense": numbers(2, 4, seed=3)}
    nodes = [
        node("Pad", "x sides", "padded", mode="edge"),
        node("Conv", "padded w.a b.a", "c1", strides=[2, 1]),
        node("Mul", "c1 scale", "c2"),
        node("Add", "c2 shift", "c3"),
        node("Relu", "c3", "c4"),
        node("AveragePool", "c4", "c5", kernel_shape=[2, 2], ceil_mode=1),
        node("GlobalMaxPool", "c5", "c6"),
        node("Flatten", "c6", "c7"),
        node("Gemm", "c7 dense", "c8", transB=1),
        node("Softmax", "c8", "y", axis=1),
    ]
    return model_of(nodes, stored)


def channels_last() -> ModelProto:
    """A graph as Keras exports it: (N, H, W, C), a fused norm, a dense layer and a sigmoid."""
    stored = {"w": numbers(4, 3, 3, 3), "dense": numbers(4, 2, seed=1), "bias": numbers(2, seed=2)}
    stored |= {
        name: np.abs(numbers(4, seed=place)) + 0.5 for place, name in enumerate("gamma beta mean variance".split())
    }
    nodes = [
        node("Transpose", "x", "t", perm=[0, 3, 1, 2]),
        node("Conv", "t w", "c1", auto_pad="SAME_UPPER", strides=[2, 2]),
        node("BatchNormalization", "c1 gamma beta mean variance", "c2", epsilon=1e-3),
        node("Clip", "c2 _ _", "c3"),
        node("ReduceMean", "c3", "m", axes=[2, 3], keepdims=0),
        node("MatMul", "m dense", "d1"),
        node("Add", "d1 bias", "d2"),
        node("Sigmoid", "d2", "y"),
    ]
    return model_of(nodes, stored, shape=("N", 9, 7, 3), opset=13)


def shape_computing(rows: int | str = "N") -> ModelProto:
    """Rows cut into patches by shapes that the graph computes, and a class token for every row."""
    stored = {"zero": np.array(0), "one": np.array([0]), "rest": np.array([-1, 12]), "token": numbers(1, 1, 12)}
    stored |= {"tail": np.array([1, 12]), "place": np.array(0), "dense": numbers(12, 2, seed=1)}
    nodes = [
        node("Shape", "x", "s"),
        node("Gather", "s zero", "n"),
        node("Unsqueeze", "n one", "n1"),
        node("Concat", "n1 rest", "to", axis=0),
        node("Reshape", "x to", "patches"),
        node("Concat", "n1 tail", "tokens_shape", axis=0),
        node("Expand", "token tokens_shape", "tokens"),
        node("Concat", "tokens patches", "sequence", axis=1),
        node("Softmax", "sequence", "weights", axis=1),
        node("Mul", "sequence weights", "mixed"),
        node("ReduceSum", "mixed one_axis", "pooled", keepdims=0),
        node("MatMul", "pooled dense", "y"),
    ]
    return model_of(nodes, stored | {"one_axis": np.array([1])}, shape=(rows, 3, 8, 8), outputs={"y": (rows, 2)})


def written_for_one_row() -> ModelProto:
    """A graph with the one row of its export written into a shape, where a batch would fold into one."""
    stored = {"to": np.array([1, -1, 3]), "dense": numbers(3, 2)}
    nodes = [
        node("Reshape", "x to", "r"),
        node("ReduceMax", "r", "m", axes=[1], keepdims=0),
        node("MatMul", "m dense", "y"),
    ]
    return model_of(nodes, stored, shape=(1, 3, 8, 8), outputs={"y": (1, 2)}, opset=13)


def resized() -> ModelProto:
    """Pixels made smaller against aliasing, and larger again."""
    stored = {"small": np.array([1, 1, 0.5, 0.7], np.float32), "sizes": np.array([5, 9]), "to": np.array([0, 135])}
    nodes = [
        node("Resize", "x _ small", "r1", mode="cubic", antialias=1),
        node(
            "Resize", "r1 _ _ sizes", "r2", mode="linear", axes=[2, 3], coordinate_transformation_mode="align_corners"
        ),
        node("Reshape", "r2 to", "flat"),
        node("MatMul", "flat dense", "y"),
    ]
    return model_of(nodes, stored | {"dense": numbers(135, 2)})


GRAPHS: dict[str, Callable[[], ModelProto]] = {
    each.__name__: each for each in (convolutional, channels_last, shape_computing, written_for_one_row, resized)
}
