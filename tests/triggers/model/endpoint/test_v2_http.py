"""Requests and answers of the Open Inference Protocol V2 over HTTP, beside those of tritonclient."""

from __future__ import annotations

import json
from typing import Any

import hypothesis.extra.numpy as arrays
import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given
from numpy.typing import NDArray
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import serialize_byte_tensor, triton_to_np_dtype

from triggers.errors import ModelError
from triggers.model.endpoint import EndpointLoader
from triggers.model.endpoint.protocols.v2_elements import numbers_of, pack_elements, unpack_elements
from triggers.model.endpoint.protocols.v2_http import V2Protocol

HEAD = "inference-header-content-length"
NUMBERS = ("BOOL", "UINT8", "UINT16", "UINT32", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64")
TABLES = st.tuples(st.integers(1, 5), st.integers(1, 4))


def protocol(**change: Any) -> V2Protocol:
    """The protocol of a bundle whose pixels travel as they are."""
    fields = {"kind": "endpoint", "protocol": "v2", "url": "http://h/v2/models/m/infer", "encoding": "pixels"}
    return V2Protocol(EndpointLoader.model_validate({**fields, "input": "x", **change}))


def answer(*outputs: tuple[str, str, NDArray[Any]], binary: bool = True, **change: Any) -> tuple[bytes, dict[str, str]]:
    """An answer with these outputs, encoded by numpy and tritonclient."""
    listed, tail = [], b""
    for name, datatype, values in outputs:
        data = serialize_byte_tensor(values).item() if datatype == "BYTES" else values.tobytes()
        one: dict[str, Any] = {"name": name, "datatype": datatype, "shape": list(values.shape)}
        one |= {"parameters": {"binary_data_size": len(data)}} if binary else {"data": values.ravel().tolist()}
        listed.append(one | change)
        tail += data if binary else b""
    head = json.dumps({"outputs": listed}).encode()
    return head + tail, {HEAD: str(len(head))} if binary else {}


@pytest.mark.parametrize("output", [None, "logits"])
@pytest.mark.parametrize(
    ("encoding", "datatype"), [("pixels", "UINT8"), ("float", "FP32"), ("float", "FP16"), ("text", "BYTES")]
)
def test_a_binary_request_is_what_tritonclient_sends(encoding: str, datatype: str, output: str | None) -> None:
    rows: Any = (
        torch.arange(24).reshape(2, 3, 2, 2).to(torch.uint8) if encoding == "pixels" else torch.randn(2, 3, 2, 2)
    )
    values: Any = rows.numpy().astype(triton_to_np_dtype(datatype)) if encoding != "text" else None
    if encoding == "text":
        rows = ["héllo 👍", "", "a\0b"]
        values = np.array([each.encode() for each in rows], dtype=np.object_)
    said = {"datatype": datatype} if datatype == "FP16" else {}
    body, headers = protocol(encoding=encoding, output=output, binary=True, **said).encode(rows)
    given_input = InferInput("x", list(values.shape), datatype)
    given_input.set_data_from_numpy(values, binary_data=True)
    outputs = [InferRequestedOutput(output, binary_data=True)] if output else None
    expected, size = InferenceServerClient.generate_request_body([given_input], outputs)
    ours, theirs = int(headers[HEAD]), size
    assert json.loads(body[:ours]) == json.loads(expected[:theirs])
    assert body[ours:] == expected[theirs:]


@given(st.data(), st.sampled_from(NUMBERS), TABLES, st.booleans())
def test_numbers_of_every_type_are_read_as_they_were_written(
    data: st.DataObject, datatype: str, shape: tuple[int, int], binary: bool
) -> None:
    kind = np.dtype(triton_to_np_dtype(datatype))
    finite: Any = {"min_value": -1e4, "max_value": 1e4, "allow_nan": False} if kind.kind == "f" else {}
    values = data.draw(arrays.arrays(kind, shape, elements=arrays.from_dtype(kind, **finite)))
    found = protocol().decode(*answer(("o", datatype, values), binary=binary))
    assert torch.equal(found, torch.from_numpy(values.astype(np.float64)).float())


@given(st.lists(st.binary(max_size=20), max_size=8))
def test_bytes_are_packed_as_tritonclient_packs_them(elements: list[bytes]) -> None:
    packed = pack_elements(elements)
    assert unpack_elements(packed) == elements
    if elements:
        assert packed == serialize_byte_tensor(np.array(elements, dtype=np.object_)).item()


@given(st.lists(st.binary(max_size=9), min_size=1, max_size=4), st.integers(min_value=1))
def test_bytes_that_end_early_are_refused(elements: list[bytes], cut: int) -> None:
    packed = pack_elements(elements)
    last = 4 + len(elements[-1])
    with pytest.raises(ModelError, match="ends within an element"):
        unpack_elements(packed[: len(packed) - 1 - cut % (last - 1)])


def test_bfloat16_is_read() -> None:
    values = torch.tensor([1.0, -2.5, 3e38]).bfloat16()
    assert torch.equal(torch.from_numpy(numbers_of("BF16", values.view(torch.uint8).numpy().tobytes())), values.float())


def test_an_output_is_taken_by_name_and_from_its_own_part() -> None:
    one, two = np.array([[1, 2]], np.int64), np.array([[3.5], [4.5]], np.float32)
    both = (("one", "INT64", one), ("two", "FP32", two))
    assert protocol(output="two").decode(*answer(*both)).tolist() == [[3.5], [4.5]]
    assert protocol(output="one").decode(*answer(*both)).tolist() == [[1, 2]]
    with pytest.raises(ModelError, match=r"outputs \['one', 'two'\]; `loader.output` must name one"):
        protocol().decode(*answer(*both))


def test_sides_of_one_behind_the_table_do_not_count() -> None:
    assert protocol().decode(*answer(("o", "FP32", np.ones((2, 3, 1, 1), np.float32)))).shape == (2, 3)
    assert protocol().decode(*answer(("o", "FP32", np.ones(2, np.float32)))).shape == (2, 1)
    with pytest.raises(ModelError, match=r"shape \(2, 3, 2\), not \(rows, outputs\)"):
        protocol().decode(*answer(("o", "FP32", np.ones((2, 3, 2), np.float32))))


TABLE = np.ones((2, 2), np.float32)


@pytest.mark.parametrize(
    ("body", "headers", "reason"),
    [
        (b"<!doctype html>", {}, "a page of HTML or XML, no JSON: is the address that of the model"),
        (b"oops", {}, "no JSON"),
        (b"[1]", {}, "no list of `outputs`"),
        (b'{"outputs": [1]}', {}, "no list of `outputs`"),
        (b'{"outputs": []}', {}, r"outputs \[\]"),
        (b'{"outputs": []}', {HEAD: "99"}, "states '99' bytes of JSON in an answer of 15 bytes"),
        (b'{"outputs": []}', {HEAD: "-1"}, "states '-1' bytes"),
        (*answer(("o", "FP32", TABLE), shape=[3, 2]), "no table of numbers"),
        (*answer(("o", "FP32", TABLE), shape=None), "no shape"),
        (*answer(("o", "FP32", TABLE), parameters={"binary_data_size": 17}), "states 17 bytes of an output; 16 are"),
        (*answer(("o", "FP32", TABLE), parameters={"binary_data_size": 15}), "no whole number of elements"),
        (*answer(("o", "FP32", TABLE), datatype="FP12"), "FP12, which is no type of the protocol"),
        (*answer(("o", "FP32", TABLE), binary=False, data="no"), "no data"),
        (*answer(("o", "FP32", TABLE), binary=False, data=["a", "b", "c", "d"]), "no table of numbers"),
        (*answer(("o", "BYTES", np.array([b"cat", b"dog"], dtype=np.object_))), "is of BYTES .*cat.* labels, no sc"),
    ],
)
def test_any_other_answer_is_refused_in_one_line(body: bytes, headers: dict[str, str], reason: str) -> None:
    with pytest.raises(ModelError, match=reason) as refusal:
        protocol().decode(body, headers)
    assert "\n" not in str(refusal.value)
