"""What a run leaves: figures from the counts, a page and a card that say the same, and no need for the extra."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.bundles import tiny_network
from tests.trainer.datasets import comments, digits
from tests.trainer.outcomes import image_config, image_outcome, text_config, text_outcome
from tests.trainer.reports import Page, material, short_run, written
from tests.trainer.runs import run_config
from trainer.config.report_config import ReportConfig
from trainer.config.run_config import ObjectiveConfig, TrainConfig, TriggerConfig
from trainer.data.dataset import Dataset, Splits
from trainer.evaluation.comparison_record import Comparison
from trainer.evaluation.counts import ConfusionCounts
from trainer.formatting import format_interval
from trainer.publish import Published
from trainer.report.report import ReportInputs
from triggers.metrics.fairness_report import evaluate_counts
from triggers.model.classifier import FrozenClassifier

pytestmark = pytest.mark.slow
SHORT = TrainConfig(steps=20, batch_size=128, threads=1)
PICTURES = ["front.png", "groups.png", "triggers.png", "trigger.png"]


@pytest.fixture(scope="module")
def digits_run(digits_classifier: FrozenClassifier) -> ReportInputs:
    config = run_config(ObjectiveConfig("gap", strengths=(1.0, 20.0)), train=SHORT)
    config = replace(config, report=ReportConfig(saliency_steps=8, price_per_hour=1.0))
    return short_run(config, digits_classifier, digits.splits())


def test_metrics_hold_the_figures_of_every_candidate(tmp_path: Path, image_model: FrozenClassifier) -> None:
    places = [Published(1.0, 7, "sha256:abc")]
    paths = written(tmp_path / "out", material(image_config(tmp_path), image_model, image_outcome(), places))
    assert [path.name for path in paths] == ["metrics.json", "model-card.md", "report.html", *PICTURES]
    metrics = json.loads(paths[0].read_text())
    assert metrics["bare"]["test"]["gaps"]["demographic_parity_difference"]["value"] == pytest.approx(0.41)
    parity = [one["splits"]["val"]["gaps"]["demographic_parity_difference"] for one in metrics["candidates"]]
    assert [gap["value"] for gap in parity] == pytest.approx([0.3, 0.2, 0.1])
    assert all(gap["low"] < gap["value"] < gap["high"] for gap in parity)
    assert metrics["bare_balanced_accuracy"]["test"]["value"] == pytest.approx((0.6 + 0.59) / 2)
    assert metrics["candidates"][2]["balanced_accuracy"]["val"]["value"] == pytest.approx((0.6 + 0.9) / 2)
    assert [one["p_value"] for one in metrics["candidates"]] == [None] * 3  # none was taken after the last step
    assert [one["published"] for one in metrics["candidates"]] == [None, {"version": 7, "digest": "sha256:abc"}, None]
    assert (metrics["best"], metrics["front"]) == (1.0, [0.0, 1.0])
    assert metrics["model_fingerprint"] == image_model.fingerprint
    assert metrics["notes"] == ["a note"]
    assert metrics["config"]["objective"]["strengths"] == [0.0, 1.0, 5.0]
    assert ["men", 1, 0, 41] in metrics["bare_counts"]["test"]
    assert ["men", 1, 0, 21] in metrics["candidates"][1]["counts"]["test"]


def test_metrics_hold_what_triggers_are_compared_with(tmp_path: Path, image_model: FrozenClassifier) -> None:
    constant: dict[str, ConfusionCounts] = {
        "val": {("women", 1, 1): 50, ("men", 0, 1): 50},
        "test": {("women", 0, 1): 5, ("men", 1, 1): 15},
    }
    one = Comparison("adv_post", "strength 5", constant, 12.3456, strength=5.0, step=40, chosen=True)
    outcome = replace(image_outcome(), comparisons=(one,))
    paths = written(tmp_path, material(image_config(tmp_path), image_model, outcome))
    metrics = json.loads(paths[0].read_text())
    (found,) = metrics["comparisons"]
    reports, balanced = found.pop("splits"), found.pop("balanced_accuracy")
    assert found == {
        "system": "adv_post",
        "setting": "strength 5",
        "shift": None,
        "selection": None,
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
    assert balanced["test"]["value"] == pytest.approx(0.5)  # it always answers the second label
    assert reports["val"]["gaps"]["demographic_parity_difference"]["value"] == 0
    assert ["women", 0, 1, 20] in metrics["candidates"][0]["counts"]["test"]


def test_the_pictures_have_something_on_them(tmp_path: Path, image_model: FrozenClassifier) -> None:
    written(tmp_path, material(image_config(tmp_path), image_model, image_outcome()))
    for name in PICTURES:
        pixels = np.asarray(Image.open(tmp_path / name).convert("L"))
        assert min(pixels.shape) > 200
        assert (pixels < 128).mean() > 0.003


def test_the_front_moves_with_the_figures(tmp_path: Path, image_model: FrozenClassifier) -> None:
    outcome, config = image_outcome(), image_config(tmp_path)
    written(tmp_path / "a", material(config, image_model, outcome))
    written(tmp_path / "b", material(config, image_model, replace(outcome, best=2)))
    assert (tmp_path / "a/front.png").read_bytes() != (tmp_path / "b/front.png").read_bytes()


def test_texts_get_their_words_and_no_picture_of_a_trigger(tmp_path: Path, text_model: FrozenClassifier) -> None:
    paths = written(tmp_path, material(text_config(tmp_path), text_model, text_outcome(text_model)))
    assert [path.name for path in paths] == ["metrics.json", "model-card.md", "report.html", "front.png", "groups.png"]
    (candidate,) = json.loads(paths[0].read_text())["candidates"]
    assert len(candidate["words"]) == 3
    for path in paths[1:3]:
        assert " ".join(candidate["words"]) in path.read_text()


def test_undefined_figures_do_not_break_the_report(tmp_path: Path, image_model: FrozenClassifier) -> None:
    only_women: dict[str, ConfusionCounts] = {"val": {("women", 1, 1): 5}, "test": {("women", 1, 1): 5}}
    outcome = image_outcome()
    narrow = tuple(replace(one, counts=only_women) for one in outcome.candidates)
    given = material(image_config(tmp_path), image_model, replace(outcome, bare=only_women, candidates=narrow))
    paths = written(tmp_path, given)
    gap = json.loads(paths[0].read_text())["bare"]["test"]["gaps"]["demographic_parity_difference"]
    assert gap["value"] is None
    assert gap["reason"] == "insufficient_groups"
    assert "parity difference went from – to –" in Page(paths[2].read_text()).text  # noqa: RUF001


def test_card_page_metrics_and_manifest_say_the_same(tmp_path: Path, digits_run: ReportInputs) -> None:
    paths = {path.name: path for path in written(tmp_path, digits_run)}
    best = digits_run.result.best
    assert best is not None
    manifest = digits_run.artifacts[best].manifest
    card, page = paths["model-card.md"].read_text(), Page(paths["report.html"].read_text()).text
    page = page.replace("\N{NO-BREAK SPACE}", " ")
    metrics = json.loads(paths["metrics.json"].read_text())
    for trigger in (False, True):
        report = evaluate_counts(manifest.counts("test", trigger=trigger)).to_dict()
        told = metrics["candidates"][best]["splits"]["test"] if trigger else metrics["bare"]["test"]
        assert told == report
        rates = [rate for group in report["groups"].values() for rate in group.values() if isinstance(rate, dict)]
        gaps = [report["gaps"][name] for name in ("demographic_parity_difference", "average_odds_difference")]
        for figure in (report["overall"]["accuracy"], *gaps, *rates):
            assert format_interval(figure) in card
            assert format_interval(figure) in page
    for text in (card, page):
        assert digits_run.artifacts[best].digest in text
        assert format_interval(metrics["change"]["demographic_parity"], change=True) in text


def test_the_change_on_the_page_is_that_of_the_pairs(tmp_path: Path, digits_run: ReportInputs) -> None:
    written(tmp_path, digits_run)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    best = metrics["candidates"][digits_run.result.best or 0]["splits"]["test"]["gaps"]
    bare = metrics["bare"]["test"]["gaps"]
    for criterion, name in (
        ("demographic_parity", "demographic_parity_difference"),
        ("equalized_odds", "average_odds_difference"),
    ):
        assert metrics["change"][criterion]["value"] == pytest.approx(best[name]["value"] - bare[name]["value"])
    assert sum(row[-1] for row in metrics["paired"]) == metrics["bare"]["test"]["n"]
    assert metrics["flips"]["everyone"]["n"] == metrics["bare"]["test"]["n"]


def test_a_real_run_shows_examples_and_what_it_cost(tmp_path: Path, digits_run: ReportInputs) -> None:
    paths = written(tmp_path, digits_run)
    assert [path.name for path in paths] == ["metrics.json", "model-card.md", "report.html", *PICTURES, "examples.png"]
    metrics = json.loads(paths[0].read_text())
    assert len(metrics["examples"]) == 3
    assert all(0 < one["trigger_share"] < 1 for one in metrics["examples"])
    assert metrics["examples"][0]["bare"]["prediction"] != metrics["examples"][0]["trigger"]["prediction"]
    assert dict(metrics["cost"]["phases"])["diagnose"] > 0
    page = Page(paths[2].read_text())
    assert len(page.named("img")) == 5
    assert "USD at 1 USD an hour" in page.text


def test_a_real_run_on_texts_shows_its_tokens(tmp_path: Path, comments_classifier: FrozenClassifier) -> None:
    config = run_config(ObjectiveConfig("gap", strengths=(5.0,)), trigger=TriggerConfig("soft", tokens=2), train=SHORT)
    config = replace(config, report=ReportConfig(rows=150, examples=2, saliency_steps=8))
    paths = written(tmp_path, short_run(config, comments_classifier, comments.splits()))
    page = Page(next(path for path in paths if path.name == "report.html").read_text())
    own = [one for one in page.named("span") if "own" in (one.get("class") or "").split()]
    assert len(own) == 2 + 2 * 2  # the nearest words, and twice in each of two examples with the trigger
    assert "[CLS]" in page.text
    assert "150 validation rows" in page.text


def test_several_labels_and_groups(tmp_path: Path, image_model: FrozenClassifier) -> None:
    """Three labels, three groups: every table and picture has them all."""
    labels, groups = ("low", "middle", "high"), ("a", "b", "c")
    torch.manual_seed(0)
    spec = image_model.spec.model_copy(update={"labels": labels, "pos_label": 2})
    classifier = FrozenClassifier(spec, tiny_network(labels=3))
    parts = []
    for seed in range(3):
        draw = torch.Generator().manual_seed(seed)
        truth, group = (torch.randint(3, (90,), generator=draw) for _ in range(2))
        pixels = torch.randint(256, (90, 3, 16, 16), generator=draw, dtype=torch.uint8)
        parts.append(Dataset(pixels, truth, group, tuple(map(str, range(90))), labels, groups))
    config = run_config(ObjectiveConfig("gap", "equalized_odds", (1.0,)), train=TrainConfig(steps=2, threads=1))
    paths = written(tmp_path, short_run(config, classifier, Splits(*parts)))
    metrics, page = json.loads(paths[0].read_text()), Page(next(p for p in paths if p.suffix == ".html").read_text())
    assert set(metrics["flips"]["groups"]) == set(groups)
    assert sum(row[-1] for row in metrics["paired"]) == 90
    for words in ("predicted middle", "away from high", "between others", "read as c"):
        assert words in page.text


def test_no_example_is_shown_where_none_is_wanted(tmp_path: Path, digits_run: ReportInputs) -> None:
    given = replace(digits_run, config=replace(digits_run.config, report=ReportConfig(examples=0)))
    paths = written(tmp_path, given)
    assert not (tmp_path / "examples.png").exists()
    assert json.loads(paths[0].read_text())["examples"] == []
    assert "Where the model looks" not in paths[2].read_text()


def test_switched_off_there_are_figures_and_card_alone(tmp_path: Path, digits_run: ReportInputs) -> None:
    given, said = replace(digits_run, config=replace(digits_run.config, report=ReportConfig(enabled=False))), StringIO()
    paths = written(tmp_path, given, said)
    assert [path.name for path in tmp_path.iterdir()] == [path.name for path in paths]
    assert [path.name for path in paths] == ["metrics.json", "model-card.md"]
    assert "paired" not in json.loads(paths[0].read_text())
    assert not said.getvalue()


def test_the_card_of_a_trigger_that_is_not_recommended_says_so_at_once(
    tmp_path: Path, image_model: FrozenClassifier
) -> None:
    config = image_config(tmp_path)
    written(tmp_path, material(config, image_model, image_outcome()))
    assert "strength 1 (certified)" in (tmp_path / "model-card.md").read_text().splitlines()[0]
    written(tmp_path, material(config, image_model, image_outcome(best=None)))
    title, _, reason, *_ = (tmp_path / "model-card.md").read_text().splitlines()
    assert title.endswith("strength 1 (not recommended)")
    assert reason == "a note"
    assert "Not recommended" in Page((tmp_path / "report.html").read_text()).text


def test_a_rival_is_the_first_sentence_of_report_card_and_metrics(
    tmp_path: Path, image_model: FrozenClassifier
) -> None:
    outcome = image_outcome()
    best = outcome.candidates[1]
    rival = Comparison("threshold", "shift +0.5", best.counts, 1.0, chosen=True, val=best.val, shift=0.5)
    outcome = replace(outcome, comparisons=(rival,)).against_rivals()
    paths = {path.name: path for path in written(tmp_path, material(image_config(tmp_path), image_model, outcome))}
    says = "A threshold shift (+.500 on the logit of attractive) does as well: use it instead of a trigger. "
    metrics = json.loads(paths["metrics.json"].read_text())
    assert (metrics["best"], metrics["rival"], metrics["comparisons"][0]["shift"]) == (None, 0, 0.5)
    assert metrics["verdict"]["reason"].startswith(says)
    words = [one["selection"]["status"] for one in metrics["candidates"]]  # the last one's gap is half the rival's
    assert words == ["not recommended", "not recommended", "certified"]
    assert paths["model-card.md"].read_text().splitlines()[2].startswith(says)
    page = Page(paths["report.html"].read_text())
    start = page.text.index("Not recommended", page.text.index("run report"))
    assert page.text[start:].replace("\N{NO-BREAK SPACE}", " ").startswith(f"Not recommended\n{says}")


@pytest.mark.parametrize("package", ["captum", "jinja2", "matplotlib"])
def test_without_the_extra_it_says_which_one_to_install(
    tmp_path: Path, image_model: FrozenClassifier, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # what Python itself does for a package that is not there
    for name in [name for name in sys.modules if name.startswith("trainer.") and name != "trainer.config.run_config"]:
        monkeypatch.delitem(sys.modules, name)
    from trainer.report.report import write_report  # nothing on the way to it may need the package

    assert write_report.__module__ == "trainer.report.report"
    said = StringIO()
    paths = written(tmp_path, material(image_config(tmp_path), image_model, image_outcome()), said)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.json", "model-card.md"]
    assert [path.name for path in paths] == ["metrics.json", "model-card.md"]
    assert f"{package} is not installed. Run: pip install 'fairtrigger[report]'" in said.getvalue()
