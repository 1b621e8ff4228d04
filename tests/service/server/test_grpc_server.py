"""The gRPC door by a client that we did not write, tritonclient: what it answers is what HTTP answers."""

from __future__ import annotations

import asyncio
import socket
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import torch
import uvicorn
from fastapi import FastAPI
from pydantic import ValidationError
from tritonclient.utils import InferenceServerException

from service.app import create_app
from service.config.settings import Settings
from service.server.grpc_server import GrpcServer
from service.server.http_server import DrainingServer
from service.server.http_timeouts import TimeoutProtocol
from tests.bundles import SIZE, image_bundle
from tests.endpoints.wrapping import wrapped
from tests.service.live import TOKEN, picture, plain_client, predict, process, settings, swap, wait_until
from triggers.api_keys import add_key, new_api_key
from triggers.errors import ConfigError
from triggers.model.classifier import FrozenClassifier
from triggers.model.endpoint.inference_messages import SERVICE, inference_message
from triggers.sources import WrapOptions
from triggers.store.file_store import FileStore

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from tritonclient.grpc import InferenceServerClient, InferInput, InferRequestedOutput, InferResult

PICTURES = [picture(seed) for seed in range(3)]
TEXTS = ["the movie was awful", "what a lovely day ü"]
MAX_BODY = 300_000


@contextmanager
def both_doors(
    chosen: Settings, store: FileStore, classifiers: list[FrozenClassifier]
) -> Iterator[tuple[httpx.Client, InferenceServerClient]]:
    """One service over HTTP and gRPC while the block runs."""
    app, urls = create_app(chosen, store, classifiers), list[str]()
    app.state.running.open()
    door = GrpcServer(app, chosen)
    config = uvicorn.Config(app, port=0, http=TimeoutProtocol, log_level="warning", timeout_graceful_shutdown=20)
    server = DrainingServer(config, app.state.running, urls.append, grpc_server=door)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: urls or not thread.is_alive())
    with plain_client(urls[0]) as http, InferenceServerClient(door.address) as triton:
        yield http, triton
    server.should_exit = True
    thread.join(30)
    assert not thread.is_alive(), "the service did not stop"


@pytest.fixture(scope="module")
def doors(
    tmp_path_factory: pytest.TempPathFactory, image_model: FrozenClassifier, text_model: FrozenClassifier
) -> Iterator[tuple[httpx.Client, InferenceServerClient]]:
    """Both models, two versions each; who is champion, tests decide."""
    from tests.artifacts import artifact_for

    tmp: Path = tmp_path_factory.mktemp("doors")
    with FileStore(tmp / "store") as store:
        for kind in ("border", "patch"):
            store.publish(artifact_for(image_model, kind), actor="test")
        for kind in ("hard", "soft"):
            store.publish(artifact_for(text_model, kind), actor="test")
        chosen = settings(tmp, grpc_port=0, max_body_bytes=MAX_BODY)
        with both_doors(chosen, store, [image_model, text_model]) as both:
            yield both


def tensor(name: str, elements: list[Any]) -> InferInput:
    given = InferInput(name, [len(elements)], "BYTES")
    given.set_data_from_numpy(np.array([_bytes(each) for each in elements], dtype=np.object_))
    return given


def _bytes(element: bytes | str) -> bytes:
    return element.encode() if isinstance(element, str) else element


def infer(triton: InferenceServerClient, model: str, data: list[Any], **more: Any) -> InferResult:
    return triton.infer(model, [tensor("text" if model == "posts" else "image", data)], **more)


def code_of(caught: pytest.ExceptionInfo[InferenceServerException]) -> str:
    return str(caught.value.status()).removeprefix("StatusCode.")


Doors = tuple[httpx.Client, InferenceServerClient]


def test_health_and_metadata_are_those_of_http(doors: Doors) -> None:
    http, triton = doors
    assert triton.is_server_live() and triton.is_server_ready()
    assert triton.is_model_ready("faces") and triton.is_model_ready("faces", "v1")
    server, told = triton.get_server_metadata(), http.get("/v2").json()
    assert (server.name, server.version) == (told["name"], told["version"])
    for path, version in (("/v2/models/faces", ""), ("/v2/models/faces/versions/v2", "v2")):
        found, told = triton.get_model_metadata("faces", version, as_json=True), http.get(path).json()
        assert (found["name"], found["versions"], found["platform"]) == (
            told["name"],
            told["versions"],
            told["platform"],
        )
        for part in ("inputs", "outputs"):
            read = [{**each, "shape": [int(side) for side in each["shape"]]} for each in found[part]]
            assert read == told[part]


