"""Factors and terms of single channels, drawn into the convolution before them: the same sums in fewer passes.

Outputs agree up to rounding (Jacob et al., CVPR 2018, section 3.2). Exporters write such steps as batch norms, or as a
product and a sum with one number for each channel.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from triggers.model.networks.onnx_network.graph import CONSTANT, Graph, Node


def fold_channels(graph: Graph) -> Graph:
    """The graph with steps that scale or shift channels folded into convolutions that nothing else reads."""
    constants = dict(graph.constants)
    users = Counter(name for node in graph.nodes for name in node.inputs)
    users[graph.output] += 1
    makers: dict[str, int] = {}
    kept: list[Node] = []
    for node in graph.nodes:
        source = next((name for name in node.inputs if name in makers), "")
        found = _line(node, source, constants, _channels(kept[makers[source]], constants)) if source else None
        if found and users[source] == 1:
            at = makers.pop(source)
            kept[at] = _folded(kept[at], node, found, constants)
            makers[node.outputs[0]] = at
            continue
        if node.title.startswith("Conv ") and _stored(node.inputs[1:], constants):
            makers[node.outputs[0]] = len(kept)
        kept.append(node)
    used = {name for node in kept for name in node.inputs}
    return replace(graph, nodes=tuple(kept), constants={name: constants[name] for name in constants if name in used})


def _stored(names: tuple[str, ...], constants: Mapping[str, Tensor]) -> bool:
    return all(not name or name in constants for name in names)


def _channels(convolution: Node, constants: Mapping[str, Tensor]) -> tuple[int, int]:
    """How many channels a convolution makes, and the rank of its output."""
    weight = constants[convolution.inputs[1]]
    return len(weight), weight.ndim


def _line(
    node: Node, source: str, constants: Mapping[str, Tensor], made: tuple[int, int]
) -> tuple[Tensor, Tensor] | None:
    """Factor and term of every channel (C,), in double precision, if that is what the node applies to `source`."""
    kind = node.title.partition(" ")[0]
    others = [name for name in node.inputs if name != source]
    if kind not in ("Add", "BatchNormalization", "Mul") or not others or not _stored(tuple(others), constants):
        return None
    values = [constants[name].detach().double() for name in others]
    if kind == "BatchNormalization":
        scale, shift, mean, variance = values
        factor = scale / torch.sqrt(variance + node.attributes.get("epsilon", 1e-5))
        return factor, shift - mean * factor
    value = _by_channel(values[0], *made)
    if value is None:
        return None
    return (torch.ones_like(value), value) if kind == "Add" else (value, torch.zeros_like(value))


def _by_channel(value: Tensor, channels: int, rank: int) -> Tensor | None:
    """The tensor as one number for each channel, if it is broadcast so."""
    if value.numel() == 1 and value.ndim <= rank:
        return value.reshape(1).expand(channels)
    shape = [1] * (rank - value.ndim) + list(value.shape)
    return value.reshape(-1) if shape == [1, channels] + [1] * (rank - 2) else None


def _folded(convolution: Node, node: Node, line: tuple[Tensor, Tensor], constants: dict[str, Tensor]) -> Node:
    weight, *rest = (constants[name] for name in convolution.inputs[1:] if name)
    factor, term = line
    bias = rest[0].double() * factor + term if rest else term
    names = tuple(f"{CONSTANT}{node.outputs[0].replace('.', '/')}/{part}" for part in ("weight", "bias"))
    wide = weight.double() * factor.view(-1, *[1] * (weight.ndim - 1))
    constants.update(zip(names, (wide.to(weight.dtype), bias.to(weight.dtype)), strict=True))
    return replace(convolution, inputs=(convolution.inputs[0], *names), outputs=node.outputs[:1])
