"""Swaps under load through an endpoint: none fails, and every answer is of the version that it names."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.artifacts import artifact_for
from tests.commanded_endpoint import commanded_endpoint
from tests.service.live import process
from tests.service.swapping import KINDS, swap_under_load
from triggers.store.file_store import FileStore

pytestmark = [pytest.mark.process, pytest.mark.slow]


@pytest.mark.parametrize("swaps", [20, pytest.param(200, marks=pytest.mark.soak)])
def test_swaps_under_load_through_an_endpoint(tmp_path: Path, swaps: int) -> None:
    with commanded_endpoint() as endpoint:
        classifier = endpoint.classifier(tmp_path / "faces")
        with FileStore(tmp_path / "store") as store:
            for seed, kind in enumerate(KINDS):
                store.publish(artifact_for(classifier, kind, seed), actor="test")
        hosts = f"127.0.0.1:{endpoint.port}"
        with process(tmp_path, [tmp_path / "faces"], endpoint_hosts=hosts, torch_threads=1) as served:
            report = swap_under_load(served.client, swaps=swaps, pause=0.03, clients=4)
        with FileStore(tmp_path / "store") as store:
            store.verify_history("faces")
    assert report.failures == []
    assert report.answers > swaps
