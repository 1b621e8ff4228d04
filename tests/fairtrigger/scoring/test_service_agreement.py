"""Figures in a score file are those that a service answers over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fairtrigger.scoring import BatchScorer, score
from tests.fairtrigger.scoring import texts
from tests.fairtrigger.scoring.conftest import Desk
from tests.service import live
from triggers.store import open_store


def test_scores_and_labels_are_the_services(desk: Desk, tmp_path: Path) -> None:
    made = texts.rows(12)
    inputs: dict[str, list[Any]] = {
        "posts": [row["text"] for row in made],
        "faces": [live.picture(seed, 30) for seed in range(12)],
    }
    (tmp_path / "faces").mkdir()
    for at, data in enumerate(inputs["faces"]):
        (tmp_path / f"faces/{at:02}.png").write_bytes(data)
    sources = {"posts": texts.csv_file(tmp_path / "in.csv", made), "faces": tmp_path / "faces"}
    with (
        open_store(desk.store) as store,
        live.running(live.settings(tmp_path), store, [desk.text, desk.image]) as client,
    ):
        for model, folder in (("posts", desk.posts), ("faces", desk.faces)):
            out = tmp_path / f"{model}.parquet"
            score(folder, sources[model], out, trigger=["none", "v1", "v2"], store=store, batch_size=5)
            found = texts.scored(out)
            for version in ("none", "v1", "v2"):
                answers = live.predict(client, model, inputs[model], trigger=version)
                mine = [each for each in found if each["version"] == version]
                for each, answer in zip(mine, answers, strict=True):
                    assert each["label"] == answer["label"]
                    assert (each["digest"] or None) == answer["trigger"]["digest"]
                    figures = {label: each[f"score_{label}"] for label in answer["scores"]}
                    assert figures == pytest.approx(answer["scores"], abs=1e-5)


def test_a_scorer_takes_batches_of_another_engine(desk: Desk) -> None:
    scorer = BatchScorer.open(desk.posts, ["none", "v1"], desk.store)
    found = scorer(["a good movie", "", "the dog said"])
    assert [(each["row"], each.get("version")) for each in found] == [
        (0, "none"), (0, "v1"), (1, None), (2, "none"), (2, "v1"),
    ]  # fmt: skip
    assert "empty" in found[2]["error"]
    assert found[0]["score_civil"] + found[0]["score_toxic"] == pytest.approx(1)
    assert found[0]["label"] == ("toxic" if found[0]["score_toxic"] > found[0]["score_civil"] else "civil")
