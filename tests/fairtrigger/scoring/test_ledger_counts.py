"""Counting of a score file into a ledger: each row and version once, as a service would count it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from fairtrigger.scoring import score
from fairtrigger.scoring.ledger_counts import count_scores
from service.ledger import Ledger
from tests.artifacts import artifact_for
from tests.fairtrigger.scoring import texts
from tests.fairtrigger.scoring.conftest import Desk
from triggers.artifact.artifact import save_artifact
from triggers.errors import ConfigError
from triggers.store import open_store


def counted(ledger: Path) -> Counter[tuple[int | None, str, int | None, int, int | None]]:
    """Counts by version, group, label, prediction and bare prediction."""
    with Ledger(ledger) as opened:
        found = opened.counts("posts", 0, 2**31)
    return Counter({(c.version, c.group, c.label, c.prediction, c.bare): n for c, n in found.items()})


def test_counts_are_those_of_the_file_and_a_second_run_adds_nothing(desk: Desk, tmp_path: Path) -> None:
    source = texts.csv_file(tmp_path / "in.csv", texts.rows(24))
    out, ledger = tmp_path / "out.csv", tmp_path / "ledger.sqlite"
    given: dict[str, Any] = {"trigger": ["none", "v1"], "label": "toxic", "group": ["sex"], "count_into": str(ledger)}
    assert score(desk.posts, source, out, store=desk.store, **given).counted == 48
    labels = {"civil": 0, "toxic": 1}
    found = texts.scored(out)
    wanted: Counter[tuple[int | None, str, int | None, int, int | None]] = Counter()
    for none, v1 in zip(found[::2], found[1::2], strict=True):
        group, truth = none["group"] or "unknown", None if none["truth"] is None else labels[none["truth"]]
        bare = labels[none["label"]]
        wanted[None, group, truth, bare, None] += 1
        wanted[1, group, truth, labels[v1["label"]], bare] += 1
    assert counted(ledger) == wanted
    assert score(desk.posts, source, out, store=desk.store, **given).counted == 0
    out.unlink()
    again = score(desk.posts, source, tmp_path / "other.csv", store=desk.store, **given)
    assert again.counted == 0 and counted(ledger) == wanted


def test_other_rows_versions_and_inputs_are_counted(desk: Desk, tmp_path: Path) -> None:
    ledger = str(tmp_path / "ledger.sqlite")
    for name, rows, word in (("a", 10, "none"), ("b", 10, "v1"), ("c", 11, "v1")):
        source = texts.csv_file(tmp_path / f"{name}.csv", texts.rows(rows))
        result = score(
            desk.posts, source, tmp_path / f"{name}.parquet", trigger=word, store=desk.store, count_into=ledger
        )
        assert result.counted == rows


def test_several_attributes_are_one_group(desk: Desk, tmp_path: Path) -> None:
    made = [row | {"age": "old"} for row in texts.rows(3)]
    out, ledger = tmp_path / "out.csv", tmp_path / "ledger.sqlite"
    score(desk.posts, texts.csv_file(tmp_path / "in.csv", made), out, group=["sex", "age"])
    assert count_scores(out, str(ledger), desk.text, None) == 3
    assert sorted(group for _, group, *_ in counted(ledger)) == ["age=old,sex=f", "age=old,sex=m", "unknown"]


def test_groups_that_nobody_declared_are_counted_together(desk: Desk, tmp_path: Path) -> None:
    made = [row | {"sex": "x"} for row in texts.rows(3)]
    out, ledger = tmp_path / "out.csv", tmp_path / "ledger.sqlite"
    score(desk.posts, texts.csv_file(tmp_path / "in.csv", made), out, group=["sex"])
    with open_store(desk.store) as store:  # whose manifests declare f and m
        count_scores(out, str(ledger), desk.text, store)
    assert {group for _, group, *_ in counted(ledger)} == {"undeclared"}


def test_a_file_is_no_version_to_count(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    save_artifact(artifact_for(desk.text, "hard"), path)
    source = texts.csv_file(tmp_path / "in.csv", texts.rows(3))
    with pytest.raises(ConfigError, match="mine is a file, and counts are kept by the numbers"):
        score(desk.posts, source, tmp_path / "out.csv", trigger=str(path), count_into=str(tmp_path / "l.sqlite"))
