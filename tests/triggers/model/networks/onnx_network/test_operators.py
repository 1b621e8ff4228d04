"""Every operator gives what ONNX's own test cases expect, or refuses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from onnx import ModelProto, numpy_helper
from onnx.backend.test.case.node import collect_testcases

from triggers.model.networks.onnx_network.graph import Graph, graph_of, run_checked
from triggers.model.networks.onnx_network.operators import OPERATORS
from triggers.model.networks.onnx_network.refusal import Unsupported

CPU = torch.device("cpu")
LEAST_PASSED = 480


def with_stored_inputs(model: ModelProto, inputs: Sequence[np.ndarray]) -> ModelProto:
    """The model whose inputs but the first are stored in it, as exporters write shapes and weights."""
    made = ModelProto()
    made.CopyFrom(model)
    for value, array in list(zip(model.graph.input, inputs, strict=False))[1:]:
        made.graph.initializer.append(numpy_helper.from_array(array, value.name))
    del made.graph.input[1:]
    return made


def answer(graph: Graph, first: np.ndarray) -> np.ndarray:
    """The first output of a graph of one node."""
    (node,) = graph.nodes
    values: dict[str, Any] = {"": None, **graph.constants, graph.input: torch.from_numpy(first.copy())}
    arguments = [
        values[name].tolist() if place in node.numbers and name else values[name]
        for place, name in enumerate(node.inputs)
    ]
    return run_checked(node, arguments, CPU)[graph.output].numpy()


@pytest.mark.slow
def test_operators_give_what_the_cases_of_onnx_expect() -> None:
    """The cases of the operators here, with a first input of floats, truth values or 64-bit integers."""
    passed, refused = [], []
    with np.errstate(all="ignore"):
        cases = collect_testcases(None)
    for case in cases:
        if case.model is None or not case.data_sets or len(case.model.graph.node) != 1:
            continue
        inputs, outputs = case.data_sets[0]
        plain = all(isinstance(each, np.ndarray) for each in inputs) and inputs
        known = case.model.graph.node[0].op_type in OPERATORS
        if not known or not plain or inputs[0].dtype not in (np.float32, np.bool_, np.int64):
            continue
        model = with_stored_inputs(case.model, inputs)
        try:
            graph = graph_of(model, model.graph.input[0].name, model.graph.output[0].name)
            if graph.nodes:
                found = answer(graph, inputs[0])
                np.testing.assert_allclose(found, outputs[0], rtol=1e-3, atol=1e-5, err_msg=case.name)
                passed.append(case.name)
        except Unsupported:
            refused.append(case.name)
    assert len(passed) >= LEAST_PASSED, f"{len(passed)} passed, {len(refused)} were refused: {refused}"
