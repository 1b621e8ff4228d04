"""Fixtures of the service's tests: a service with tight limits, and the backing stores of the ledger.

The service is shared by the tests of one module, which only send it what it refuses.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

if TYPE_CHECKING:
    from tests.service.stores import Where
    from triggers.model.classifier import FrozenClassifier

MAX_BODY = 300_000


@pytest.fixture(scope="module")
def strict(
    tmp_path_factory: pytest.TempPathFactory, image_model: FrozenClassifier, text_model: FrozenClassifier
) -> Iterator[httpx.Client]:
    """Both models with small limits; `faces` has one version, nobody is champion."""
    from tests.artifacts import artifact_for
    from tests.service.live import running, settings
    from triggers.store.file_store import FileStore

    tmp: Path = tmp_path_factory.mktemp("service")
    with FileStore(tmp / "store") as store:
        store.publish(artifact_for(image_model, "border"), actor="test")
        chosen = settings(tmp, max_body_bytes=MAX_BODY, max_items_per_request=40, max_text_chars=5000)
        with running(chosen, store, [image_model, text_model]) as client:
            yield client


@pytest.fixture(params=["file", *(pytest.param(kind, marks=pytest.mark.redis) for kind in ("redis", "cluster"))])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Where:
    """A fresh store of each kind."""
    from tests.service.stores import Where

    if request.param == "file":
        return Where(str(tmp_path / "ledger.sqlite"), tmp_path / "runs")
    name = "redis_server" if request.param == "redis" else "redis_cluster"
    return Where(request.getfixturevalue(name).url, tmp_path / "runs")
