"""An ONNX graph as a torch module, through which gradients reach the input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch._compile import _disable_dynamo

from triggers.errors import ModelError
from triggers.model.networks.batch_invariance import check_rows
from triggers.model.networks.onnx_network.channel_folding import fold_channels
from triggers.model.networks.onnx_network.graph import Graph, graph_of
from triggers.model.networks.onnx_network.onnx_file import OnnxDescription, read_onnx
from triggers.model.networks.onnx_network.refusal import Unsupported
from triggers.model.networks.onnx_network.shapes import ROWS, Plan, plan


class OnnxNetwork(nn.Module):
    """Inputs (N, C, H, W), or rows as the file has them, to the file's output.

    `constants` are the tensors of the file under their names, and `graph` is a digest of everything else in it, so that
    the weights digest of this module is one of the whole file. With `row_by_row` each row runs as a batch of one.
    """

    graph: Tensor
    precision: Tensor

    def __init__(self, graph: Graph, description: OnnxDescription, row_by_row: bool = False) -> None:
        super().__init__()
        self.description, self.row_by_row = description, row_by_row
        self.constants = nn.Module()
        for name, tensor in graph.constants.items():
            if tensor.is_floating_point():
                self.constants.register_parameter(name, nn.Parameter(tensor, requires_grad=False))
            else:
                self.constants.register_buffer(name, tensor)
        self.register_buffer("graph", torch.tensor(list(graph.digest), dtype=torch.uint8))
        self.register_buffer("precision", torch.empty(0, dtype=getattr(torch, description.dtype)), persistent=False)
        self._graph = graph.hollow()
        self._plans: dict[tuple[torch.Size, torch.dtype, torch.device], Plan] = {}
        self.eval()

    @property
    def dtype(self) -> torch.dtype:
        """The number type of the input: the file's, until the module is moved to another."""
        return self.precision.dtype

    def forward(self, inputs: Tensor) -> Tensor:
        """Floats (N, ...) of any type to what the file computes. Raises ModelError for a size that cannot be run."""
        x = inputs.to(self.dtype)
        if self.description.layout == "NHWC":
            x = x.permute(0, 2, 3, 1)
        if self.row_by_row:
            return torch.vmap(self._run)(x.unsqueeze(1)).squeeze(1)
        return self._run(x)

    def folded(self) -> OnnxNetwork:
        """A copy with factors and terms of channels drawn into the convolutions before them."""
        stored = {name: tensor.detach().clone() for name, tensor in self.constants.state_dict().items()}
        graph = fold_channels(replace(self._graph, constants=stored))
        return OnnxNetwork(graph, self.description, self.row_by_row).to(self.precision)

    def _run(self, x: Tensor) -> Tensor:
        size = (x.shape[1:], x.dtype, x.device)
        known = self._plans.get(size) or self._planned(*size)
        rows, moved = x.shape[0], self.description.dtype != str(x.dtype).removeprefix("torch.")
        stored = self.constants._parameters | self.constants._buffers
        values: dict[str, Tensor | None] = {"": None, **stored, **known.tensors, self._graph.input: x}
        for step in known.steps:
            made = step.node.run(step.arguments(values, rows), x.device)
            values.update(_narrowed(made, x.dtype) if moved else made)
            for name in step.dead:
                values.pop(name, None)
        found = values[self._graph.output]
        assert found is not None
        return found

    @_disable_dynamo  # as torch.compiler.disable does, which imports the compiler at once
    def _planned(self, row: torch.Size, dtype: torch.dtype, device: torch.device) -> Plan:
        rows = (1,) if self.row_by_row else ROWS
        try:
            made = plan(self._graph, row, getattr(torch, self.description.dtype), rows)
        except Unsupported as error:
            raise ModelError(f"The ONNX graph cannot run on inputs of shape {tuple(row)}: {error}.") from error
        placed = {name: tensor.to(device) for name, tensor in made.tensors.items()}
        found = self._plans[row, dtype, device] = replace(made, tensors=_narrowed(placed, dtype))
        return found


def load_onnx(path: Path | str, output: str | None = None) -> OnnxNetwork:
    """The network of an ONNX file, in eval mode and without weight gradients; `output` chooses one of several.

    Raises ModelError, in one line, for a file that cannot be run exactly and row by row.
    """
    model, description = read_onnx(Path(path), output)
    try:
        graph = graph_of(model, description.input, description.output)
        return _with_any_number_of_rows(graph, description)
    except (Unsupported, ModelError) as error:
        raise ModelError(f"{path} cannot be used: {str(error).rstrip('.')}.") from error


def onnx_oracle(path: Path | str, output: str | None = None) -> Callable[[Tensor], Tensor]:
    """The same file run by onnxruntime on the CPU, from inputs as `load_onnx` takes them. Raises ModelError."""
    try:
        import onnxruntime
    except ImportError as error:
        message = "Comparing with onnxruntime needs the extra onnx-check: pip install 'fairtrigger[onnx-check]'"
        raise ModelError(message) from error
    _, description = read_onnx(Path(path), output)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    dtype = getattr(torch, description.dtype)

    def run(inputs: Tensor) -> Tensor:
        x = inputs.detach().cpu().to(dtype)
        x = x.permute(0, 2, 3, 1).contiguous() if description.layout == "NHWC" else x.contiguous()
        pieces = x.split(1) if description.shape[0] == 1 else (x,)
        made = [session.run([description.output], {description.input: piece.numpy()})[0] for piece in pieces]
        return torch.cat([torch.from_numpy(each) for each in made])

    return run


def _with_any_number_of_rows(graph: Graph, description: OnnxDescription) -> OnnxNetwork:
    batch, *row = description.channels_first
    if isinstance(batch, int) and batch != 1:
        raise Unsupported(f"it takes exactly {batch} rows at a time: export it with a dynamic batch dimension")
    sizes = tuple(size for size in row if isinstance(size, int))
    network = OnnxNetwork(graph, description, row_by_row=batch == 1)
    if len(sizes) < len(row):
        return network
    if batch == 1:
        plain = OnnxNetwork(graph, description)
        try:
            check_rows(plain, sizes)
            return plain
        except (ModelError, RuntimeError):  # numbers of the one row are written into the graph
            pass
    network(torch.zeros(1, *sizes))
    return network


def _narrowed(tensors: dict[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """Floats in `dtype`: what a graph turns into its own type, in a module that was moved to another."""
    return {name: each.to(dtype) if each.is_floating_point() else each for name, each in tensors.items()}
