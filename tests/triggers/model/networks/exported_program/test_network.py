"""A program of `torch.export` answers exactly as itself, row by row, and nothing in its file is unpickled or run."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram, export, save

from triggers.errors import ModelError
from triggers.fingerprint import tensors_digest
from triggers.model.networks.batch_invariance import check_rows
from triggers.model.networks.exported_program import load_exported
from triggers.model.networks.fused_inference import accelerate

FREE = Dim("batch")
Edit = Callable[[dict[str, bytes]], None]


class Small(nn.Module):
    """A convolution, a norm, steps in place, a dropout, a shape in the graph, a constant and attention."""

    shift: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.drop, self.dense = nn.Dropout(0.5), nn.Linear(4, 2)
        self.register_buffer("shift", torch.arange(4.0))

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, 8, 8) to two logits."""
        x = torch.relu_(self.norm(self.conv(images)))
        rows = x.flatten(2).transpose(1, 2).reshape(x.shape[0], -1, 4) + self.shift
        mixed = nn.functional.scaled_dot_product_attention(rows, rows, rows)
        first, second = mixed.to(torch.float32).chunk(2, dim=1)
        logits: Tensor = self.dense(self.drop((first + second * torch.ones(4)).mean(dim=1)))
        return logits


class Changing(nn.Module):
    """Counts its calls."""

    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, images: Tensor) -> Tensor:
        """The number of the call, added."""
        self.calls.add_(1)
        return images.flatten(1) + self.calls


def program(network: nn.Module, dim: Any = FREE) -> ExportedProgram:
    """The network exported for images of three colours, 8 x 8."""
    shapes = None if dim is None else ({0: dim},)
    return export(network, (torch.rand(2, 3, 8, 8),), dynamic_shapes=shapes)


def written(path: Path, made: ExportedProgram) -> Path:
    """The path, at which the program is."""
    save(made, path)
    return path


@pytest.fixture(scope="module")
def small() -> ExportedProgram:
    torch.manual_seed(0)
    network = Small()
    for statistic in (network.norm.running_mean, network.norm.running_var):
        assert statistic is not None
        statistic.uniform_(0.5, 1.5)
    return program(network.eval())


@pytest.fixture
def path(small: ExportedProgram, tmp_path: Path) -> Path:
    return written(tmp_path / "a.pt2", small)


def edited(path: Path, edit: Edit) -> Path:
    """The archive with other contents; names are without their first folder."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        contents = {name.partition("/")[2]: archive.read(name) for name in names}
    edit(contents)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            archive.writestr(f"a/{name}", content)
    return path


def in_json(name: str, change: Callable[[Any], None]) -> Edit:
    """An edit of one of the JSON files."""

    def edit(contents: dict[str, bytes]) -> None:
        value = json.loads(contents[name])
        change(value)
        contents[name] = json.dumps(value).encode()

    return edit


def test_answers_are_those_of_the_program(small: ExportedProgram, path: Path) -> None:
    network, x = load_exported(path), torch.rand(5, 3, 8, 8)
    before = x.clone()
    expected = small.module()(x)
    assert torch.equal(network(x), expected) and torch.equal(x, before)
    check_rows(network, (3, 8, 8))
    found = network.description
    assert (found.input, found.shape[1:], found.dtype, found.activation) == ("images", (3, 8, 8), "float32", None)
    strided = x.to(memory_format=torch.channels_last)
    assert torch.allclose(accelerate(network)(strided), expected, atol=1e-5)


def test_gradients_are_those_of_finite_differences(path: Path) -> None:
    network = load_exported(path).double()
    x = torch.rand(2, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    assert network(x).dtype == torch.float64
    assert torch.autograd.gradcheck(network, x, atol=1e-6)


def test_the_digest_is_of_tensors_and_operators_alike(path: Path) -> None:
    first = tensors_digest(load_exported(path).state_dict())
    assert first == tensors_digest(load_exported(path).state_dict())

    def other_pad(value: Any) -> None:
        nodes = value["graph_module"]["graph"]["nodes"]
        (convolution,) = (node for node in nodes if "conv2d" in node["target"])
        (padding,) = (entry for entry in convolution["inputs"] if entry["name"] == "padding")
        padding["arg"] = {"as_ints": [2, 2]}

    assert first != tensors_digest(load_exported(edited(path, in_json("models/model.json", other_pad))).state_dict())


class Bomb:
    """An object whose unpickling writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def test_nothing_is_unpickled_and_no_expression_is_evaluated(small: ExportedProgram, path: Path) -> None:
    mark = path.with_name("ran")

    def bombs(contents: dict[str, bytes]) -> None:
        buffer = io.BytesIO()
        torch.save(Bomb(mark), buffer)
        contents["data/sample_inputs/model.pt"] = buffer.getvalue()
        value = json.loads(contents["models/model.json"])
        code = f"__import__('pathlib').Path({str(mark)!r}).touch()"
        value["guards_code"] = [code]
        for about in value["graph_module"]["graph"]["tensor_values"].values():
            for size in about["sizes"]:
                if "as_expr" in size:
                    size["as_expr"]["expr_str"] = size["as_expr"]["expr_str"] + f" + 0 * {code}"
        contents["models/model.json"] = json.dumps(value).encode()

    x = torch.rand(2, 3, 8, 8)
    assert torch.equal(load_exported(edited(path, bombs))(x), small.module()(x))
    assert not mark.exists()


