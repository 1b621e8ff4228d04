"""A score file is audited as it is: its labels, the one whose rate counts, versions, groups and digests are known."""

from __future__ import annotations

from pathlib import Path

import pytest

from fairtrigger.auditing import audit
from fairtrigger.scoring import score
from tests.fairtrigger.scoring import texts
from tests.fairtrigger.scoring.conftest import Desk


@pytest.mark.parametrize("name", ["out.parquet", "out.csv"])
def test_an_audit_needs_to_be_told_nothing_of_a_score_file(desk: Desk, tmp_path: Path, name: str) -> None:
    source, out = texts.csv_file(tmp_path / "in.csv", texts.rows(60)), tmp_path / name
    score(desk.posts, source, out, trigger=["none", "v1"], store=desk.store, label="toxic", group=["sex"])
    document = audit(out).document
    spec = desk.text.spec
    assert document["terms"]["labels"] == list(spec.labels)
    assert document["terms"]["positive"] == spec.labels[spec.pos_label]
    assert document["model"] == {"name": spec.name, "digest": desk.text.fingerprint}
    found = texts.scored(out)
    for version in ("none", "v1"):
        chosen = [each for each in found if each["version"] == version]
        selected = sum(each["label"] == document["terms"]["positive"] for each in chosen)
        overall = document["figures"][version]["overall"]
        assert (overall["n"], overall["selection_rate"]["value"]) == (60, pytest.approx(selected / 60))