@pytest.mark.parametrize(("model", "data"), [("faces", PICTURES), ("posts", TEXTS)])
def test_answers_equal_those_of_http(doors: Doors, model: str, data: list[Any]) -> None:
    http, triton = doors
    swap(http, model, "v2")
    wanted = predict(http, model, data)
    result = infer(triton, model, data, request_id="seven", parameters={"group": "a"})
    np.testing.assert_allclose(result.as_numpy("scores"), [list(each["scores"].values()) for each in wanted], atol=1e-6)
    texts = {name: [each.decode() for each in result.as_numpy(name)] for name in ("label", "trigger", "prediction_id")}
    assert texts["label"] == [each["label"] for each in wanted] and texts["trigger"] == ["v2"] * len(data)
    assert result.as_numpy("truncated").tolist() == [False] * len(data)
    response = result.get_response()
    assert (response.model_name, response.model_version, response.id) == (model, "v2", "seven")
    assert response.parameters["trigger_sha256"].string_param == wanted[0]["trigger"]["digest"]
    assert response.parameters["batch_size"].int64_param >= len(data)
    assert response.parameters["infer_ms"].double_param > 0
    late = [{"prediction_id": each, "label": 1} for each in texts["prediction_id"]]
    assert http.post(f"/v1/models/{model}/feedback", json=late).json()["results"] == [{"status": "counted"}] * len(data)


def test_versions_twins_and_chosen_outputs(doors: Doors) -> None:
    http, triton = doors
    swap(http, "faces", None)
    bare = infer(triton, "faces", PICTURES).as_numpy("scores")
    chosen = [InferRequestedOutput(name) for name in ("twin_scores", "trigger")]
    result = infer(triton, "faces", PICTURES, model_version="v1", parameters={"twin": True}, outputs=chosen)
    assert [each.name for each in result.get_response().outputs] == ["twin_scores", "trigger"]
    np.testing.assert_allclose(result.as_numpy("twin_scores"), bare, atol=1e-6)
    assert result.as_numpy("trigger").tolist() == [b"v1"] * 3


def test_elements_may_stand_in_the_contents(doors: Doors) -> None:
    _, triton = doors
    wanted = infer(triton, "faces", PICTURES).as_numpy("scores")
    request = inference_message("ModelInferRequest")(model_name="faces")
    given = request.inputs.add(name="image", datatype="BYTES", shape=[3])
    given.contents.bytes_contents.extend(PICTURES)
    with grpc.insecure_channel(_address(triton)) as channel:
        call = channel.unary_unary(f"/{SERVICE}/ModelInfer")
        found = inference_message("ModelInferResponse").FromString(call(request.SerializeToString()))
        scores = np.frombuffer(found.raw_output_contents[0], np.float32).reshape(found.outputs[0].shape)
        np.testing.assert_allclose(scores, wanted, atol=1e-6)
        request.raw_input_contents.append(b"")
        with pytest.raises(grpc.RpcError) as caught:
            call(request.SerializeToString())
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "contents" in caught.value.details()


def test_a_service_can_be_the_endpoint_of_another(doors: Doors, image_model: FrozenClassifier, tmp_path: Path) -> None:
    http, triton = doors
    swap(http, "faces", None)
    image = {"size": SIZE, "mean": [0.0] * 3, "std": [1.0] * 3, "range": 255}
    options = WrapOptions(labels=image_model.labels, image=image, output="scores", endpoint={"file_bytes": "raw"})
    found, _ = wrapped(f"grpc://{_address(triton)}/faces", options, tmp_path / "bundle")
    images = torch.rand(4, 3, SIZE, SIZE).mul(255).round() / 255
    with torch.inference_mode():
        wanted = image_model.image_logits(images).softmax(dim=1)
        torch.testing.assert_close(found.image_logits(images).softmax(dim=1), wanted, atol=1e-5, rtol=0)


def _address(triton: InferenceServerClient) -> str:
    return str(triton._channel._channel.target().decode()).removeprefix("dns:///")


