"""A model behind an address may answer labels alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.endpoints.http_server import Asked, Reply, http_endpoint
from tests.endpoints.local_outputs import pixel_outputs
from tests.endpoints.v2_faces import (
    LABELS,
    NCHW,
    PICTURES,
    spread_faces,
    v2_over_http,
)
from tests.endpoints.v2_server import V2Model
from tests.endpoints.wrapping import wrapped
from triggers.errors import ModelError
from triggers.model import FrozenClassifier
from triggers.model.head import LabelsHead
from triggers.sources import read_source
from triggers.sources.builtin_inputs import builtin_images


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> FrozenClassifier:
    """A tiny image classifier that tells built-in pictures apart."""
    return spread_faces(tmp_path_factory.mktemp("local"))


def test_a_v2_model_may_answer_labels_alone(faces: FrozenClassifier, tmp_path: Path) -> None:
    def run(elements: NDArray[Any]) -> Sequence[NDArray[Any]]:
        best = pixel_outputs(faces, elements).argmax(axis=1)
        return [np.array([[LABELS[n].encode()] for n in best], dtype=np.object_)]

    with v2_over_http(V2Model(run, [("x", "UINT8", NCHW)], [("class", "BYTES", (-1, 1))])) as url:
        with pytest.raises(ModelError, match=r"the label 'attractive', which is none of young, old|'plain', which"):
            read_source(url, replace(PICTURES, labels=("young", "old")))
        with pytest.raises(ModelError, match=r"a model that answers labels alone has no scores for a threshold"):
            wrapped(url, replace(PICTURES, threshold=0.7), tmp_path / "bundle")
        bundle, spec = wrapped(url, PICTURES, tmp_path / "bundle")
        assert isinstance(spec.head, LabelsHead) and spec.origin["head"] == "labels alone: scores are 1 and 0"
        _same_labels(bundle, faces)


@pytest.mark.parametrize("numbers", [False, True])
def test_a_json_model_may_answer_labels_alone(numbers: bool, faces: FrozenClassifier, tmp_path: Path) -> None:
    def answer(asked: Asked) -> Reply:
        best = pixel_outputs(faces, np.array(asked.json["instances"])).argmax(axis=1).tolist()
        return Reply.of_json({"predictions": best if numbers else [LABELS[n] for n in best]})

    stated = {"encoding": "pixels"}
    with http_endpoint(answer) as server:
        if not numbers:
            with pytest.raises(ModelError, match=r'answers labels \(.*\), no scores: say --endpoint \'\{"scores": "la'):
                read_source(server.base, replace(PICTURES, protocol="v1", endpoint=stated))
        options = replace(PICTURES, protocol="v1", endpoint={**stated, "scores": "labels"})
        bundle, _spec = wrapped(server.base, options, tmp_path / "bundle")
        _same_labels(bundle, faces)


def _same_labels(bundle: FrozenClassifier, local: FrozenClassifier) -> None:
    """The labels of the local model, with scores of exactly 1 and 0."""
    images = local.batch([local.preprocess(each) for each in builtin_images()])
    assert isinstance(images, torch.Tensor)
    found = bundle.image_logits(images / 255.0).softmax(dim=1)
    best = local.image_logits(images / 255.0).argmax(dim=1)
    assert torch.equal(found, torch.nn.functional.one_hot(best, 2).float())
    assert len(best.unique()) == 2, "the local model answers one label only: this shows nothing"
