"""A tiny image model behind a V2 server, over HTTP and over gRPC."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from tests.bundles import image_bundle
from tests.endpoints.grpc_server import V2Servicer, grpc_endpoint
from tests.endpoints.http_server import http_endpoint
from tests.endpoints.local_outputs import float_outputs, pixel_outputs
from tests.endpoints.v2_server import V2Model, v2_server
from triggers.model import FrozenClassifier, load_bundle
from triggers.sources import WrapOptions
from triggers.sources.builtin_inputs import builtin_images

SIZE = 16
IMAGE = {"size": SIZE, "mean": [0.5] * 3, "std": [0.25] * 3}
LABELS = ("plain", "attractive")
PICTURES = WrapOptions(labels=LABELS, image=IMAGE)
NCHW, NHWC = (-1, 3, SIZE, SIZE), (-1, SIZE, SIZE, 3)


def spread_faces(folder: Path) -> FrozenClassifier:
    """A tiny image classifier that tells built-in pictures apart: half of them are attractive."""
    found = load_bundle(image_bundle(folder))
    last: Any = found.network[-1]  # type: ignore[index]
    with torch.no_grad():
        last.weight.mul_(10)
        images: Any = found.batch([found.preprocess(each) for each in builtin_images()])
        logits = found.image_logits(images / 255)
        last.bias[1] -= (logits[:, 1] - logits[:, 0]).median() + 1e-3
    return found


def v2_faces(faces: FrozenClassifier, datatype: str, shape: Sequence[int], **change: Any) -> V2Model:
    """The image model behind a V2 input of pixels (UINT8) or of numbers after mean and std."""
    compute = pixel_outputs if datatype == "UINT8" else float_outputs

    def run(elements: NDArray[Any]) -> Sequence[NDArray[Any]]:
        table = elements if shape[1] == 3 else elements.transpose(0, 3, 1, 2)
        return [compute(faces, table)]

    fields: dict[str, Any] = {"inputs": [("x", datatype, shape)], "outputs": [("logits", "FP32", (-1, 2))]}
    return V2Model(**({"run": run} | fields | change))


@contextmanager
def v2_over_http(model: V2Model) -> Iterator[str]:
    with http_endpoint(v2_server(model)) as server:
        yield f"{server.base}/v2/models/model"


@contextmanager
def v2_over_grpc(model: V2Model) -> Iterator[str]:
    with grpc_endpoint(V2Servicer(model)) as address:
        yield f"grpc://{address}/model"
