"""An exported program as a torch module, through which gradients reach the input."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from triggers.errors import ModelError
from triggers.model.networks.batch_invariance import check_rows
from triggers.model.networks.exported_program.calls import HOW_TO_EXPORT, Context, Value, call_of, is_check
from triggers.model.networks.exported_program.program_description import ExportedDescription, describe_program
from triggers.model.networks.exported_program.pt2_archive import read_program
from triggers.storage.regular_file import open_regular

STORED = "export:"
"""Begins the names of tensors that are stored in the file; a dot in a name becomes a slash."""


class ExportedNetwork(nn.Module):
    """Inputs (N, ...) as the program takes them, to its output.

    `stored` are the tensors of the program under their names, and `graph` is a digest of everything else in it.
    """

    graph: Tensor
    precision: Tensor

    def __init__(self, program: Mapping[str, Any], tensors: Mapping[str, Tensor], output: str | None) -> None:
        super().__init__()
        content = program["graph_module"]["graph"]
        self.description, names = describe_program(program, output)
        self.stored = nn.Module()
        self._names: dict[str, str] = {}
        for argument, name in names.items():
            if name not in tensors:
                raise ModelError(f"it holds no tensor {name!r}")
            self._keep(argument, name, tensors[name])
        self._calls = tuple(call_of(node) for node in content["nodes"] if not is_check(node["target"]))
        self.register_buffer("graph", torch.tensor(list(_digest(content, self.description, names)), dtype=torch.uint8))
        self.register_buffer("precision", torch.empty(0, dtype=self._file_dtype), persistent=False)
        self.eval()

    @property
    def dtype(self) -> torch.dtype:
        """The number type of the input: the file's, until the module is moved to another."""
        return self.precision.dtype

    @property
    def _file_dtype(self) -> torch.dtype:
        found: torch.dtype = getattr(torch, self.description.dtype)
        return found

    def forward(self, inputs: Tensor) -> Tensor:
        """Floats (N, ...) of any type to the program's output."""
        x = inputs.to(self.dtype, copy=True, memory_format=torch.contiguous_format)  # some operators work in place
        stored = self.stored._parameters | self.stored._buffers
        values: dict[str, Value] = {argument: stored[key] for argument, key in self._names.items()}
        values[self.description.input] = x
        context = Context(values, x.device, self._file_dtype, x.dtype)
        for call in self._calls:
            made = call.function(
                *[context.value(kind, written) for kind, written in call.arguments],
                **{name: context.value(kind, written) for name, kind, written in call.keywords},
            )
            if len(call.outputs) == 1 and not call.listed:
                values[call.outputs[0]] = made
            else:
                values.update(zip(call.outputs, made, strict=False))
        found: Tensor = values[self.description.output]
        return found

    def _keep(self, argument: str, name: str, tensor: Tensor) -> None:
        key = STORED + name.replace(".", "/")
        self._names[argument] = key
        if tensor.is_floating_point():
            self.stored.register_parameter(key, nn.Parameter(tensor, requires_grad=False))
        else:
            self.stored.register_buffer(key, tensor)


def load_exported(path: Path | str, output: str | None = None) -> ExportedNetwork:
    """The network of a `.pt2` program; `output` chooses one of several by the graph's name for it.

    Raises ModelError, in one line, for a program that cannot be run safely and exactly, row by row.
    """
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            program, tensors = read_program(archive)
        network = ExportedNetwork(program, tensors, output)
        _try(network)
        return network
    except ModelError as error:
        raise ModelError(f"{path} cannot be used: {str(error).rstrip('.')}.") from error
    except (OSError, zipfile.BadZipFile) as error:
        raise ModelError(f"{path} is no .pt2 archive of torch.export: {error}") from error
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise ModelError(f"{path} cannot be used: its graph is damaged or of an unknown kind ({reason}).") from error


def _digest(content: Mapping[str, Any], description: ExportedDescription, names: Mapping[str, str]) -> bytes:
    """SHA-256 over the calls, what they are given, and which tensor has which name."""
    calls = [[node[key] for key in ("target", "inputs", "outputs")] for node in content["nodes"]]
    parts = [description.input, description.output, description.shape, names, calls]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).digest()


def _try(network: ExportedNetwork) -> None:
    """One forward pass and the way back. Raises ModelError."""
    row = network.description.shape[1:]
    sizes = [size for size in row if isinstance(size, int)]
    if len(sizes) < len(row):
        raise ModelError(f"its input has a free shape {network.description.shape}: {HOW_TO_EXPORT}")
    versions = [tensor._version for tensor in network.stored.state_dict(keep_vars=True).values()]
    x = torch.rand(2, *sizes, generator=torch.Generator().manual_seed(0)).requires_grad_()
    made = network(x)
    if not isinstance(made, Tensor) or not made.ndim or len(made) != len(x):
        raise ModelError(f"two rows do not give an output of two rows: {HOW_TO_EXPORT}")
    if not made.requires_grad:
        raise ModelError("no gradient reaches its input, so no trigger can be trained: export it without no_grad")
    if versions != [tensor._version for tensor in network.stored.state_dict(keep_vars=True).values()]:
        raise ModelError(f"it changes its own weights or buffers: {HOW_TO_EXPORT}")
    check_rows(network, sizes)
