"""This service itself is an endpoint: its V2 is wrapped by address, over HTTP, with files in base64 and as they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.endpoints.exactness import largest_difference
from tests.endpoints.v2_faces import PICTURES
from tests.endpoints.wrapping import EXACT, loader_of, wrapped
from triggers.model import FrozenClassifier
from triggers.sources import WrapOptions
from triggers.sources.builtin_inputs import builtin_images, builtin_texts

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("stated", "expected"), [({}, ("raw", True)), ({"file_bytes": "base64"}, ("base64", False))])
def test_a_service_may_stand_before_another(
    stated: dict[str, Any],
    expected: tuple[str, bool],
    service: httpx.Client,
    image_model: FrozenClassifier,
    tmp_path: Path,
) -> None:
    url = str(service.base_url.join("/v2/models/faces/versions/none"))
    options = replace(PICTURES, output="scores", endpoint=stated)
    bundle, spec = wrapped(url, options, tmp_path / "bundle")
    loader = loader_of(bundle)
    assert (loader.encoding, loader.file_bytes, loader.binary) == ("png", *expected)
    assert spec.head.kind == "probabilities" and spec.name == "faces"
    assert largest_difference(bundle, image_model, builtin_images()) <= EXACT


def test_a_service_of_texts_as_well(service: httpx.Client, text_model: FrozenClassifier, tmp_path: Path) -> None:
    url = str(service.base_url.join("/v2/models/posts/versions/none"))
    bundle, _spec = wrapped(url, WrapOptions(labels=("civil", "toxic"), output="scores"), tmp_path / "bundle")
    assert largest_difference(bundle, text_model, builtin_texts(9)) <= EXACT
