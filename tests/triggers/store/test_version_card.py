"""Cards: every figure comes from the counts, and what was not counted is not made up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.artifacts import evaluation, image_artifact
from triggers.metrics.fairness_report import evaluate_counts
from triggers.store.file_store import FileStore
from triggers.store.version_card import Headline, card, evaluate, headline_figures, splits


def test_the_headline_of_known_counts() -> None:
    manifest = image_artifact().manifest
    assert headline_figures(manifest, trigger=False) == Headline(0.75, 0.5, 0.5)
    with_trigger = headline_figures(manifest, trigger=True, split="test")
    figures = (with_trigger.accuracy, with_trigger.demographic_parity, with_trigger.equalized_odds)
    assert figures == pytest.approx((0.7, 0.1, 0.4))


def test_figures_are_those_of_the_fairness_module() -> None:
    manifest = image_artifact().manifest
    assert splits(manifest) == ["val", "test"]
    report = evaluate(manifest, "val", trigger=True)
    counts: dict[tuple[str, int | None, int], int] = {
        ("f", 0, 0): 40,
        ("f", 0, 1): 10,
        ("f", 1, 0): 5,
        ("f", 1, 1): 45,
        ("m", 0, 0): 30,
        ("m", 0, 1): 20,
        ("m", 1, 0): 25,
        ("m", 1, 1): 25,
    }
    assert report
    assert report.to_dict() == evaluate_counts(counts).to_dict()


def test_the_selected_label_is_the_manifests() -> None:
    report = evaluate(image_artifact(pos_label=0).manifest, "val", trigger=False)
    assert report
    assert report.groups["f"].selection_rate.value == 0.25


def test_overlapping_groups_are_counted_as_such() -> None:
    joined = tuple(row.model_copy(update={"group": "f + m"}) if row.group == "m" else row for row in evaluation())
    report = evaluate(image_artifact(groups_overlap=True, evaluation=joined).manifest, "val", trigger=True)
    assert report
    assert (report.groups["f"].n, report.groups["m"].n, report.n) == (200, 100, 200)


def test_what_was_not_counted_has_no_figures() -> None:
    manifest = image_artifact(evaluation=()).manifest
    assert headline_figures(manifest, trigger=True) == Headline(None, None, None)
    assert evaluate(manifest, "val", trigger=True) is None
    only = tuple(row for row in evaluation() if row.trigger and row.split == "test")
    assert headline_figures(image_artifact(evaluation=only).manifest, trigger=True, split="val").accuracy is None


def test_a_card_is_json_and_says_whether_it_serves(tmp_path: Path) -> None:
    with FileStore(tmp_path) as store:
        only = tuple(row for row in evaluation() if row.trigger)
        store.publish(image_artifact(evaluation=only), actor="ann")
        content = card(store.version("faces", 1), store.rollout("faces"))
        assert json.loads(json.dumps(content, allow_nan=False))["digest"] == image_artifact(evaluation=only).digest
        assert content["champion"] is False
        assert content["created_by"] == "ann"
        assert content["manifest"]["kind"] == "border"
        assert list(content["evaluation"]) == ["val", "test"]
        assert list(content["evaluation"]["val"]) == ["trigger"]
        store.set_rollout("faces", 1, if_revision=None, actor="ann", reason="")
        assert card(store.version("faces", 1), store.rollout("faces"))["champion"] is True
