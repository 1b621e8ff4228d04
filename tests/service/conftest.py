"""A service with tight limits, shared by the tests of one module that only send it what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.artifacts import artifact_for
from tests.service.live import running, settings
from triggers.classifier import FrozenClassifier
from triggers.file_store import FileStore

MAX_BODY = 300_000


@pytest.fixture(scope="module")
def strict(
    tmp_path_factory: pytest.TempPathFactory, image_model: FrozenClassifier, text_model: FrozenClassifier
) -> Iterator[httpx.Client]:
    """Both models with small limits; `faces` has one version, nobody is champion."""
    tmp: Path = tmp_path_factory.mktemp("service")
    with FileStore(tmp / "store") as store:
        store.publish(artifact_for(image_model, "border"), actor="test")
        chosen = settings(tmp, max_body_bytes=MAX_BODY, max_items_per_request=40, max_text_chars=5000)
        with running(chosen, store, [image_model, text_model]) as client:
            yield client
