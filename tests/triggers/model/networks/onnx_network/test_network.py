"""A network from an ONNX file answers as onnxruntime does, row by row, and lets gradients through."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.real_data import SHARED, need
from tests.triggers.model.networks.onnx_network.graphs import GRAPHS, convolutional, model_of, node, numbers, saved
from triggers.errors import ModelError
from triggers.fingerprint import tensors_digest
from triggers.model.networks.batch_invariance import check_rows
from triggers.model.networks.fused_inference import accelerate
from triggers.model.networks.onnx_network import OnnxNetwork, load_onnx, onnx_oracle


def images(network: OnnxNetwork, rows: int = 3) -> Tensor:
    """Random inputs of the size that the file names."""
    sizes = [size for size in network.description.channels_first[1:] if isinstance(size, int)]
    return torch.rand(rows, *sizes, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", GRAPHS)
def test_answers_are_those_of_onnxruntime_in_any_batch(name: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "a.onnx", GRAPHS[name]())
    network, x = load_onnx(path), images(load_onnx(path))
    expected = onnx_oracle(path)(x)
    assert expected.std() > 1e-3
    assert torch.allclose(network(x), expected, atol=1e-5)
    alone = torch.cat([network(row) for row in x.split(1)])
    assert torch.allclose(alone, expected, atol=1e-5)


@pytest.mark.parametrize("name", GRAPHS)
def test_gradients_are_those_of_finite_differences(name: str, tmp_path: Path) -> None:
    network = load_onnx(saved(tmp_path / "a.onnx", GRAPHS[name]())).double()
    x = images(network, rows=2).double().requires_grad_()
    assert network(x).dtype == torch.float64
    assert torch.autograd.gradcheck(network, x, atol=1e-6)


def test_a_graph_written_for_one_row_runs_row_by_row_and_others_in_one(tmp_path: Path) -> None:
    runs = {name: load_onnx(saved(tmp_path / "a.onnx", build())).row_by_row for name, build in GRAPHS.items()}
    assert runs.pop("written_for_one_row") and not any(runs.values())
    flat = model_of([node("Flatten", "x", "f"), node("MatMul", "f w", "y")], {"w": numbers(192, 2)}, shape=(1, 3, 8, 8))
    network = load_onnx(saved(tmp_path / "b.onnx", flat))
    assert not network.row_by_row and network(torch.rand(4, 3, 8, 8)).shape == (4, 2)


def test_rows_that_change_each_other_are_found(tmp_path: Path) -> None:
    nodes = [node("Flatten", "x", "f"), node("MatMul", "f w", "d"), node("Softmax", "d", "y", axis=0)]
    network = load_onnx(saved(tmp_path / "a.onnx", model_of(nodes, {"w": numbers(192, 2)})))
    with pytest.raises(ModelError, match="change each other"):
        check_rows(network, (3, 8, 8))


def test_a_free_size_is_planned_when_it_comes(tmp_path: Path) -> None:
    model = convolutional()
    for place in (2, 3):
        model.graph.input[0].type.tensor_type.shape.dim[place].dim_param = "size"
    path = saved(tmp_path / "a.onnx", model)
    network, oracle = load_onnx(path), onnx_oracle(path)
    for size in (8, 11):
        x = torch.rand(2, 3, size, size)
        assert torch.allclose(network(x), oracle(x), atol=1e-5)
    with pytest.raises(ModelError, match="cannot run on inputs of shape"):
        network(torch.rand(2, 5, 8, 8))


def test_the_digest_is_of_tensors_and_operators_alike(tmp_path: Path) -> None:
    def digest(model: object) -> str:
        return tensors_digest(load_onnx(saved(tmp_path / "a.onnx", model)).state_dict())  # type: ignore[arg-type]

    first, weights, step = convolutional(), convolutional(), convolutional()
    weights.graph.initializer[1].raw_data = numbers(4, 3, 3, 3, seed=9).tobytes()
    step.graph.node[1].attribute[0].ints[:] = [1, 1]
    assert digest(first) == digest(convolutional())
    assert len({digest(each) for each in (first, weights, step)}) == 3
    names = load_onnx(saved(tmp_path / "a.onnx", first)).state_dict().keys()
    assert "constants.onnx:w/a" in names and "graph" in names


def test_a_half_precision_file_and_a_narrowed_network_run(tmp_path: Path) -> None:
    from onnx import TensorProto

    wide = {"w": numbers(4, 3, 3, 3), "dense": numbers(144, 2) / 12}
    nodes = [
        node("Conv", "x w", "c"),
        node("Flatten", "c", "f"),
        node("Cast", "f", "f1", to=TensorProto.FLOAT),
        node("Cast", "f1", "f2", to=TensorProto.FLOAT16),
        node("MatMul", "f2 dense", "y"),
    ]
    half = model_of(nodes, {name: each.astype("float16") for name, each in wide.items()}, number=TensorProto.FLOAT16)
    path = saved(tmp_path / "half.onnx", half)
    network = load_onnx(path)
    x = images(network)
    assert network(x).dtype == network.dtype == torch.float16
    assert torch.allclose(network(x), onnx_oracle(path)(x), atol=1e-2)
    full = load_onnx(saved(tmp_path / "full.onnx", model_of([*nodes[:3], node("MatMul", "f1 dense", "y")], wide)))
    narrow = accelerate(full, torch.bfloat16)
    assert narrow(x).dtype == torch.bfloat16
    assert torch.allclose(narrow(x).float(), full(x), atol=0.1)


def test_an_accelerated_copy_is_folded_and_leaves_the_original(tmp_path: Path) -> None:
    for name in ("convolutional", "channels_last"):
        network = load_onnx(saved(tmp_path / "a.onnx", GRAPHS[name]()))
        before = copy.deepcopy(network.state_dict())
        fast, x = accelerate(network), images(network)
        assert torch.allclose(fast(x), network(x), atol=1e-5)
        assert len(list(fast.parameters())) < len(list(network.parameters()))
        assert all(before[key].equal(value) for key, value in network.state_dict().items())


def test_one_of_several_outputs_is_chosen_by_name(tmp_path: Path) -> None:
    nodes = [node("Flatten", "x", "f"), node("MatMul", "f w", "logits"), node("Softmax", "logits", "probabilities")]
    shapes = {"logits": ("N", 2), "probabilities": ("N", 2)}
    path = saved(tmp_path / "a.onnx", model_of(nodes, {"w": numbers(192, 2) / 10}, outputs=shapes))
    with pytest.raises(ModelError, match=r"2 outputs \(logits, probabilities\): choose one"):
        load_onnx(path)
    logits, probabilities = load_onnx(path, "logits"), load_onnx(path, "probabilities")
    x = images(logits)
    assert torch.allclose(logits(x).softmax(1), probabilities(x))
    assert (logits.description.activation, probabilities.description.activation) == (None, "softmax")
    with pytest.raises(ModelError, match="no output 'label'"):
        load_onnx(path, "label")


@pytest.mark.parametrize(("name", "labels"), [("age-v1", 81), ("gender-v1", 2)])
def test_the_dlib_networks_answer_as_onnxruntime(name: str, labels: int) -> None:
    need(f"models/dlib-faces/{name}.onnx")
    path = SHARED / "models" / "dlib-faces" / f"{name}.onnx"
    network = load_onnx(path)
    x = images(network, rows=8)
    expected, found = onnx_oracle(path)(x), network(x)
    assert found.shape == (8, labels) and network.description.activation == "softmax"
    assert float((found - expected).abs().max()) < 1e-5
    assert float((accelerate(network)(x) - expected).abs().max()) < 1e-4