def _pickled(contents: dict[str, bytes]) -> None:
    name = "data/weights/model_weights_config.json"
    in_json(name, lambda value: value["config"]["conv.weight"].update(use_pickle=True))(contents)


def _operator(target: str) -> Edit:
    def change(value: Any) -> None:
        value["graph_module"]["graph"]["nodes"][0]["target"] = target

    return in_json("models/model.json", change)


def _outside(contents: dict[str, bytes]) -> None:
    name = "data/weights/model_weights_config.json"
    large = {"as_int": 2**30}
    in_json(name, lambda value: value["config"]["conv.weight"]["tensor_meta"].update(sizes=[large] * 4))(contents)


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (_pickled, "conv.weight is pickled, and nothing is unpickled here"),
        (_operator("torch.ops.aten.from_file.default"), "operator torch.ops.aten.from_file.default is not supported"),
        (_operator("torch.hub.load"), "operator torch.hub.load is not supported"),
        (_operator("_operator.attrgetter"), "is not supported"),
        (_operator("torch.ops.aten.relu.nothing"), "damaged or of an unknown kind"),
        (_outside, "damaged or of an unknown kind"),
        (in_json("models/model.json", lambda value: value["schema_version"].update(major=9)), "schema version"),
        (lambda contents: contents.pop("data/weights/model_weights_config.json"), "save it again with torch"),
        (lambda contents: contents.pop("models/model.json"), "0 programs where one is wanted"),
        (lambda contents: contents.update({"models/model.json": b"[" * 10**5}), "damaged or of an unknown kind"),
    ],
)
def test_an_archive_that_is_not_plain_is_refused_in_one_line(edit: Edit, reason: str, path: Path) -> None:
    with pytest.raises(ModelError, match=reason) as caught:
        load_exported(edited(path, edit))
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


class TwoOutputs(nn.Module):
    """Logits and probabilities."""

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """By name."""
        logits = images.mean(dim=(2, 3))
        return {"logits": logits, "probabilities": logits.softmax(-1)}


class Detached(nn.Module):
    """Lets no gradient through."""

    def forward(self, images: Tensor) -> Tensor:
        """Whether pixels are bright."""
        return (images.flatten(1) > 0.5).float()


@pytest.mark.parametrize(
    ("network", "dim", "reason"),
    [
        (Small().eval(), None, "exactly 2 rows at a time: export it in eval mode with a free number of rows"),
        (Small().eval(), Dim("batch", max=8), "at most 8 rows"),
        (Small().train(), FREE, "training mode|changes its own"),
        (nn.Sequential(nn.Flatten(), nn.Dropout()).train(), FREE, "training mode"),
        (Changing(), FREE, "changes its own"),
        (Detached(), FREE, "no gradient reaches its input"),
    ],
)
def test_what_cannot_be_served_is_refused(network: nn.Module, dim: Any, reason: str, tmp_path: Path) -> None:
    path = written(tmp_path / "a.pt2", program(network, dim))
    with pytest.raises(ModelError, match=reason):
        load_exported(path)


def test_one_of_several_outputs_is_chosen_by_the_name_in_the_graph(tmp_path: Path) -> None:
    path = written(tmp_path / "a.pt2", program(TwoOutputs()))
    with pytest.raises(ModelError, match=r"2 outputs \(mean, softmax\): choose one"):
        load_exported(path)
    x = torch.rand(2, 3, 8, 8)
    chosen = load_exported(path, "softmax")
    assert torch.equal(chosen(x), x.mean(dim=(2, 3)).softmax(-1)) and chosen.description.activation == "softmax"


@pytest.mark.parametrize("content", [b"", b"GIF89a", pickle.dumps({"a": 1})])
def test_another_file_is_no_archive(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.pt2").write_bytes(content)
    with pytest.raises(ModelError, match=r"is no \.pt2 archive"):
        load_exported(tmp_path / "a.pt2")
    with pytest.raises(ModelError, match=r"is no \.pt2 archive"):
        load_exported(tmp_path / "none.pt2")
