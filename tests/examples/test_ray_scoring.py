"""The example on Ray Data: what one of its workers makes of a batch."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bundles import text_bundle

pytest.importorskip("ray", reason="the example needs ray, which is no part of this project's extras")


def test_a_worker_scores_a_batch_by_its_ids(tmp_path: Path) -> None:
    import pandas

    from examples.ray_scoring import ScoreTexts

    worker = ScoreTexts(str(text_bundle(tmp_path / "posts")), ["none"], None, "key", "text")
    found = worker(pandas.DataFrame({"key": [7, 8], "text": ["a good movie", ""]}))
    assert list(found.columns) == ["id", "label", "score_civil", "score_toxic", "version", "digest", "error"]
    assert found["id"].tolist() == ["7", "8"]
    assert found["version"].iloc[0] == "none" and "empty" in found["error"].iloc[1]
