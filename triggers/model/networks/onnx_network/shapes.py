"""What an ONNX graph computes from shapes alone, found out once for each size of input.

Exporters compute shapes inside the graph. For one size of input the results are whole numbers that grow evenly with the
number of rows N, so the graph is run on tensors without content (`meta`) for a few N, and they are kept as a + b N: no
shape is computed while serving. A graph where that does not hold is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from triggers.model.networks.onnx_network.graph import Graph, Node, run_checked
from triggers.model.networks.onnx_network.refusal import Unsupported

ROWS = (2, 3, 1)
"""Numbers of rows that are tried: the line through the first two has to go through the third."""

CPU, META = torch.device("cpu"), torch.device("meta")


@dataclass(frozen=True)
class Line:
    """Whole numbers that grow evenly with the number of rows: `start` + N * `slope`."""

    start: tuple[int, ...]
    slope: tuple[int, ...]
    single: bool

    def at(self, rows: int) -> int | list[int]:
        """The numbers for so many rows."""
        found = [start + rows * slope for start, slope in zip(self.start, self.slope, strict=True)]
        return found[0] if self.single else found


@dataclass(frozen=True)
class GraphStep:
    """A node to run, the numbers among its inputs by place, and values that nothing needs after it."""

    node: Node
    numbers: dict[int, Any]
    dead: tuple[str, ...] = ()

    def arguments(self, values: Mapping[str, Tensor | None], rows: int) -> list[Any]:
        """The inputs for so many rows."""
        return [self._number(place, rows) if place in self.numbers else values[name] for place, name in
                enumerate(self.node.inputs)]  # fmt: skip

    def _number(self, place: int, rows: int) -> Any:
        number = self.numbers[place]
        return number.at(rows) if isinstance(number, Line) else number


@dataclass(frozen=True)
class Plan:
    """Steps that make the output for one size of input, and the tensors that depend on that size alone."""

    steps: tuple[GraphStep, ...]
    tensors: dict[str, Tensor]


@dataclass(frozen=True)
class _Trace:
    """One run without content: numbers by node and place, tensors that depend on shapes alone, and the output."""

    numbers: dict[tuple[int, int], Any]
    tensors: dict[str, Tensor]
    output: Tensor


def plan(graph: Graph, row: Sequence[int], dtype: torch.dtype, rows: Sequence[int] = ROWS) -> Plan:
    """The plan for inputs of N rows of shape `row`. Raises Unsupported."""
    traces = [_trace(graph, (number, *row), dtype) for number in rows]
    for number, trace in zip(rows, traces, strict=True):
        if not trace.output.ndim or trace.output.shape[0] != number:
            shape = tuple(trace.output.shape)
            raise Unsupported(f"{number} rows give an output of shape {shape}, not a row each: export a dynamic batch")
    numbers = {
        at: _merged([trace.numbers[at] for trace in traces], rows, graph.nodes[at[0]].title) for at in traces[0].numbers
    }
    tensors = {
        name: first
        for name, first in traces[0].tensors.items()
        if all(first.shape == each.tensors[name].shape and first.equal(each.tensors[name]) for each in traces)
    }
    return _assembled(graph, numbers, tensors)


def _trace(graph: Graph, shape: tuple[int, ...], dtype: torch.dtype) -> _Trace:
    values: dict[str, Tensor | None] = {"": None, graph.input: torch.empty(shape, dtype=dtype, device=META)}
    numbers: dict[tuple[int, int], Any] = {}
    for index, node in enumerate(graph.nodes):
        known = {name: values[name] if name in values else graph.constants[name] for name in node.inputs}
        hollow = any(_is_meta(known[name]) for name in node.tensors)
        arguments: list[Any] = []
        for place, name in enumerate(node.inputs):
            value = known[name]
            if value is not None and place in node.numbers:
                if value.is_meta:
                    raise Unsupported(f"{node.title}: a shape depends on the values of the input")
                arguments.append(value.tolist())
                numbers[index, place] = arguments[-1]
            else:
                arguments.append(value.to(META) if value is not None and hollow else value)
        values.update(run_checked(node, arguments, CPU))
    tensors = {name: value for name, value in values.items() if value is not None and not value.is_meta}
    output = values.get(graph.output)
    if output is None or not output.is_meta:
        raise Unsupported("its output does not depend on its input")
    return _Trace(numbers, tensors, output)


def _is_meta(value: Tensor | None) -> bool:
    return value is not None and value.is_meta


def _merged(found: list[Any], rows: Sequence[int], title: str) -> Any:
    """One value, or the line that all lie on."""
    if all(each == found[0] for each in found):
        return found[0]
    single = not isinstance(found[0], list)
    lists: list[list[int]] = [[each] if single else each for each in found]
    if len({len(each) for each in lists}) == 1 and all(isinstance(one, int) for each in lists for one in each):
        slope = tuple((b - a) // (rows[1] - rows[0]) for a, b in zip(lists[0], lists[1], strict=True))
        line = Line(tuple(a - rows[0] * b for a, b in zip(lists[0], slope, strict=True)), slope, single)
        if all(line.at(number) == each for number, each in zip(rows, found, strict=True)):
            return line
    raise Unsupported(f"{title}: a shape does not grow evenly with the number of rows")


def _assembled(graph: Graph, numbers: Mapping[tuple[int, int], Any], tensors: dict[str, Tensor]) -> Plan:
    """Steps that the output needs, backwards from it, each with what dies after it."""
    steps: list[GraphStep] = []
    wanted, last = {graph.output}, {graph.output}
    for index, node in reversed(list(enumerate(graph.nodes))):
        if not wanted.intersection(node.outputs) or all(name in tensors for name in node.outputs if name in wanted):
            continue
        needed = set(node.tensors)
        dead = tuple((needed | set(node.outputs)) - last - graph.constants.keys() - tensors.keys() - {""})
        steps.append(GraphStep(node, {place: numbers[index, place] for at, place in numbers if at == index}, dead))
        wanted |= needed
        last |= needed
    made = {name for step in steps for name in step.node.outputs}
    kept = {name: tensor for name, tensor in tensors.items() if name in wanted and name not in made}
    return Plan(tuple(steps[::-1]), kept)
