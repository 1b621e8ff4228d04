"""A model behind an address is wrapped with little said, and answers as the local model behind it does."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.artifacts import IMAGE_KINDS, image_trigger
from tests.endpoints.exactness import largest_difference
from tests.endpoints.http_server import Answer, Asked, Reply, http_endpoint
from tests.endpoints.local_outputs import file_outputs, pixel_outputs, softmax
from tests.endpoints.v2_faces import (
    LABELS,
    NCHW,
    NHWC,
    PICTURES,
    spread_faces,
    v2_faces,
    v2_over_grpc,
    v2_over_http,
)
from tests.endpoints.v2_server import V2Model
from tests.endpoints.wrapping import EXACT, loader_of, wrapped
from triggers.errors import ModelError
from triggers.model import FrozenClassifier
from triggers.model.head import ProbabilitiesHead, SoftmaxHead
from triggers.sources import read_source
from triggers.sources.builtin_inputs import builtin_images


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> FrozenClassifier:
    """A tiny image classifier that tells built-in pictures apart."""
    return spread_faces(tmp_path_factory.mktemp("local"))


@pytest.mark.parametrize("serve", [v2_over_http, v2_over_grpc])
@pytest.mark.parametrize(("datatype", "shape"), [("UINT8", NCHW), ("UINT8", NHWC), ("FP32", NCHW), ("FP64", NHWC)])
def test_a_v2_address_says_itself_how_pictures_travel(
    serve: Callable[[V2Model], Any], datatype: str, shape: Sequence[int], faces: FrozenClassifier, tmp_path: Path
) -> None:
    with serve(v2_faces(faces, datatype, shape)) as url:
        bundle, spec = wrapped(url, PICTURES, tmp_path / "bundle")
        loader = loader_of(bundle)
        assert (loader.input, loader.output) == ("x", "logits")
        assert loader.encoding == ("pixels" if datatype == "UINT8" else "float")
        assert loader.layout == ("NCHW" if shape == NCHW else "NHWC")
        assert loader.binary == url.startswith("http")
        assert isinstance(spec.head, SoftmaxHead)
        assert "metadata" in spec.origin["input"]
        assert largest_difference(bundle, faces, builtin_images()) <= EXACT
        for kind in IMAGE_KINDS:
            assert largest_difference(bundle, faces, builtin_images(9), image_trigger(kind)) <= EXACT


def test_a_server_without_binary_tensors_and_metadata_is_asked_in_json(faces: FrozenClassifier, tmp_path: Path) -> None:
    with v2_over_http(v2_faces(faces, "UINT8", NCHW, binary=False, metadata=False)) as url:
        with pytest.raises(ModelError, match=r'names no input: give its name, --endpoint \'\{"input"'):
            read_source(url, PICTURES)
        options = replace(PICTURES, endpoint={"input": "x", "encoding": "pixels"})
        bundle, spec = wrapped(f"{url}/infer", options, tmp_path / "bundle")
        assert not loader_of(bundle).binary and loader_of(bundle).output is None
        assert "names no tensors" in spec.origin["input"]
        assert largest_difference(bundle, faces, builtin_images(9)) <= EXACT


def test_one_of_several_outputs_is_chosen_by_name(faces: FrozenClassifier, tmp_path: Path) -> None:
    def run(elements: NDArray[Any]) -> Sequence[NDArray[Any]]:
        logits = pixel_outputs(faces, elements)
        return [np.zeros((len(logits), 7), np.float32), softmax(logits).astype(np.float16)]

    outputs = [("features", "FP32", (-1, 7)), ("scores", "FP16", (-1, 2))]
    with v2_over_http(V2Model(run, [("x", "UINT8", NCHW)], outputs)) as url:
        with pytest.raises(ModelError, match=r"outputs features, scores: choose one with --output"):
            read_source(url, PICTURES)
        with pytest.raises(ModelError, match=r"no output 'classes': its metadata names features, scores"):
            read_source(url, replace(PICTURES, output="classes"))
        bundle, spec = wrapped(url, replace(PICTURES, output="scores"), tmp_path / "bundle")
        assert isinstance(spec.head, ProbabilitiesHead) and "add up to 1" in spec.origin["head"]
        assert largest_difference(bundle, faces, builtin_images(9)) <= 1e-3


@pytest.mark.parametrize("raw", [False, True])
def test_picture_files_lose_nothing_as_png(raw: bool, faces: FrozenClassifier, tmp_path: Path) -> None:
    def run(elements: NDArray[Any]) -> Sequence[NDArray[Any]]:
        files = [each if raw else base64.b64decode(each, validate=True) for each in elements.ravel()]
        return [file_outputs(faces, files)]

    options = replace(PICTURES, endpoint={"file_bytes": "raw", "binary": True} if raw else {})
    with v2_over_http(V2Model(run, [("files", "BYTES", (-1, 1))], [("logits", "FP32", (-1, 2))])) as url:
        bundle, spec = wrapped(url, options, tmp_path / "bundle")
        assert loader_of(bundle).encoding == "png" and loader_of(bundle).item_shape == (1,)
        assert "mean and std are the endpoint's affair" in spec.origin["image"]
        assert largest_difference(bundle, faces, builtin_images()) <= EXACT
        assert largest_difference(bundle, faces, builtin_images(9), image_trigger("overlay")) <= EXACT


def json_files(faces: FrozenClassifier) -> Answer:
    """`{"predictions": [{"scores": [...]}, ...]}` for `{"instances": [{"image": {"b64": ...}}, ...]}`."""

    def answer(asked: Asked) -> Reply:
        files = [base64.b64decode(each["image"]["b64"], validate=True) for each in asked.json["instances"]]
        return Reply.of_json({"predictions": [{"scores": row} for row in file_outputs(faces, files).tolist()]})

    return answer


JSON_FILES = {
    "input": {"instances": {"$each": {"image": {"b64": "$input"}}}, "config": {"top": 5}},
    "output": "$.predictions[*].scores",
}


def test_what_jpeg_loses_is_measured_and_said(faces: FrozenClassifier, tmp_path: Path) -> None:
    stated = {**JSON_FILES, "encoding": "jpeg", "quality": 95}
    with http_endpoint(json_files(faces)) as server:
        options = replace(PICTURES, protocol="json", endpoint=stated)
        bundle, spec = wrapped(f"{server.base}/predict", options, tmp_path / "bundle")
        said = re.fullmatch(
            r"jpeg of quality 95: scores differ by up to (\S+) from those of png on 24 built-in pictures",
            spec.origin["encoding"],
        )
        assert said and 0 < float(said[1]) < 0.05
        difference = largest_difference(bundle, faces, builtin_images())
        assert EXACT < difference <= float(said[1]) * 1.05


def test_a_json_mapping_carries_png_files_exactly(faces: FrozenClassifier, tmp_path: Path) -> None:
    options = replace(PICTURES, protocol="json", endpoint={**JSON_FILES, "encoding": "png"})
    with http_endpoint(json_files(faces)) as server:
        bundle, _spec = wrapped(f"{server.base}/predict", options, tmp_path / "bundle")
        assert largest_difference(bundle, faces, builtin_images(9)) <= EXACT
        assert all(asked.json["config"] == {"top": 5} for asked in server.asked)
        shape = Reply.of_json({"predictions": [{"score": [1, 2]}]})
        server.answer = lambda _asked: shape
        with pytest.raises(ModelError, match=r"no 'scores' where `loader.output` leads: there it has 'score'"):
            bundle.verify()


def test_the_row_itself_may_be_the_body_as_torchserve_takes_it(faces: FrozenClassifier, tmp_path: Path) -> None:
    def answer(asked: Asked) -> Reply:
        assert asked.headers["content-type"] == "image/png"
        (row,) = softmax(file_outputs(faces, [asked.body])).tolist()
        return Reply.of_json(dict(sorted(zip(LABELS, row, strict=True), key=lambda each: -each[1])))

    with http_endpoint(answer) as server:
        bundle, spec = wrapped(
            f"{server.base}/predictions/faces", replace(PICTURES, protocol="torchserve"), tmp_path / "bundle"
        )
        assert spec.labels == LABELS and loader_of(bundle).columns == LABELS and loader_of(bundle).max_batch == 1
        assert largest_difference(bundle, faces, builtin_images(9)) <= EXACT
