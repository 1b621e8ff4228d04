"""Operators of ONNX as functions of torch: inputs as arguments in order, attributes as keywords of the same names.

What a function does not name, it cannot do: a node with another input or attribute is refused when the file is loaded.
Inputs that say shapes, axes, numbers of pieces and the like arrive as Python numbers (`NUMBERS_AT`); others as tensors.
"""

from __future__ import annotations

from triggers.model.networks.onnx_network.arithmetic import ARITHMETIC, Operator
from triggers.model.networks.onnx_network.rearrangement import REARRANGEMENT
from triggers.model.networks.onnx_network.reductions import NORMALISATIONS, REDUCTIONS
from triggers.model.networks.onnx_network.resize import RESIZING
from triggers.model.networks.onnx_network.spatial import SPATIAL

NUMBERS_AT: dict[str, frozenset[int]] = {
    name: frozenset(places)
    for name, places in {
        "Clip": [1, 2],
        "ConstantOfShape": [0],
        "CumSum": [1],
        "Dropout": [1, 2],
        "Expand": [1],
        "Pad": [1, 2, 3],
        "Range": [0, 1, 2],
        "Reshape": [1],
        "Resize": [1, 2, 3],
        "Slice": [1, 2, 3, 4],
        "Split": [1],
        "Squeeze": [1],
        "Tile": [1],
        "TopK": [1],
        "Trilu": [1],
        "Unsqueeze": [1],
        "Upsample": [1],
    }.items()
} | dict.fromkeys(REDUCTIONS, frozenset([1]))
"""Places of inputs that are taken as Python numbers."""

CREATORS = frozenset(["ConstantOfShape", "Range", "Shape", "Size"])
"""Operators that make tensors from numbers alone."""

OPERATORS: dict[str, Operator] = {
    **ARITHMETIC, **NORMALISATIONS, **REARRANGEMENT, **REDUCTIONS, **RESIZING, **SPATIAL,
}  # fmt: skip
"""Operators by name; `NAME<13` is what NAME meant before opset 13."""
CHANGED = {name.partition("<")[0]: int(name.partition("<")[2]) for name in OPERATORS if "<" in name}


def operator_of(name: str, opset: int) -> Operator:
    """The function of an operator in an opset. Raises KeyError for an unknown name."""
    changed = CHANGED.get(name, 0)
    return OPERATORS[f"{name}<{changed}" if opset < changed else name]
