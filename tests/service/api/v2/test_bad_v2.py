"""Bad requests of the Open Inference Protocol V2: each a problem document whose `error` its clients can read."""

from __future__ import annotations

import gzip
import json
import struct
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.api.v2.v2_tensors import V2Tensor, split_bytes
from tests.service.conftest import MAX_BODY
from tests.service.live import ADMIN, as_item, picture, problem, running, settings
from triggers.errors import InputError
from triggers.model.classifier import FrozenClassifier
from triggers.store.file_store import FileStore

INFER = "/v2/models/faces/infer"
IMAGE = as_item(picture(0))["image"]


def tensor(**change: Any) -> dict[str, Any]:
    return {"name": "image", "datatype": "BYTES", "shape": [1], "data": [IMAGE]} | change


def body(*inputs: dict[str, Any], **change: Any) -> dict[str, Any]:
    return {"inputs": list(inputs) or [tensor()]} | change


def binary(client: httpx.Client, head: Any, tail: bytes, size: object = None) -> httpx.Response:
    text = json.dumps(head).encode()
    headers = {"Inference-Header-Content-Length": str(len(text) if size is None else size)}
    return client.post(INFER, content=text + tail, headers=headers)


def test_the_plain_body_of_these_tests_is_fine(strict: httpx.Client) -> None:
    assert strict.post(INFER, json=body()).status_code == 200
    data = picture(0)
    head = body(tensor(data=None, parameters={"binary_data_size": len(data) + 4}))
    del head["inputs"][0]["data"]
    assert binary(strict, head, struct.pack("<I", len(data)) + data).status_code == 200


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        {},
        {"inputs": []},
        body(tensor(name="pixels")),
        body(tensor(datatype="UINT8")),
        body(tensor(shape=[])),
        body(tensor(shape=[0])),
        body(tensor(shape=[1, 1, 1])),
        body(tensor(shape=[-1])),
        body(tensor(data=None)),
        body(tensor(parameters={"binary_data_size": 3})),
        body(tensor(), tensor()),
        body(tensor(), tensor(name="text")),
        body(tensor(name="group", data=["a"])),
        body(tensor(), tensor(name="group", data=["a\nb"])),
        body(tensor(), tensor(name="group", shape=[2], data=["a", "b"])),
        body(parameters={"triger": "v1"}),
        body(parameters={"trigger": "latest"}),
        body(parameters={"twin": "yes"}),
        body(parameters={"timeout_ms": 0}),
        body(parameters={"sequence_id": 4}),
        body(outputs=[{"name": "logits"}]),
        body(outputs=[{"name": "flipped"}]),
        body(outputs=[{"name": "scores", "parameters": {"classification": 2}}]),
        body(id="x" * 1025),
        body(extra=1),
        body(model_name="posts"),
        body(model_name=7),
        body(parameters={"content_type": 7}),
    ],
)
def test_wrong_fields(strict: httpx.Client, wrong: Any) -> None:
    problem(strict.post(INFER, json=wrong), 422, "invalid_request")


@pytest.mark.parametrize(
    "wrong", [{"shape": [2]}, {"shape": [1, 2]}, {"data": [5]}, {"data": [[[IMAGE]]]}, {"data": []}, {"data": [None]}]
)
def test_elements_that_do_not_fit(strict: httpx.Client, wrong: dict[str, Any]) -> None:
    problem(strict.post(INFER, json=body(tensor(**wrong))), 422, "malformed_tensor")


@pytest.mark.parametrize("size", ["-1", "x", "1" * 13, "99999", "1_0", ""])
def test_a_wrong_length_of_the_json_head(strict: httpx.Client, size: str) -> None:
    problem(binary(strict, body(), b"", size), 400, "malformed_request")


@pytest.mark.parametrize("size", [0, 10])
def test_a_head_that_is_cut(strict: httpx.Client, size: int) -> None:
    problem(binary(strict, body(), b"", size), 400, "malformed_json")


