"""The Open Inference Protocol V2 by a client that we did not write: tritonclient."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput, InferResult
from tritonclient.utils import InferenceServerException

from tests.service.live import picture, predict, swap

PICTURES = [picture(seed) for seed in range(3)]
TEXTS = ["the movie was awful", "what a lovely day ü"]


@pytest.fixture
def triton(service: httpx.Client) -> Iterator[InferenceServerClient]:
    with InferenceServerClient(f"{service.base_url.host}:{service.base_url.port}") as client:
        yield client


def tensor(name: str, elements: list[bytes], *, binary: bool, column: bool = False) -> InferInput:
    shape = [len(elements), 1] if column else [len(elements)]
    given = InferInput(name, shape, "BYTES")
    given.set_data_from_numpy(np.array(elements, dtype=np.object_).reshape(shape), binary_data=binary)
    return given


def content(data: bytes | str, *, binary: bool) -> bytes:
    if isinstance(data, str):
        return data.encode()
    return data if binary else base64.b64encode(data)


def infer(
    triton: InferenceServerClient, model: str, data: list[Any], *, binary: bool = True, version: str = "", **more: Any
) -> InferResult:
    name = "text" if model == "posts" else "image"
    given = tensor(name, [content(each, binary=binary) for each in data], binary=binary)
    return triton.infer(model, [given], model_version=version, **more)


def test_health_and_metadata(triton: InferenceServerClient, service: httpx.Client) -> None:
    assert triton.is_server_live() and triton.is_server_ready()
    assert (
        triton.is_model_ready("faces") and triton.is_model_ready("faces", "v1") and triton.is_model_ready("faces", "4")
    )
    assert not triton.is_model_ready("nobody") and not triton.is_model_ready("faces", "v99")
    server = triton.get_server_metadata()
    assert server["name"] == "fairtrigger" and server["extensions"] == ["binary_tensor_data"]
    assert server["version"] == service.get("/openapi.json").json()["info"]["version"]
    faces = triton.get_model_metadata("faces")
    assert faces["versions"] == ["none", "v1", "v2", "v3", "v4"]
    assert faces["inputs"] == [{"name": "image", "datatype": "BYTES", "shape": [-1]}]
    assert faces["outputs"][0] == {"name": "scores", "datatype": "FP32", "shape": [-1, 2]}
    assert triton.get_model_metadata("posts", "2")["versions"] == ["v2"]
    assert triton.get_model_metadata("posts", "none")["inputs"][0]["name"] == "text"
    with pytest.raises(InferenceServerException, match="There is no model 'nobody' here"):
        triton.get_model_metadata("nobody")


@pytest.mark.parametrize("binary_out", [True, False])
@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize(("model", "data"), [("faces", PICTURES), ("posts", TEXTS)])
def test_answers_equal_those_of_the_easy_path(
    triton: InferenceServerClient, service: httpx.Client, model: str, data: list[Any], binary_in: bool, binary_out: bool
) -> None:
    swap(service, model, "v2")
    wanted = predict(service, model, data)
    names = ("scores", "label", "prediction_id", "trigger", "truncated")
    outputs = [InferRequestedOutput(name, binary_data=binary_out) for name in names]
    result = infer(triton, model, data, binary=binary_in, outputs=outputs, request_id="seven")
    scores = result.as_numpy("scores")
    assert scores.dtype == np.float32 and scores.shape == (len(data), 2)
    np.testing.assert_allclose(scores, [list(each["scores"].values()) for each in wanted], atol=1e-5)
    texts = {name: [_text(each) for each in result.as_numpy(name)] for name in names[1:4]}
    assert texts["label"] == [each["label"] for each in wanted]
    assert texts["trigger"] == ["v2"] * len(data)
    assert result.as_numpy("truncated").tolist() == [False] * len(data)
    response = result.get_response()
    assert (response["model_name"], response["model_version"], response["id"]) == (model, "v2", "seven")
    parameters = response["parameters"]
    assert parameters["trigger_version"] == "v2" and parameters["policy"] == "champion"
    assert parameters["trigger_sha256"] == wanted[0]["trigger"]["digest"]
    assert parameters["batch_size"] >= len(data) and parameters["infer_ms"] > 0
    late = [{"prediction_id": each, "label": 1} for each in texts["prediction_id"]]
    told = service.post(f"/v1/models/{model}/feedback", json=late).json()["results"]
    assert told == [{"status": "counted"}] * len(data)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def test_all_outputs_in_binary_is_what_the_client_asks_by_itself(triton: InferenceServerClient) -> None:
    result = infer(triton, "faces", PICTURES)
    names = [each["name"] for each in result.get_response()["outputs"]]
    assert names == ["scores", "label", "prediction_id", "trigger", "truncated"]
    assert all("data" not in each for each in result.get_response()["outputs"])
    assert result.as_numpy("trigger").tolist() == [b"none"] * 3
    assert result.get_response()["model_version"] == "none"


@pytest.mark.parametrize("version", ["v1", "3", "none"])
def test_the_path_and_the_parameter_pin_the_trigger(
    triton: InferenceServerClient, service: httpx.Client, version: str
) -> None:
    swap(service, "faces", "v2")
    name = version if version == "none" else f"v{version.removeprefix('v')}"
    wanted = [list(each["scores"].values()) for each in predict(service, "faces", PICTURES, trigger=version)]
    by_path = infer(triton, "faces", PICTURES, version=version)
    by_parameter = infer(triton, "faces", PICTURES, parameters={"trigger": version})
    for result in (by_path, by_parameter):
        np.testing.assert_allclose(result.as_numpy("scores"), wanted, atol=1e-5)
        assert result.get_response()["model_version"] == name
        assert result.get_response()["parameters"]["policy"] == "pinned"


def test_twins_and_groups(triton: InferenceServerClient, service: httpx.Client) -> None:
    bare = infer(triton, "faces", PICTURES, version="none").as_numpy("scores")
    given = tensor("image", PICTURES, binary=True, column=True)
    groups = tensor("group", [b"a", b"", b"b + c"], binary=True, column=True)
    result = triton.infer("faces", [groups, given], model_version="v1", parameters={"twin": True, "group": "rest"})
    np.testing.assert_allclose(result.as_numpy("twin_scores"), bare, atol=1e-5)
    labels, twins = result.as_numpy("label"), result.as_numpy("twin_label")
    assert result.as_numpy("flipped").tolist() == (labels != twins).tolist()
    report = service.get("/v1/models/faces/fairness", params={"window": "all"}).json()["versions"]["v1"]["groups"]
    assert {group: each["n"] for group, each in report.items()} == {"a": 1, "rest": 1, "b + c": 1}


@pytest.mark.parametrize("binary", [True, False])
def test_one_unusable_input_fails_its_request_and_is_named(
    triton: InferenceServerClient, service: httpx.Client, binary: bool
) -> None:
    with pytest.raises(InferenceServerException, match=r"Input 1: .*image") as caught:
        infer(triton, "faces", [PICTURES[0], b"no picture", PICTURES[1]], binary=binary)
    assert caught.value.status() == "422"
    assert service.get("/v1/models/faces/fairness", params={"window": "all"}).json()["versions"] == {}
    assert infer(triton, "faces", [PICTURES[0]]).as_numpy("scores").shape == (1, 2)
