"""A body of millions of tiny things is refused before anything is made of them."""

from __future__ import annotations

import json
import resource
import time
from typing import Any

import httpx
import pytest

from service.api.json_limits import check_json_size
from service.api.schemas import PredictRequest
from service.api.v2.schemas import InferRequest
from service.errors import ProblemError
from tests.service.live import problem

MANY = 100_000
BODIES = {
    "numbers": b'{"inputs":[' + b"1," * MANY + b"1]}",
    "objects": b'{"inputs":[' + b"{}," * MANY + b"{}]}",
    "lists": b'{"inputs":[' + b"[" * MANY,
    "names": b'{"inputs":[{' + b'"":1,' * MANY + b'"x":1}]}',
    "strings": b'""' * MANY,
    "groups": b'{"inputs":[{"text":"a"}],"group":[' + b"null," * MANY + b"null]}",
}


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("path", ["/v1/models/faces/predict", "/v2/models/faces/infer"])
def test_too_many_things(strict: httpx.Client, path: str, name: str) -> None:
    body = BODIES[name][:290_000]
    problem(strict.post(path, content=body, headers={"Content-Type": "application/json"}), 413, "too_many_items")


@pytest.mark.parametrize("name", BODIES)
def test_a_large_body_costs_neither_time_nor_memory(name: str) -> None:
    body = (BODIES[name] * (32 * 2**20 // len(BODIES[name]) + 1))[: 32 * 2**20]
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(ProblemError, match="most that are accepted"):
        check_json_size(body, 128)
    assert time.process_time() - start < 1.0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8 * 1024  # KiB


@pytest.mark.parametrize("string", [rb"\"", rb"\\", b",{[", b"x"])
def test_what_strings_hold_does_not_count(string: bytes) -> None:
    check_json_size(b'{"inputs":[{"text":"' + string * 1_000_000 + b'"}]}', 1)


def test_the_largest_request_that_may_be_passes() -> None:
    item: dict[str, Any] = {"image": "AAAA", "group": "a,{[", "trigger": "v1", "twin": True, "key": 'k"'}
    full = {"inputs": [item] * 128, "group": ["a"] * 128, "trigger": "v1", "twin": False, "key": "k"}
    PredictRequest.model_validate(full)
    check_json_size(json.dumps(full).encode(), 128)
    texts = {"name": "text", "datatype": "BYTES", "shape": [128, 1], "data": [["a"]] * 128}
    asked = {"id": "1", "inputs": [texts, texts | {"name": "group"}], "outputs": [{"name": "label"}] * 16}
    InferRequest.model_validate(asked)
    check_json_size(json.dumps(asked).encode(), 128)
    check_json_size(json.dumps({"inputs": [item], "group": ["a"]}).encode(), 1)


def test_feedback_stops_at_the_first_that_is_wrong(strict: httpx.Client) -> None:
    body = b"[" + b"1," * MANY + b"1]"
    refused = strict.post("/v1/models/faces/feedback", content=body, headers={"Content-Type": "application/json"})
    assert len(problem(refused, 422, "invalid_request")["errors"]) == 1


def test_a_compressed_body_is_not_unpacked(strict: httpx.Client) -> None:
    import gzip

    body = gzip.compress(b'{"inputs":[' + b"{}," * MANY + b"{}]}")
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    problem(strict.post("/v1/models/faces/predict", content=body, headers=headers), 400, "malformed_json")
