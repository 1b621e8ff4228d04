"""An ONNX graph as operators of torch and the tensors that they use."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from triggers.model.networks.onnx_network.arithmetic import Operator
from triggers.model.networks.onnx_network.operators import CREATORS, NUMBERS_AT, operator_of
from triggers.model.networks.onnx_network.rearrangement import dtype_of
from triggers.model.networks.onnx_network.refusal import Unsupported

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

CONSTANT = "onnx:"
"""Begins the names of tensors that are stored in the file; a dot in a name becomes a slash."""

SHAPE_SIZED = 4096
"""Tensors of at most so many numbers may say a shape."""


@dataclass(frozen=True)
class Node:
    """One operator: its function, the names of its inputs (empty: left out) and outputs, its constant attributes.

    Inputs at the places `numbers` are taken as Python numbers.
    """

    title: str
    function: Operator
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    numbers: frozenset[int]
    creates: bool

    @property
    def tensors(self) -> Iterator[str]:
        """Names of the inputs that are taken as tensors."""
        return (name for place, name in enumerate(self.inputs) if name and place not in self.numbers)

    def run(self, arguments: list[Any], device: torch.device) -> dict[str, Tensor]:
        """Outputs by name. Tensors made from numbers alone are made on `device`. Raises Unsupported."""
        try:
            if self.creates:
                with device:
                    made = self.function(*arguments, **self.attributes)
            else:
                made = self.function(*arguments, **self.attributes)
        except Unsupported as error:
            raise Unsupported(f"{self.title}: {error}") from error
        return {self.outputs[0]: made} if isinstance(made, Tensor) else dict(zip(self.outputs, made, strict=False))


@dataclass(frozen=True)
class Graph:
    """Operators in an order in which they can run, and the tensors stored in the file, without those not needed."""

    nodes: tuple[Node, ...]
    constants: dict[str, Tensor]
    input: str
    output: str
    digest: bytes

    def hollow(self) -> Graph:
        """The same graph without the content of large tensors."""
        thin = {
            name: tensor.cpu() if tensor.numel() <= SHAPE_SIZED else tensor.to("meta")
            for name, tensor in self.constants.items()
        }
        return replace(self, constants=thin)


def graph_of(model: ModelProto, given: str, output: str) -> Graph:
    """The part of a model that makes `output` from its input `given`. Raises Unsupported."""
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    names = {tensor.name: _constant_name(tensor.name) for tensor in model.graph.initializer}
    constants = {names[tensor.name]: tensor_of(tensor) for tensor in model.graph.initializer}
    nodes: list[Node] = []
    for proto in _needed(model, output):
        if proto.op_type == "Identity":
            names[proto.output[0]] = names.get(proto.input[0], proto.input[0])
            continue
        inputs = tuple(names.get(name, name) for name in proto.input)
        if all(not name or name in constants for name in inputs) and proto.op_type not in CREATORS - {
            "ConstantOfShape"
        }:
            made = _folded(proto, inputs, opset, constants)
            names.update({name: _constant_name(name) for name in made})
            constants.update({_constant_name(name): tensor for name, tensor in made.items()})
        else:
            nodes.append(_node(proto, inputs, opset, constants))
    used = {name for node in nodes for name in node.inputs}
    kept = {name: tensor for name, tensor in constants.items() if name in used}
    return Graph(tuple(nodes), kept, given, names.get(output, output), _digest(model, given, output))


def tensor_of(proto: TensorProto) -> Tensor:
    """A stored tensor. Raises Unsupported for numbers that torch lacks."""
    from onnx import numpy_helper

    dtype = dtype_of(proto.data_type)
    array = numpy_helper.to_array(proto)
    if dtype == torch.bfloat16:
        return torch.from_numpy(array.view("int16").copy()).view(dtype)
    return torch.from_numpy(array.copy())


def _constant_name(name: str) -> str:
    return CONSTANT + name.replace(".", "/")


def _needed(model: ModelProto, output: str) -> list[NodeProto]:
    """Nodes that the output depends on, in the order of the file."""
    wanted, kept = {output}, []
    for node in reversed(model.graph.node):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted.update(node.input)
    return kept[::-1]


def _node(proto: NodeProto, inputs: tuple[str, ...], opset: int, constants: Mapping[str, Tensor]) -> Node:
    title = f"{proto.op_type} {proto.name or proto.output[0]!r}"
    try:
        function = operator_of(proto.op_type, opset)
    except KeyError:
        raise Unsupported(f"the operator {proto.op_type} is not supported ({title})") from None
    attributes = {entry.name: _attribute(entry, title) for entry in proto.attribute}
    if proto.op_type == "Split":
        attributes["outputs"] = len(proto.output)
    try:
        inspect.signature(function).bind(*inputs, **attributes)
    except TypeError as error:
        raise Unsupported(f"{title} has an input or attribute that is not supported: {error}") from error
    except ValueError:  # a builtin of torch, which takes tensors only
        if attributes:
            raise Unsupported(f"{title} has attributes that are not supported: {', '.join(attributes)}") from None
    numbers = NUMBERS_AT.get(proto.op_type, frozenset())
    if proto.op_type == "Gather" and inputs[1] in constants and constants[inputs[1]].numel() == 1:
        numbers = frozenset([1])  # one known place: a view
    return Node(title, function, inputs, tuple(proto.output), attributes, numbers, proto.op_type in CREATORS)


def _folded(
    proto: NodeProto, inputs: tuple[str, ...], opset: int, constants: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Outputs of a node that depends on nothing but stored tensors."""
    if proto.op_type == "Constant":
        (entry,) = proto.attribute
        value = _attribute(entry, "Constant")
        if not isinstance(value, Tensor):
            value = torch.tensor(value, dtype=torch.float32 if "float" in entry.name else torch.int64)
        return {proto.output[0]: value}
    node = _node(proto, inputs, opset, {})
    arguments = [
        None if not name else constants[name].tolist() if place in node.numbers else constants[name]
        for place, name in enumerate(inputs)
    ]
    made = run_checked(node, arguments, torch.device("cpu"))
    return {name: tensor.contiguous() for name, tensor in made.items() if name}


def run_checked(node: Node, arguments: list[Any], device: torch.device) -> dict[str, Tensor]:
    """As `Node.run`, with every error of torch turned into Unsupported."""
    try:
        return node.run(arguments, device)
    except (RuntimeError, IndexError, ValueError, TypeError, NotImplementedError, AttributeError) as error:
        raise Unsupported(f"{node.title} cannot run: {' '.join(str(error).split())[:200]}") from error


def _attribute(entry: Any, title: str) -> Any:
    import onnx

    value = onnx.helper.get_attribute_value(entry)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, onnx.TensorProto):
        return tensor_of(value)
    if isinstance(value, int | float):
        return value
    if isinstance(value, list | tuple) or hasattr(value, "__iter__"):
        values = list(value)
        if all(isinstance(each, int | float) for each in values):
            return values
    raise Unsupported(f"{title} has the attribute {entry.name}, which is not supported")


def _digest(model: ModelProto, given: str, output: str) -> bytes:
    """SHA-256 over everything but stored tensors: operators, their attributes and how they are connected."""
    digest = hashlib.sha256(repr([given, output, [(e.domain, e.version) for e in model.opset_import]]).encode())
    for node in _needed(model, output):
        parts = [node.op_type, list(node.input), list(node.output)]
        digest.update(repr(parts).encode())
        for entry in sorted(node.attribute, key=lambda one: one.name):
            digest.update(entry.SerializeToString(deterministic=True))
    return digest.digest()
