"""What is wrong about an address ends in one line that says what to do, and no bundle is written."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.endpoints.http_server import Answer, Reply, http_endpoint
from tests.endpoints.local_outputs import pixel_outputs, softmax
from tests.endpoints.v2_faces import NCHW, PICTURES, SIZE, spread_faces, v2_faces, v2_over_grpc, v2_over_http
from tests.endpoints.v2_server import V2Model
from tests.endpoints.wrapping import loader_of, wrapped
from triggers.errors import ConfigError, EndpointUnavailable, FairtriggerError, ModelError
from triggers.model import FrozenClassifier
from triggers.sources import WrapOptions, read_source

PIXELS = replace(PICTURES, protocol="v1", endpoint={"encoding": "pixels"})


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> FrozenClassifier:
    """A tiny image classifier that tells built-in pictures apart."""
    return spread_faces(tmp_path_factory.mktemp("local"))


def pixel_server(answer: Callable[[Any], Any]) -> Answer:
    """`{"predictions": ...}` of the pixels in `instances`."""
    return lambda asked: Reply.of_json({"predictions": answer(np.array(asked.json["instances"]))})


def refusal(url: str, options: WrapOptions) -> str:
    """The one line that an address is refused with."""
    with pytest.raises(FairtriggerError) as refused:
        read_source(url, options)
    (line,) = str(refused.value).splitlines()
    return line


def test_an_address_needs_a_protocol() -> None:
    assert "Give --protocol: v2, v2-grpc, json, v1, torchserve, tei" in refusal("https://h.example/x", PICTURES)
    assert "'v3' is none of: v2, v2-grpc" in refusal("https://h.example/x", replace(PICTURES, protocol="v3"))
    assert "goes with grpc://" in refusal("https://h.example/x", replace(PICTURES, protocol="v2-grpc"))
    assert "is not the usual spelling" in refusal("http://[::ffff:10.0.0.1]/x", PIXELS)
    assert "How do pictures travel" in refusal("https://h.example/x", replace(PICTURES, protocol="v1"))
    assert "quality is for encoding jpeg" in refusal(
        "https://h.example/x", replace(PICTURES, protocol="v1", endpoint={"encoding": "jpeg"})
    )


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_an_endpoint_that_is_gone_is_unavailable(scheme: str) -> None:
    with http_endpoint(pixel_server(len)) as server:
        port = server.base.rpartition(":")[2]
    url = f"{scheme}://127.0.0.1:{port}/v2/models/faces"
    with pytest.raises(EndpointUnavailable, match="cannot be reached"):
        read_source(url, PICTURES)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(b'{"error": "who are you?"}', 401), r"answers 401: .*who are you.*Give credentials, as --endpoint"),
        (Reply(b"no", 404), "answers 404: no"),
        (Reply(b"", 302, {"location": "http://127.0.0.1:1/"}), "redirects are not followed"),
        (Reply(b"<!DOCTYPE html><title>Welcome</title>"), "a page of HTML or XML, no JSON: is the address"),
        (Reply.of_json({"outputs": [1]}), "has no 'predictions' where `loader.output` leads: there it has 'outputs'"),
        (Reply.of_json({"predictions": [[1, 2]]}), r"a table of \(1, 2\), not \(24, 2\)"),
        (Reply.of_json({"predictions": [["high", "low"]] * 24}), "no table of numbers"),
        (Reply.of_json({"predictions": [[1.0, float("nan")]] * 24}), "NaN or infinity"),
        (Reply.of_json({"predictions": [[1.0, 2.0, 3.0]] * 24}), r"has 3 outputs and --labels names 2"),
        (Reply.of_json({"predictions": [[0.9, 0.4]] * 24}), r"between 0.4 and 0.9: probabilities, or.*--head"),
        (Reply.of_json({"predictions": [[0.9]] * 24}), r"between 0.9 and 0.9: probabilities, or.*\"sigmoid\""),
    ],
)
def test_an_answer_of_another_kind_is_refused(reply: Reply, reason: str) -> None:
    with http_endpoint(lambda _asked: reply) as server, pytest.raises(ModelError, match=reason) as refused:
        read_source(server.base, PIXELS)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("status", [429, 503])
def test_an_endpoint_that_is_busy_is_asked_later(status: int) -> None:
    with http_endpoint(lambda _asked: Reply(b"", status, {"retry-after": "7"})) as server:
        with pytest.raises(EndpointUnavailable, match=f"answers {status}") as refused:
            read_source(server.base, PIXELS)
    assert refused.value.retry_after == 7


def test_credentials_that_are_missing_are_named(tmp_path: Path) -> None:
    with http_endpoint(pixel_server(len)) as server:
        for credentials, place in (
            ({"environment": "NO_SUCH_TOKEN"}, "no NO_SUCH_TOKEN"),
            ({"file": str(tmp_path / "none")}, f"none in {tmp_path / 'none'}"),
        ):
            stated = {"encoding": "pixels", "credentials": credentials}
            with pytest.raises(ConfigError, match=f"credentials are missing: .*{place}"):
                read_source(server.base, replace(PIXELS, endpoint=stated))
        assert not server.asked


def test_probabilities_are_not_taken_for_logits_nor_logits_for_probabilities(
    faces: FrozenClassifier, tmp_path: Path
) -> None:
    scores = pixel_server(lambda pixels: softmax(pixel_outputs(faces, pixels)).tolist())
    logits = pixel_server(lambda pixels: pixel_outputs(faces, pixels).tolist())
    with http_endpoint(scores) as server:
        assert "already are probabilities" in refusal(server.base, replace(PIXELS, head={"kind": "softmax"}))
        bundle, spec = wrapped(server.base, PIXELS, tmp_path / "bundle")
        assert spec.head.kind == "probabilities"
        server.answer = logits
        with pytest.raises(ModelError, match="takes probabilities, but the outputs go from"):
            bundle.image_logits(torch.rand(2, 3, SIZE, SIZE))
        assert "takes probabilities, but the outputs go from" in refusal(
            server.base, replace(PIXELS, head={"kind": "probabilities"})
        )


@pytest.mark.parametrize("noise", [1e-6, 1e-2, 1.0])
def test_the_endpoints_own_noise_sets_the_tolerance(noise: float, faces: FrozenClassifier, tmp_path: Path) -> None:
    chance = random.Random(0)

    def run(elements: Any) -> Any:
        away = np.array([[chance.uniform(-noise, noise)] * 2 for _ in elements], np.float32) * [[1, 0]]
        return [(pixel_outputs(faces, elements) + away).astype(np.float32)]

    with v2_over_http(v2_faces(faces, "UINT8", NCHW, run=run)) as url:
        if noise == 1.0:
            assert "differ by up to 0." in refusal(url, PICTURES)
            assert "no trigger can be judged on it" in refusal(url, PICTURES)
            return
        bundle, spec = wrapped(url, PICTURES, tmp_path / "bundle")
        tolerance = loader_of(bundle).canary_tolerance
        assert tolerance == 1e-3 if noise < 1e-5 else 1e-2 < tolerance < 1e-1
        for _ in range(5):
            bundle.verify()
        assert f"tolerance {tolerance:.1e}" in spec.origin["canary"]
        strict = replace(PICTURES, endpoint={"canary_tolerance": 1e-9})
        assert "canary_tolerance is 1.0e-09, but outputs" in refusal(url, strict)


def test_batches_that_change_scores_are_refused_with_their_cure(faces: FrozenClassifier, tmp_path: Path) -> None:
    def run(elements: Any) -> Any:
        logits = pixel_outputs(faces, elements)
        return [logits - logits.mean(axis=0) if len(logits) > 1 else logits]

    with v2_over_http(v2_faces(faces, "UINT8", NCHW, run=run)) as url:
        assert "--endpoint '{\"max_batch\": 1}'" in refusal(url, PICTURES)
        bundle, _spec = wrapped(url, replace(PICTURES, endpoint={"max_batch": 1}), tmp_path / "bundle")
        assert loader_of(bundle).max_batch == 1


def test_a_model_that_hardly_answers_differently_is_a_poor_canary(faces: FrozenClassifier) -> None:
    with http_endpoint(pixel_server(lambda pixels: [[3.0, -3.0 + each.mean() * 1e-6] for each in pixels])) as server:
        (caution,) = read_source(server.base, PIXELS).cautions
        assert "would hardly notice another model in its place" in caution
    with http_endpoint(pixel_server(lambda pixels: pixel_outputs(faces, pixels).tolist())) as server:
        assert read_source(server.base, PIXELS).cautions == ()


@pytest.mark.parametrize(
    ("inputs", "options", "reason"),
    [
        ([("x", "UINT8", (-1, 3, 99, 99))], {}, "pictures of 3 x 16 x 16, the network takes 3 x 99 x 99"),
        ([("x", "UINT8", (-1, 16, 16, 1))], {}, "pictures of 3 x 16 x 16, the network takes 1 x 16 x 16"),
        ([("x", "UINT8", NCHW), ("y", "FP32", (-1,))], {}, "takes inputs x, y: if one is enough, name it"),
        ([("x", "UINT8", NCHW)], {"endpoint": {"input": "z"}}, "no input 'z': its metadata names x"),
        ([("x", "BOOL", NCHW)], {}, "of BOOL, which nothing here travels as"),
        ([("x", "BYTES", (-1,))], {"endpoint": {"encoding": "pixels"}}, "is of BYTES: encoding must be"),
        ([("x", "FP32", NCHW)], {"endpoint": {"encoding": "png"}}, "is of FP32, no BYTES for png"),
        ([("x", "FP32", NCHW)], {"image": None}, "How are pictures prepared"),
    ],
)
@pytest.mark.parametrize("serve", [v2_over_http, v2_over_grpc])
def test_what_metadata_contradicts_is_refused(
    inputs: Any, options: dict[str, Any], reason: str, serve: Any, faces: FrozenClassifier
) -> None:
    with serve(V2Model(lambda _x: [], inputs, [("o", "FP32", (-1, 2))])) as url:
        assert reason in refusal(url, replace(PICTURES, **options))
