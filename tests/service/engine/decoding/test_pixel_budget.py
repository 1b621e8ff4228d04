"""The pixels of a request are those of the largest pictures on the way to the network, not those of its files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.bundles import oblong_bundle
from tests.service.live import as_item, encoded, running, settings
from triggers.model import load_bundle
from triggers.store.file_store import FileStore


def thin(width: int) -> bytes:
    return encoded(np.zeros((20, width, 3), dtype=np.uint8))


def test_files_that_the_steps_enlarge_count_as_what_they_become(tmp_path: Path, filled_store: FileStore) -> None:
    model = load_bundle(oblong_bundle(tmp_path / "oblong"))  # 20 x 500 pixels become 44 x 1100, that is 48,400
    limits = {"max_pixels": 60_000, "max_request_pixels": 120_000}
    with running(settings(tmp_path, **limits), filled_store, [model]) as client:

        def answer(*files: bytes) -> tuple[int, str | list[str | None]]:
            response = client.post("/v1/models/oblong/predict", json={"inputs": [as_item(data) for data in files]})
            document = response.json()
            if response.status_code != 200:
                return response.status_code, document["code"]
            return 200, [(one.get("error") or {}).get("code") for one in document["predictions"]]

        assert answer(thin(500), thin(500)) == (200, [None, None])
        assert answer(thin(500), thin(500), thin(500)) == (413, "request_too_many_pixels")
        assert answer(thin(500), thin(700), thin(500)) == (200, [None, "image_too_many_pixels", None])