@pytest.mark.parametrize(
    ("ask", "code", "said"),
    [
        (lambda triton: infer(triton, "nobody", PICTURES), "NOT_FOUND", "unknown_model: There is no model 'nobody'"),
        (lambda triton: triton.is_model_ready("a/versions/v1"), "NOT_FOUND", "There is no model"),
        (lambda triton: triton.get_model_metadata("faces", "v99"), "NOT_FOUND", "not_found"),
        (lambda triton: infer(triton, "faces", [b"no picture"]), "INVALID_ARGUMENT", "image"),
        (lambda triton: infer(triton, "faces", [PICTURES[0], b"?"]), "INVALID_ARGUMENT", "Input 1: "),
        (lambda triton: infer(triton, "faces", PICTURES, parameters={"tigger": "v1"}), "INVALID_ARGUMENT", "tigger"),
        (lambda triton: infer(triton, "faces", [b"x" * MAX_BODY]), "RESOURCE_EXHAUSTED", "body_too_large"),
        (lambda triton: triton.infer("faces", [tensor("image", [])]), "INVALID_ARGUMENT", ""),
    ],
)
def test_problems_are_codes(doors: Doors, ask: Any, code: str, said: str) -> None:
    with pytest.raises(InferenceServerException) as caught:
        ask(doors[1])
    assert code_of(caught) == code and said in caught.value.message()


def test_a_deadline_is_the_request_s_own(doors: Doors) -> None:
    with pytest.raises(InferenceServerException) as caught:
        infer(doors[1], "faces", PICTURES * 20, client_timeout=0.001)
    assert code_of(caught) == "DEADLINE_EXCEEDED"
    with pytest.raises(InferenceServerException) as caught:
        infer(doors[1], "faces", PICTURES * 20, headers={"x-timeout-ms": "1"})
    assert code_of(caught) == "DEADLINE_EXCEEDED" and "deadline_exceeded" in caught.value.message()


def test_calls_are_counted_as_requests_are(doors: Doors) -> None:
    http, triton = doors

    def counted() -> float:
        lines = [line for line in http.get("/metrics").text.splitlines() if "requests_total{" in line]
        return sum(float(line.rpartition(" ")[2]) for line in lines if "/v2/models/{model}/infer" in line)

    before = counted()
    infer(triton, "faces", PICTURES)
    assert counted() == before + 1


def test_keys_and_their_rates(tmp_path: Path, image_model: FrozenClassifier) -> None:
    keys, slow = tmp_path / "keys.toml", new_api_key("slow", frozenset({"predict"}), rate=0.01, burst=1)
    add_key(keys, slow)
    chosen = settings(tmp_path, grpc_port=0, api_keys=keys, client_trigger="admin")
    with FileStore(tmp_path / "store") as store, both_doors(chosen, store, [image_model]) as (_, triton):
        assert triton.is_server_live()
        for headers in (None, {"authorization": "Bearer nonsense"}):
            with pytest.raises(InferenceServerException) as caught:
                infer(triton, "faces", PICTURES, headers=headers)
            assert code_of(caught) == "UNAUTHENTICATED"
        known = {"authorization": f"Bearer {slow.text}"}
        assert infer(triton, "faces", PICTURES, headers=known).as_numpy("scores").shape == (3, 2)
        with pytest.raises(InferenceServerException) as caught:
            infer(triton, "faces", PICTURES, headers=known)
        assert code_of(caught) == "RESOURCE_EXHAUSTED" and "too_many_requests" in caught.value.message()
        with pytest.raises(InferenceServerException) as caught:
            infer(triton, "faces", PICTURES, model_version="none", headers={"authorization": f"Bearer {TOKEN}x"})
        assert code_of(caught) == "UNAUTHENTICATED"


def test_a_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    async def bind(port: int) -> None:
        GrpcServer(FastAPI(), settings(tmp_path, grpc_port=port)).bind()

    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ConfigError, match="is the port free"):
        asyncio.run(bind(taken.getsockname()[1]))


def test_several_processes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="grpc_port is for a service of one process"):
        settings(tmp_path, grpc_port=8081, http_workers=2)
    with pytest.raises(ValidationError, match="choose another"):
        settings(tmp_path, grpc_port=8080)


@pytest.mark.process
def test_the_program_says_where_and_ends_cleanly(tmp_path: Path) -> None:
    with process(tmp_path, [image_bundle(tmp_path / "faces")], grpc_port=0) as running:
        wait_until(lambda: "gRPC at " in running.log.read_text())
        address = running.log.read_text().partition("gRPC at ")[2].split()[0]
        with InferenceServerClient(address) as triton:
            assert triton.is_server_ready()
        assert running.stop() == 0
    assert "Traceback" not in running.log.read_text()
