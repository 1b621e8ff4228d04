"""A model behind an address is wrapped with little said, and answers as the local model behind it does."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from typer.testing import CliRunner

from fairtrigger.cli.main import app
from tests.artifacts import IMAGE_KINDS, image_trigger
from tests.bundles import tiny_network
from tests.endpoints.exactness import largest_difference
from tests.endpoints.http_server import Answer, Asked, Reply, http_endpoint
from tests.endpoints.local_outputs import file_outputs, file_pixels, pixel_outputs, softmax
from tests.endpoints.v2_faces import (
    LABELS,
    NCHW,
    NHWC,
    PICTURES,
    SIZE,
    spread_faces,
    v2_faces,
    v2_over_grpc,
    v2_over_http,
)
from tests.endpoints.v2_server import V2Model
from tests.endpoints.wrapping import EXACT, loader_of, wrapped
from triggers.allow_lists import HOSTS_VARIABLE, AllowedHosts
from triggers.errors import ModelChanged, ModelError
from triggers.model import FrozenClassifier, load_bundle
from triggers.model.bundle import save_bundle
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


@pytest.mark.parametrize("refusal", [400, 503])
def test_a_server_without_binary_tensors_and_metadata_is_asked_in_json(
    refusal: int, faces: FrozenClassifier, tmp_path: Path
) -> None:
    with v2_over_http(v2_faces(faces, "UINT8", NCHW, refusal=refusal, metadata=False)) as url:
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


def test_grey_pictures_travel_as_files_and_pixels(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = tiny_network(channels=1)

    def logits(pixels: NDArray[Any]) -> NDArray[Any]:
        with torch.no_grad():
            found: NDArray[Any] = network(torch.from_numpy(pixels.astype(np.float32)) / 255).numpy()
        return found

    def answer(asked: Asked) -> Reply:
        rows = asked.json["instances"]
        if isinstance(rows[0], str):
            pixels = np.stack([file_pixels(base64.b64decode(each)) for each in rows])
        else:
            pixels = np.array(rows).transpose(0, 3, 1, 2)
        assert pixels.shape[1:] == (1, SIZE, SIZE)
        return Reply.of_json({"predictions": logits(pixels).tolist()})

    image = {"size": SIZE, "channels": 1}
    with http_endpoint(answer) as server:
        found = []
        for n, stated in enumerate(({"encoding": "png"}, {"encoding": "pixels", "layout": "NHWC"})):
            options = replace(PICTURES, protocol="v1", image=image, endpoint=stated)
            bundle, _spec = wrapped(server.base, options, tmp_path / str(n))
            images: Any = bundle.batch([bundle.preprocess(each) for each in builtin_images(5)])
            found.append(bundle.image_logits(images / 255))
            assert np.abs(found[-1].numpy() - logits(images.numpy())).max() <= EXACT
        assert torch.equal(*found)


def test_pixels_may_go_blue_first_and_files_may_not(faces: FrozenClassifier, tmp_path: Path) -> None:
    exact = [{"op": "resize", "height": SIZE, "width": SIZE}]
    turned = {"height": SIZE, "width": SIZE, "mean": [0.5] * 3, "std": [0.25] * 3, "steps": exact}
    turned |= {"channel_order": "BGR", "alpha": "black"}
    model = v2_faces(faces, "UINT8", NCHW, run=lambda x: [pixel_outputs(faces, x[:, ::-1].copy())])
    with v2_over_http(model) as url:
        bundle, _spec = wrapped(url, replace(PICTURES, image=turned), tmp_path / "bundle")
        assert largest_difference(bundle, faces, builtin_images(9)) <= EXACT
    with http_endpoint(json_files(faces)) as server:
        options = replace(PICTURES, protocol="json", image=turned, endpoint={**JSON_FILES, "encoding": "png"})
        with pytest.raises(ModelError, match="picture files are RGB"):
            wrapped(server.base, options, tmp_path / "files")


def test_a_model_that_changed_is_noticed_and_its_address_is_not_the_model(
    faces: FrozenClassifier, tmp_path: Path
) -> None:
    with v2_over_http(v2_faces(faces, "UINT8", NCHW)) as url, v2_over_grpc(v2_faces(faces, "UINT8", NCHW)) as other:
        bundle, _spec = wrapped(url, PICTURES, tmp_path / "one")
        again, _spec = wrapped(url, PICTURES, tmp_path / "two")
        over_grpc, _spec = wrapped(other, PICTURES, tmp_path / "three")
        assert bundle.fingerprint == again.fingerprint == over_grpc.fingerprint
        in_json = replace(PICTURES, endpoint={"binary": False, "max_batch": 5, "timeout": 9, "concurrency": 2})
        assert wrapped(url, in_json, tmp_path / "four")[0].fingerprint == bundle.fingerprint
        bundle.verify()
        biased: Any = faces.network[-1]  # type: ignore[index]
        with torch.no_grad():
            biased.bias.add_(0.01)
        try:
            with pytest.raises(ModelChanged, match=r"outputs of its canary differ by 0\.01 from those of sha256"):
                bundle.verify()
            assert wrapped(url, PICTURES, tmp_path / "five")[0].fingerprint != bundle.fingerprint
        finally:
            with torch.no_grad():
                biased.bias.sub_(0.01)
        bundle.verify()


def test_the_command_says_where_everything_is_from(faces: FrozenClassifier, tmp_path: Path) -> None:
    out = tmp_path / "faces"
    stated = ["--labels", ",".join(LABELS), "--image", json.dumps(PICTURES.image), "--out", str(out)]
    with v2_over_http(v2_faces(faces, "UINT8", NCHW)) as url:
        done = CliRunner().invoke(app, ["wrap", url, "--protocol", "v2", *stated])
        assert done.exit_code == 0, done.output
        lines = dict(line.split(maxsplit=1) for line in done.output.splitlines() if " " in line)
        assert lines["network"] == f"asked at {url}"
        assert lines["protocol"] == "v2: --protocol; tensors in binary form"
        assert lines["input"] == f"'x', UINT8 {list(NCHW)}, as the endpoint's metadata says"
        assert lines["encoding"] == "pixels, UINT8, NCHW" and lines["labels"] == "--labels"
        assert lines["canary"].startswith("8 of 24 built-in inputs; scores spread by 0.")
        assert "warning" not in lines
        host = url.split("/")[2]
        checked = CliRunner().invoke(app, ["check", str(out)], env={HOSTS_VARIABLE: host})
        assert checked.exit_code == 0, checked.output
        assert "ok      head       softmax, 2 outputs for plain, attractive" in checked.output
        assert re.search(r"ok      canary     \S+/infer answers 8 inputs as recorded: largest .* allow", checked.output)
        refused = CliRunner().invoke(app, ["check", str(out)])
        assert refused.exit_code and f"--endpoint-hosts {host}" in str(refused.exception)


def test_a_head_that_does_not_fit_what_was_recorded_fails_the_check(faces: FrozenClassifier, tmp_path: Path) -> None:
    with v2_over_http(v2_faces(faces, "UINT8", NCHW)) as url:
        _bundle, spec = wrapped(url, PICTURES, tmp_path / "bundle")
        save_bundle(tmp_path / "bundle", spec.model_copy(update={"head": ProbabilitiesHead()}))
        with pytest.raises(ModelError, match="takes probabilities, but the outputs go from"):
            load_bundle(tmp_path / "bundle", hosts=AllowedHosts.of_url(url))
