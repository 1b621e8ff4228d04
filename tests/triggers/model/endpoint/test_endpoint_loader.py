"""What the section `loader` of an endpoint may say, and what counts in the fingerprint."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from triggers.model.endpoint import EndpointLoader
from triggers.sources.endpoint.endpoint_presets import PRESETS

V2 = {"kind": "endpoint", "protocol": "v2", "url": "http://h/v2/models/m/infer", "encoding": "pixels", "input": "x"}
GRPC = {**V2, "protocol": "v2-grpc", "url": "grpc://h:1/m"}
JSON = {"kind": "endpoint", "protocol": "json", "url": "https://h/x", "encoding": "text"}


def loader(base: dict[str, Any], **change: Any) -> EndpointLoader:
    """The section, with a change."""
    return EndpointLoader.model_validate(base | change)


@pytest.mark.parametrize(
    ("base", "change", "reason"),
    [
        (V2, {"url": "ftp://h/x"}, "is no plain http://"),
        (V2, {"url": "http://user:secret@h/x"}, "no plain host"),
        (V2, {"url": "http://h/x#y"}, "is no plain http://"),
        (V2, {"input": None}, "name of the input tensor"),
        (V2, {"encoding": "jpeg"}, "quality"),
        (V2, {"quality": 90}, "quality"),
        (V2, {"columns": ["a", "a"]}, "columns must differ"),
        (V2, {"item_shape": [1]}, "item_shape is for texts"),
        (V2, {"item_shape": [2]}, "item_shape"),
        (V2, {"encoding": "float", "datatype": "INT32"}, "datatype is for pixels"),
        (V2, {"encoding": "png", "datatype": "FP32"}, "datatype is for pixels"),
        (V2, {"encoding": "png", "file_bytes": "raw"}, "raw needs binary"),
        (V2, {"url": "grpc://h:1/m"}, "v2-grpc goes with grpc://"),
        (GRPC, {"url": "http://h:1/m"}, "v2-grpc goes with grpc://"),
        (GRPC, {"url": "grpc://h:1"}, "names the model"),
        (GRPC, {"url": "grpc://h:1/"}, "names the model"),
        (GRPC, {"binary": True}, "gRPC always is"),
        (JSON, {"output": "scores"}, "no path of"),
        (JSON, {"input": {"a": 1}}, r'must hold either "\$inputs" or "\$input"'),
        (JSON, {"input": ["$inputs", "$input"]}, "must hold either"),
        (JSON, {"input": {"t": "$input"}, "max_batch": 8}, "max_batch must be 1"),
        (JSON, {"input": "$body", "encoding": "pixels"}, "a file or a text"),
        (JSON, {"binary": True, "parameters": {"a": 1}}, "binary, parameters belong to v2"),
        (JSON, {"credentials": {}}, "exactly one of file and environment"),
        (JSON, {"credentials": {"file": "a", "environment": "B"}}, "exactly one of file and environment"),
        (JSON, {"credentials": {"value": "secret"}}, "value"),
        (JSON, {"password": "secret"}, "password"),
    ],
)
def test_what_cannot_be_asked_is_refused(base: dict[str, Any], change: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        loader(base, **change)


@pytest.mark.parametrize(
    ("template", "one"),
    [
        (None, False),
        ("$inputs", False),
        ({"$each": {"x": "$input"}}, False),
        ({"a": {"$each": "$input"}}, False),
        ("$input", True),
        ("$body", True),
        ({"messages": [{"content": "Text: $input"}]}, True),
    ],
)
def test_a_template_of_one_row_takes_one_row_a_request(template: Any, one: bool) -> None:
    found = loader(JSON, input=template)
    assert (found.one_row, found.max_batch) == (one, 1 if one else 32)


OPERATION = {"url": "https://other/y", "max_batch": 2, "concurrency": 9, "timeout": 1.0, "canary_tolerance": 0.1}
OPERATION["credentials"] = {"environment": "TOKEN"}


@pytest.mark.parametrize("name", OPERATION)
def test_where_and_how_fast_it_is_asked_is_no_part_of_a_model(name: str) -> None:
    assert loader(JSON, **{name: OPERATION[name]}).identity == loader(JSON).identity


def test_v2_is_one_protocol_however_it_travels() -> None:
    assert loader(V2).identity == loader(V2, binary=True).identity == loader(GRPC).identity


@pytest.mark.parametrize(
    ("base", "change"),
    [
        (V2, {"encoding": "float"}),
        (V2, {"layout": "NHWC"}),
        (V2, {"input": "y"}),
        (V2, {"output": "o"}),
        (V2, {"datatype": "FP32"}),
        (V2, {"parameters": {"a": 1}}),
        (V2, {"scores": "labels"}),
        (V2, {"encoding": "jpeg", "quality": 90}),
        (JSON, {"input": {"model": "b", "input": "$inputs"}}),
        (JSON, {"output": "$.scores"}),
        (JSON, {"columns": ["a", "b"]}),
    ],
)
def test_what_decides_scores_is(base: dict[str, Any], change: dict[str, Any]) -> None:
    assert loader(base, **change).identity != loader(base).identity


def test_what_the_documents_state_is_accepted() -> None:
    text = (Path(__file__).parents[4] / "docs" / "endpoints.md").read_text()
    (stated,) = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    found = loader(JSON, **json.loads(stated))
    assert found.encoding == "png" and not found.one_row
    for name in PRESETS:
        assert f"| `{name}` |" in text
