"""What an ONNX file says about itself, and the refusal of files that cannot be served."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Literal

from triggers.errors import ModelError
from triggers.model.networks.onnx_network.refusal import Unsupported
from triggers.storage.regular_file import read_regular

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, ValueInfoProto

Dimensions = tuple[int | str, ...]
"""Lengths; a symbolic one is its name, `?` without one."""

MOST_BYTES = 2**31 - 1
"""No ONNX file is larger: the format cannot hold more without files beside it."""
OPSETS = range(7, 28)
"""Operator sets whose meaning this program knows."""
COLOURS = (1, 3, 4)
PROBABILITIES = {"Softmax": "softmax", "Sigmoid": "sigmoid"}
SHAPES_ONLY = frozenset(["Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"])
QUANTISED = (
    "QuantizeLinear",
    "DequantizeLinear",
    "DynamicQuantizeLinear",
    "QLinear",
    "QGemm",
    "ConvInteger",
    "MatMulInteger",
)


@dataclass(frozen=True)
class OnnxDescription:
    """What an ONNX file says: its input and outputs, where it comes from, and how its last step ends.

    `layout` is that of the file; the network built from it takes (N, C, H, W) in any case. `activation` is the
    last operator before the chosen output where that makes probabilities.
    """

    input: str
    shape: Dimensions
    dtype: str
    layout: Literal["NCHW", "NHWC", "rows"]
    outputs: dict[str, Dimensions]
    output: str
    activation: Literal["softmax", "sigmoid"] | None
    opset: int
    producer: str
    metadata: dict[str, str]

    @property
    def channels_first(self) -> Dimensions:
        """The input's shape as the network takes it."""
        return (self.shape[0], self.shape[3], *self.shape[1:3]) if self.layout == "NHWC" else self.shape


def read_onnx(path: Path, output: str | None = None) -> tuple[ModelProto, OnnxDescription]:
    """The graph of a file, with local functions put in place of their calls, and what it says. Raises ModelError."""
    onnx = require_onnx()
    try:
        content = read_regular(path, MOST_BYTES + 1)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error}") from error
    if len(content) > MOST_BYTES:
        raise ModelError(f"{path} has more than 2 GiB, which no ONNX file can have: is it something else?")
    try:
        model = onnx.load_model_from_string(content)
        if not model.graph.node:
            raise ValueError("it holds no graph")
    except Exception as error:  # protobuf's errors have no common base that is public
        raise ModelError(f"{path} is not an ONNX file: {_line(error)}") from error
    try:
        _check_stored_inside(model, path)
        onnx.checker.check_model(model)
        if model.functions:
            from onnx.inliner import inline_local_functions

            model = inline_local_functions(model)
        return model, describe(model, output)
    except Unsupported as error:
        raise ModelError(f"{path} cannot be used: {error}.") from error
    except (onnx.checker.ValidationError, ValueError) as error:
        raise ModelError(f"{path} is damaged: {_line(error)}") from error


def describe(model: ModelProto, output: str | None = None) -> OnnxDescription:
    """What a graph says; `output` chooses among several. Raises Unsupported."""
    _check_operators(model)
    stored = {tensor.name for tensor in model.graph.initializer}
    given = _only_input([value for value in model.graph.input if value.name not in stored])
    outputs = {value.name: _dimensions(value) for value in model.graph.output}
    shape = _dimensions(given)
    chosen = _chosen(list(outputs), output)
    return OnnxDescription(
        input=given.name,
        shape=shape,
        dtype=_float_type(given),
        layout=_layout(model, given.name, shape),
        outputs=outputs,
        output=chosen,
        activation=_activation(model, chosen),
        opset=_opset(model),
        producer=f"{model.producer_name} {model.producer_version}".strip(),
        metadata={entry.key: entry.value for entry in model.metadata_props},
    )


def require_onnx() -> ModuleType:
    """The package `onnx`. Raises ModelError where it is not installed."""
    try:
        import onnx
        import onnx.checker
    except ImportError as error:
        raise ModelError("An ONNX file needs the extra onnx: pip install 'fairtrigger[onnx]'") from error
    return onnx


def _check_stored_inside(model: ModelProto, path: Path) -> None:
    from onnx import external_data_helper

    tensors = model.graph.initializer
    if any(external_data_helper.uses_external_data(tensor) for tensor in tensors):
        merge = f"onnx.save(onnx.load({path.name!r}), 'merged.onnx')"
        raise Unsupported(f"its weights are in files beside it: put them into one file with {merge}")


def _check_operators(model: ModelProto) -> None:
    nodes = model.graph.node
    if quantised := sorted({node.op_type for node in nodes if node.op_type.startswith(QUANTISED)}):
        names = ", ".join(quantised)
        raise Unsupported(f"it is quantised ({names}), so no gradient reaches its input: use the file of floats")
    if foreign := sorted({f"{node.domain}.{node.op_type}" for node in nodes if node.domain not in ("", "ai.onnx")}):
        raise Unsupported(f"it has operators that are not ONNX's own ({', '.join(foreign)}): export it without them")
    if _opset(model) not in OPSETS:
        raise Unsupported(
            f"its opset {_opset(model)} is not among {OPSETS.start} to {OPSETS.stop - 1}: export it again"
        )


def _opset(model: ModelProto) -> int:
    return next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 1)


def _only_input(values: list[ValueInfoProto]) -> ValueInfoProto:
    if len(values) != 1:
        names = ", ".join(value.name for value in values) or "none"
        raise Unsupported(f"it has {len(values)} inputs ({names}) where one is wanted: export it with the image alone")
    return values[0]


def _chosen(outputs: list[str], wanted: str | None) -> str:
    names = ", ".join(outputs)
    if wanted is None and len(outputs) != 1:
        raise Unsupported(f"it has {len(outputs)} outputs ({names}): choose one by its name")
    if wanted is not None and wanted not in outputs:
        raise Unsupported(f"it has no output {wanted!r}, but {names}")
    return outputs[0] if wanted is None else wanted


def _dimensions(value: ValueInfoProto) -> Dimensions:
    sizes = value.type.tensor_type.shape.dim
    return tuple(size.dim_value if size.HasField("dim_value") else size.dim_param or "?" for size in sizes)


def _float_type(value: ValueInfoProto) -> str:
    names = {1: "float32", 10: "float16", 11: "float64", 16: "bfloat16"}
    number = value.type.tensor_type.elem_type
    if number not in names:
        raise Unsupported(
            f"its input {value.name} does not take floats, so no gradient reaches it: export it with floats"
        )
    return names[number]


def _layout(model: ModelProto, name: str, shape: Dimensions) -> Literal["NCHW", "NHWC", "rows"]:
    if len(shape) != 4:
        return "rows"
    if shape[1] in COLOURS or shape[3] in COLOURS:
        return "NCHW" if shape[1] in COLOURS else "NHWC"
    first = [node for node in model.graph.node if name in node.input]
    turned = all(node.op_type == "Transpose" and list(node.attribute[0].ints) == [0, 3, 1, 2] for node in first)
    return "NHWC" if first and turned else "NCHW"


def _activation(model: ModelProto, output: str) -> Literal["softmax", "sigmoid"] | None:
    makers = {made: node for node in model.graph.node for made in node.output}
    node: NodeProto | None = makers.get(output)
    while node is not None and node.op_type in SHAPES_ONLY:
        node = makers.get(node.input[0])
    found = PROBABILITIES.get(node.op_type) if node is not None else None
    return "softmax" if found == "softmax" else "sigmoid" if found else None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