@pytest.mark.parametrize(
    ("stated", "tail"),
    [
        (8, b"\x04\x00\x00\x00abc"),
        (7, b"\x04\x00\x00\x00abc"),
        (7, b"\x03\x00\x00\x00abcd"),
        (4, b"\xff\xff\xff\xff"),
        (3, b"\x00\x00\x00"),
        (14, b"\x03\x00\x00\x00abc" * 2),
        (0, b""),
    ],
)
def test_binary_data_that_does_not_add_up(strict: httpx.Client, stated: int, tail: bytes) -> None:
    head = body({"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": stated}})
    problem(binary(strict, head, tail), 422, "malformed_tensor")


def test_limits_are_those_of_the_easy_path(strict: httpx.Client) -> None:
    problem(strict.post(INFER, json=body(tensor(shape=[41], data=["QQ=="] * 41))), 413, "too_many_items")
    problem(strict.post(INFER, content=b"x" * (MAX_BODY + 1)), 413, "body_too_large")
    problem(strict.post(INFER, json=body(tensor(data=["***"]))), 422, "bad_base64")
    problem(strict.post(INFER, json=body(tensor(name="text", data=["hello"]))), 422, "wrong_modality")
    long = body(tensor(name="text", data=["a " * 3000]))
    problem(strict.post("/v2/models/posts/infer", json=long), 413, "text_too_large")
    problem(strict.post("/v2/models/nobody/infer", json=body()), 404, "unknown_model")
    problem(strict.post("/v2/models/faces/versions/v99/infer", json=body()), 404, "not_found")
    problem(strict.post("/v2/models/faces/versions/x/infer", json=body()), 422, "invalid_request")
    problem(strict.get("/v2/models/faces/versions/v99"), 404, "not_found")
    both = body(parameters={"trigger": "none"})
    problem(strict.post("/v2/models/faces/versions/v1/infer", json=both), 422, "invalid_request")
    headers = {"Content-Encoding": "gzip"}
    compressed = gzip.compress(json.dumps(body()).encode())
    problem(strict.post(INFER, content=compressed, headers=headers), 415, "unsupported_encoding")


def test_every_unusable_input_is_named(strict: httpx.Client) -> None:
    document = problem(strict.post(INFER, json=body(tensor(shape=[3], data=["***", IMAGE, "QQ=="]))), 422, "bad_base64")
    assert [(each["loc"], each["code"]) for each in document["errors"]] == [
        (["inputs", "0"], "bad_base64"),
        (["inputs", "2"], "not_an_image"),
    ]


def test_a_version_is_for_those_who_may_choose_a_trigger(tmp_path: Path, image_model: FrozenClassifier) -> None:
    with FileStore(tmp_path / "store") as store:
        with running(settings(tmp_path, client_trigger="admin"), store, [image_model]) as client:
            assert client.post(INFER, json=body()).status_code == 200
            path = "/v2/models/faces/versions/none/infer"
            problem(client.post(path, json=body()), 401, "token_missing")
            problem(client.post(INFER, json=body(parameters={"trigger": "none"})), 401, "token_missing")
            assert client.post(path, json=body(), headers=ADMIN).status_code == 200


def test_tensors_as_bytes() -> None:
    assert split_bytes(memoryview(b"\x01\0\0\0a\0\0\0\0\x02\0\0\0bc")) == [b"a", b"", b"bc"]
    assert V2Tensor("BYTES", (2,), ["ü", ""]).binary() == b"\x02\0\0\0\xc3\xbc\0\0\0\0"
    assert V2Tensor("FP32", (1, 2), [0.5, -2.0]).binary() == struct.pack("<2f", 0.5, -2.0)
    assert V2Tensor("BOOL", (2,), [True, False]).binary() == b"\x01\x00"
    with pytest.raises(InputError, match="needs 8 from byte 4"):
        split_bytes(memoryview(b"\0\0\0\0\x04\0\0\0a"))
