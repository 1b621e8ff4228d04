"""What an exported program says about itself, and the refusal of those that cannot be served row by row."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from triggers.errors import ModelError
from triggers.model.networks.exported_program.calls import HOW_TO_EXPORT, base_name
from triggers.model.networks.exported_program.pt2_archive import DTYPES

MANY_ROWS = 2**16
"""A program whose batch may not grow to this is refused."""
ENDS = {"softmax": "softmax", "_softmax": "softmax", "sigmoid": "sigmoid"}


@dataclass(frozen=True)
class ExportedDescription:
    """What a program says about itself: `shape` has a name in place of a length that may vary."""

    input: str
    shape: tuple[int | str, ...]
    dtype: str
    output: str
    activation: Literal["softmax", "sigmoid"] | None
    torch_version: str


def describe_program(program: Mapping[str, Any], output: str | None) -> tuple[ExportedDescription, dict[str, str]]:
    """What the program says, and the names of stored tensors by the names that the graph gives them."""
    content, signature = program["graph_module"]["graph"], program["graph_module"]["signature"]
    stored: dict[str, str] = {}
    inputs: list[str] = []
    for entry in signature["input_specs"]:
        ((kind, spec),) = entry.items()
        if kind in ("parameter", "buffer", "tensor_constant"):
            stored[spec["arg"]["name"]] = spec[f"{kind}_name"]
        elif kind == "user_input" and "as_tensor" in spec["arg"]:
            inputs.append(spec["arg"]["as_tensor"]["name"])
        elif kind != "user_input" or "as_none" not in spec["arg"]:
            raise ModelError(f"its input is of the kind {kind}, which is not supported: export it with the image alone")
    if len(inputs) != 1:
        raise ModelError(f"it has {len(inputs)} inputs ({', '.join(inputs)}) where one is wanted")
    about = content["tensor_values"][inputs[0]]
    if not DTYPES[about["dtype"]].is_floating_point:
        raise ModelError(f"its input {inputs[0]} does not take floats, so no gradient reaches it")
    chosen = _chosen(signature["output_specs"], output)
    shape = tuple(_length(each) for each in about["sizes"])
    _check_rows_are_free(shape, program["range_constraints"])
    dtype = str(DTYPES[about["dtype"]]).removeprefix("torch.")
    last = _activation(content["nodes"], chosen)
    return ExportedDescription(inputs[0], shape, dtype, chosen, last, program.get("torch_version", "")), stored


def _chosen(specs: list[Mapping[str, Any]], wanted: str | None) -> str:
    if any("user_output" not in spec for spec in specs):
        raise ModelError(f"it changes its own buffers: {HOW_TO_EXPORT}")
    outputs = [spec["user_output"]["arg"]["as_tensor"]["name"] for spec in specs]
    names = ", ".join(outputs)
    if wanted is None and len(outputs) != 1:
        raise ModelError(f"it has {len(outputs)} outputs ({names}): choose one by its name")
    if wanted is not None and wanted not in outputs:
        raise ModelError(f"it has no output {wanted!r}, but {names}")
    return outputs[0] if wanted is None else wanted


def _length(written: Mapping[str, Any]) -> int | str:
    if "as_int" in written:
        return int(written["as_int"])
    found = re.match(r"Symbol\('(\w+)'", written["as_expr"]["expr_str"])
    return found[1] if found else "?"


def _check_rows_are_free(shape: tuple[int | str, ...], ranges: Mapping[str, Mapping[str, int | None]]) -> None:
    if not shape or isinstance(shape[0], int):
        rows = shape[0] if shape else 0
        raise ModelError(f"it takes exactly {rows} rows at a time: {HOW_TO_EXPORT}")
    most = ranges.get(shape[0], {}).get("max_val")
    if shape[0] == "?" or (most is not None and most < MANY_ROWS):
        raise ModelError(f"it takes at most {most} rows at a time: {HOW_TO_EXPORT}")


def _activation(nodes: list[Mapping[str, Any]], output: str) -> Literal["softmax", "sigmoid"] | None:
    for node in nodes:
        if any(each.get("as_tensor", {}).get("name") == output for each in node["outputs"]):
            found = ENDS.get(base_name(node["target"]))
            return "softmax" if found == "softmax" else "sigmoid" if found else None
    return None
