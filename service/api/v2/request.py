"""Parsing of Open Inference Protocol V2 requests, in JSON or with the binary extension. Nothing is decoded here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from fastapi import Request
from pydantic import TypeAdapter

from service.api.json_body import validated, validated_json
from service.api.json_limits import check_json_size
from service.api.request_parsing import check_count, parse_selector, request_key
from service.api.schemas import GroupName
from service.api.v2.schemas import InferParameters, InferRequest, InputTensor, TensorName
from service.api.v2.v2_tensors import flatten_elements, split_bytes
from service.engine import PredictInput
from service.errors import ProblemError
from triggers.errors import InputError

HEADER_LENGTH = "inference-header-content-length"
TWIN_OUTPUTS = frozenset({"twin_scores", "twin_label", "flipped"})
_GROUPS: TypeAdapter[list[str]] = TypeAdapter(list[GroupName])
Elements = Sequence[str | bytes]


@dataclass(frozen=True)
class ParsedInferRequest:
    """A parsed request: its inputs, the outputs (name -> whether in binary; empty: all), and its options."""

    wanted: list[PredictInput]
    outputs: dict[TensorName, bool]
    binary: bool
    id: str | None
    timeout_ms: int | None


async def read_infer_request(request: Request, model: str, version: str | None, max_items: int) -> ParsedInferRequest:
    """Read a whole inference request; `model` and `version` are in its path. Raises ProblemError or InputError."""
    coding = request.headers.get("content-encoding", "identity")
    if coding != "identity":
        raise ProblemError(415, "unsupported_encoding", f"Content-Encoding is {coding[:100]!r}; send it uncompressed.")
    body = await request.body()
    size = _head_size(request.headers.get(HEADER_LENGTH), len(body))
    check_json_size(body[:size], max_items)
    head = validated_json(InferRequest, body[:size])
    if head.model_name not in (None, model):
        detail = f"The path asks the model {model!r}, `model_name` is {head.model_name[:100]!r}; say the same in both."
        raise ProblemError(422, "invalid_request", detail)
    infer_request = head.parameters
    if version and infer_request.trigger and version != infer_request.trigger:
        detail = (
            f"The path asks for version {version}, `parameters` for trigger {infer_request.trigger}; give one of them."
        )
        raise ProblemError(422, "invalid_request", detail)
    columns = _columns(head.inputs, memoryview(body)[size:])
    key = request_key(request.headers.get("x-request-key"), request.state.request_id)
    inputs = [each._replace(key=key) for each in _wanted(columns, infer_request, version, max_items)]
    outputs = {
        each.name: infer_request.binary_data_output
        if each.parameters.binary_data is None
        else each.parameters.binary_data
        for each in head.outputs
    }
    if not infer_request.twin and (missing := TWIN_OUTPUTS & outputs.keys()):
        detail = f"The outputs {sorted(missing)} exist only with the parameter `twin`: true."
        raise ProblemError(422, "invalid_request", detail)
    return ParsedInferRequest(inputs, outputs, infer_request.binary_data_output, head.id, _timeout(infer_request))


def _head_size(stated: str | None, size: int) -> int:
    """Bytes of JSON at the start of the body; without the header, all of it."""
    if stated is None:
        return size
    if not (stated.isascii() and stated.isdigit() and len(stated) < 12 and int(stated) <= size):
        detail = f"Inference-Header-Content-Length is {stated[:100]!r} for a body of {size} bytes."
        raise ProblemError(400, "malformed_request", detail)
    return int(stated)


def _columns(tensors: Sequence[InputTensor], tail: memoryview) -> dict[str, Elements]:
    """The elements of every input tensor, by name."""
    columns: dict[str, Elements] = {}
    at = 0
    for tensor in tensors:
        size = tensor.parameters.binary_data_size
        if tensor.name in columns or (size is None) == (tensor.data is None):
            detail = f"Give the input `{tensor.name}` once, with either `data` or `binary_data_size`."
            raise ProblemError(422, "invalid_request", detail)
        columns[tensor.name] = _elements(tensor, tail[at : at + (size or 0)])
        at += size or 0
    if at != len(tail):
        detail = f"The inputs state {at} bytes of binary data; {len(tail)} follow the JSON."
        raise InputError("malformed_tensor", detail)
    return columns


def _elements(tensor: InputTensor, part: memoryview) -> Elements:
    found: Elements = split_bytes(part) if tensor.data is None else flatten_elements(tensor.data)
    if tensor.data is not None and not all(isinstance(each, str) for each in found):
        raise InputError("malformed_tensor", f"`{tensor.name}` is of BYTES: in JSON every element is a string.")
    if (len(tensor.shape) == 2 and tensor.shape[1] != 1) or len(found) != tensor.shape[0]:
        detail = f"`{tensor.name}` has {len(found)} elements for its shape {tensor.shape}; say [N] or [N, 1]."
        raise InputError("malformed_tensor", detail)
    return found


def _wanted(
    columns: dict[str, Elements], infer_request: InferParameters, version: str | None, max_items: int
) -> list[PredictInput]:
    groups = _groups(columns.pop("group", None), infer_request.group)
    if len(columns) != 1:
        raise ProblemError(422, "invalid_request", "Give exactly one of the inputs `image` and `text`.")
    [(name, elements)] = columns.items()
    check_count(len(elements), max_items)
    if groups and len(groups) != len(elements):
        detail = f"`group` has {len(groups)} elements for {len(elements)} inputs."
        raise ProblemError(422, "invalid_request", detail)
    kind: Literal["image", "text"] = "image" if name == "image" else "text"
    trigger = parse_selector(version or infer_request.trigger)
    return [
        PredictInput(kind, each, group, trigger, infer_request.twin, encoded=kind == "image" and isinstance(each, str))
        for each, group in zip(elements, groups or [infer_request.group] * len(elements), strict=True)
    ]


def _groups(elements: Elements | None, default: str | None) -> list[str | None]:
    """The group of every input; an empty element is an unknown group."""
    try:
        names = [each if isinstance(each, str) else each.decode() for each in elements or ()]
    except UnicodeDecodeError as error:
        raise InputError("bad_encoding", f"A group is not UTF-8: {error}.") from error
    validated(lambda: _GROUPS.validate_python([name for name in names if name]))
    return [name or default for name in names]


def _timeout(infer_request: InferParameters) -> int | None:
    if infer_request.timeout_ms is None and infer_request.timeout is not None:
        return max(1, infer_request.timeout // 1000)
    return infer_request.timeout_ms
