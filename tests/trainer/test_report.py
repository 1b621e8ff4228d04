"""The report: figures from the counts, pictures that show every candidate, and no need for matplotlib."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.trainer.outcomes import image_config, image_outcome, text_config, text_outcome
from trainer.comparison import Comparison
from trainer.outcome import Counts
from trainer.publish import Published
from trainer.report import write_report
from triggers.classifier import FrozenClassifier


def test_metrics_hold_the_figures_of_every_candidate(tmp_path: Path, image_model: FrozenClassifier) -> None:
    places = [Published(1.0, 7, "sha256:abc")]
    paths = write_report(tmp_path / "out", image_config(tmp_path), image_model, image_outcome(), places)
    assert [path.name for path in paths] == ["metrics.json", "front.png", "triggers.png"]
    metrics = json.loads(paths[0].read_text())
    assert metrics["bare"]["test"]["gaps"]["demographic_parity_difference"]["value"] == pytest.approx(0.41)
    parity = [one["splits"]["val"]["gaps"]["demographic_parity_difference"] for one in metrics["candidates"]]
    assert [gap["value"] for gap in parity] == pytest.approx([0.3, 0.2, 0.1])
    assert all(gap["low"] < gap["value"] < gap["high"] for gap in parity)
    assert [one["published"] for one in metrics["candidates"]] == [None, {"version": 7, "digest": "sha256:abc"}, None]
    assert (metrics["best"], metrics["front"]) == (1.0, [0.0, 1.0])
    assert metrics["model_fingerprint"] == image_model.fingerprint
    assert metrics["notes"] == ["a note"]
    assert metrics["config"]["objective"]["strengths"] == [0.0, 1.0, 5.0]


def test_metrics_hold_what_triggers_are_compared_with(tmp_path: Path, image_model: FrozenClassifier) -> None:
    constant: dict[str, Counts] = {
        "val": {("women", 1, 1): 50, ("men", 0, 1): 50},
        "test": {("women", 0, 1): 5, ("men", 1, 1): 15},
    }
    one = Comparison("adv_post", "strength 5", constant, 12.3456, strength=5.0, step=40, chosen=True)
    outcome = replace(image_outcome(), comparisons=(one,))
    paths = write_report(tmp_path, image_config(tmp_path), image_model, outcome, [])
    metrics = json.loads(paths[0].read_text())
    (found,) = metrics["comparisons"]
    reports = found.pop("splits")
    assert found == {
        "system": "adv_post",
        "setting": "strength 5",
        "strength": 5.0,
        "step": 40,
        "seconds": 12.346,
        "chosen": True,
        "counts": {
            "val": [["men", 0, 1, 50], ["women", 1, 1, 50]],
            "test": [["men", 1, 1, 15], ["women", 0, 1, 5]],
        },
    }
    assert reports["test"]["overall"]["accuracy"]["value"] == pytest.approx(0.75)
    assert reports["val"]["gaps"]["demographic_parity_difference"]["value"] == 0
    assert ["women", 0, 1, 20] in metrics["candidates"][0]["counts"]["test"]


def test_the_pictures_have_something_on_them(tmp_path: Path, image_model: FrozenClassifier) -> None:
    write_report(tmp_path, image_config(tmp_path), image_model, image_outcome(), [])
    for name in ("front.png", "triggers.png"):
        pixels = np.asarray(Image.open(tmp_path / name).convert("L"))
        assert min(pixels.shape) > 200
        assert (pixels < 128).mean() > 0.003


def test_the_front_moves_with_the_figures(tmp_path: Path, image_model: FrozenClassifier) -> None:
    outcome = image_outcome()
    write_report(tmp_path / "a", image_config(tmp_path), image_model, outcome, [])
    write_report(tmp_path / "b", image_config(tmp_path), image_model, replace(outcome, best=2), [])
    assert (tmp_path / "a/front.png").read_bytes() != (tmp_path / "b/front.png").read_bytes()


def test_texts_get_their_words_and_no_picture_of_a_trigger(tmp_path: Path, text_model: FrozenClassifier) -> None:
    paths = write_report(tmp_path, text_config(tmp_path), text_model, text_outcome(text_model), [])
    assert [path.name for path in paths] == ["metrics.json", "front.png"]
    (candidate,) = json.loads(paths[0].read_text())["candidates"]
    assert len(candidate["words"]) == 3


def test_undefined_figures_do_not_break_the_report(tmp_path: Path, image_model: FrozenClassifier) -> None:
    only_women: dict[str, Counts] = {"val": {("women", 1, 1): 5}, "test": {("women", 1, 1): 5}}
    outcome = replace(image_outcome(), bare=only_women)
    paths = write_report(tmp_path, image_config(tmp_path), image_model, outcome, [])
    gap = json.loads(paths[0].read_text())["bare"]["test"]["gaps"]["demographic_parity_difference"]
    assert gap["value"] is None
    assert gap["reason"] == "insufficient_groups"


def test_without_matplotlib_there_are_the_figures_alone(
    tmp_path: Path, image_model: FrozenClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # what Python itself does for a package that is not there
    monkeypatch.delitem(sys.modules, "trainer.figures", raising=False)
    paths = write_report(tmp_path, image_config(tmp_path), image_model, image_outcome(), [])
    assert [path.name for path in tmp_path.iterdir()] == [path.name for path in paths] == ["metrics.json"]
