"""An Open Inference Protocol V2 server over HTTP, whose tensors tritonclient's own functions read and write."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tritonclient.utils import deserialize_bytes_tensor, serialize_byte_tensor, triton_to_np_dtype

from tests.endpoints.http_server import NOT_FOUND, Answer, Asked, Reply

HEAD = "inference-header-content-length"


@dataclass(frozen=True)
class V2Model:
    """A model: its input and outputs as metadata says them, and what makes the outputs of the input's elements.

    `refusal` is the status that answers tensors in binary form; 0 takes them.
    """

    run: Callable[[NDArray[Any]], Sequence[NDArray[Any]]]
    inputs: Sequence[tuple[str, str, Sequence[int]]]
    outputs: Sequence[tuple[str, str, Sequence[int]]]
    refusal: int = 0
    metadata: bool = True


def v2_server(model: V2Model, name: str = "model") -> Answer:
    """Answers of /v2/models/NAME and its infer."""

    def answer(asked: Asked) -> Reply:
        if (asked.method, asked.path) == ("GET", f"/v2/models/{name}") and model.metadata:
            inputs, outputs = (
                [{"name": each[0], "datatype": each[1], "shape": list(each[2])} for each in part]
                for part in (model.inputs, model.outputs)
            )
            return Reply.of_json({"name": name, "platform": "", "inputs": inputs, "outputs": outputs})
        if (asked.method, asked.path) == ("POST", f"/v2/models/{name}/infer"):
            return _infer(model, asked)
        return NOT_FOUND

    return answer


def _infer(model: V2Model, asked: Asked) -> Reply:
    stated = asked.headers.get(HEAD)
    if stated and model.refusal:
        return Reply.of_json({"error": "no binary tensors here"}, model.refusal)
    size = int(stated) if stated else len(asked.body)
    head = json.loads(asked.body[:size])
    (tensor,) = head["inputs"]
    if (tensor["name"], tensor["datatype"]) != tuple(model.inputs[0][:2]):
        return Reply.of_json({"error": f"no input {tensor['name']} of {tensor['datatype']}"}, 400)
    found = model.run(_elements(tensor, asked.body[size:]))
    wanted = [each["name"] for each in head.get("outputs", ())]
    made = [
        (described, values)
        for described, values in zip(model.outputs, found, strict=True)
        if not wanted or described[0] in wanted
    ]
    return _reply(made, binary=stated is not None)


def _elements(tensor: dict[str, Any], tail: bytes) -> NDArray[Any]:
    kind = triton_to_np_dtype(tensor["datatype"])
    if "data" in tensor:
        flat = [each.encode() for each in tensor["data"]] if kind is np.object_ else tensor["data"]
        return np.array(flat, dtype=kind).reshape(tensor["shape"])
    assert tensor["parameters"]["binary_data_size"] == len(tail)
    flat = deserialize_bytes_tensor(tail) if kind is np.object_ else np.frombuffer(tail, kind)
    return np.asarray(flat).reshape(tensor["shape"])


def _reply(made: Sequence[tuple[Any, NDArray[Any]]], *, binary: bool) -> Reply:
    outputs, tail = [], b""
    for (name, datatype, _shape), values in made:
        one: dict[str, Any] = {"name": name, "datatype": datatype, "shape": list(values.shape)}
        if binary:
            data = serialize_byte_tensor(values).item() if datatype == "BYTES" else values.tobytes()
            one["parameters"], tail = {"binary_data_size": len(data)}, tail + data
        else:
            one["data"] = [each.decode() if isinstance(each, bytes) else each for each in values.ravel().tolist()]
        outputs.append(one)
    head = json.dumps({"model_name": "model", "outputs": outputs}).encode()
    return Reply(head + tail, 200, {HEAD: str(len(head))} if binary else {"content-type": "application/json"})
