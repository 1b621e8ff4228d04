"""Whole runs of the real trainer over models that are only addresses: budgets, kept answers, reports, artifacts."""

from __future__ import annotations

import csv
import json
import random
import re
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
import torch

from tests.trainer.datasets import comments, digits
from tests.trainer.scoring_server import ScoringServer, endpoint_bundle, image_scores, text_scores
from trainer.baselines import run_postprocessing
from trainer.config.run_config import RunConfig, load_config
from trainer.evaluation import TrainingResult
from trainer.evaluation.selection import selection_criterion
from trainer.overview import make_overview
from trainer.progress import LineProgress
from trainer.queries import meter_of, open_answers
from trainer.train import prepare_data, train
from triggers.allow_lists import HOSTS_VARIABLE, PRIVATE
from triggers.artifact.artifact import check_compatible, load_artifact
from triggers.errors import ConfigError, EndpointUnavailable
from triggers.model import FrozenClassifier, load_bundle
from triggers.trigger import TextTrigger

BUDGET = 12_000
CONFIG = f"""
[model]
bundle = "endpoint"
[data]
format = "csv"
path = "digits.csv"
label = "label"
group = "colour"
group_names = ["red", "blue"]
[trigger]
kind = "overlay"
epsilon = 0.3
frequencies = 4
[objective]
name = "gap"
strengths = [20]
[train]
max_queries = {BUDGET}
price_per_thousand = 0.5
lr = 0.2
threads = 1
device = "cpu"
[select]
max_accuracy_drop = 0.2
publish = "all"
[publish]
enabled = false
"""
CANARY = 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """PNG files with their manifest, and a configuration."""
    folder = tmp_path_factory.mktemp("endpoint-run")
    digits.write_csv(folder)
    (folder / "run.toml").write_text(CONFIG)
    return folder


@pytest.fixture
def server(
    folder: Path, digits_classifier: FrozenClassifier, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ScoringServer]:
    """The digits' classifier behind an address, wrapped."""
    with ScoringServer(image_scores(digits_classifier)).running() as running:
        monkeypatch.setenv(HOSTS_VARIABLE, PRIVATE + running.url.split("/")[2])
        endpoint_bundle(folder / "endpoint", running.url, digits_classifier, list(pictures()))
        running.asked.clear()
        yield running


def pictures() -> torch.Tensor:
    """The canary's inputs."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (CANARY, 3, digits.SIZE, digits.SIZE), generator=generator).to(torch.uint8)


def config(folder: Path, *changes: str) -> RunConfig:
    return load_config(folder / "run.toml", changes)


def quiet() -> LineProgress:
    return LineProgress(StringIO())


@pytest.mark.slow
def test_a_killed_run_goes_on_without_asking_a_row_again(folder: Path, server: ScoringServer, tmp_path: Path) -> None:
    server.most = 5_000
    with pytest.raises(EndpointUnavailable):
        train(config(folder), tmp_path / "out", quiet())
    before = server.asked.total() - CANARY  # which is asked when a bundle is opened
    assert 4_000 < before <= 5_000
    server.most = None
    finished = train(config(folder), tmp_path / "out", quiet())

    canary = {json.dumps(row) for row in pictures().tolist()}
    asked = [times for row, times in server.asked.items() if row not in canary]
    queries = json.loads((tmp_path / "out" / "metrics.json").read_text())["queries"]
    assert set(asked) == {1}
    assert len(asked) == queries["total"] <= BUDGET
    assert queries["asked"] == queries["total"] - before
    assert queries["spent"].keys() == {"tuning", "validation", "test", "rivals"}
    assert queries["cost"] == pytest.approx(queries["total"] * 0.5 / 1000, abs=1e-4)

    result, classifier = finished.result, load_bundle(folder / "endpoint")
    score = selection_criterion(config(folder), classifier, result.bare["test"])
    gap = score.score(result.candidates[0].counts["test"]).gap
    assert gap is not None and score.bare.gap is not None and gap < 0.7 * score.bare.gap
    artifact = load_artifact(tmp_path / "out" / "triggers" / "strength-20.safetensors")
    check_compatible(artifact, classifier)
    check_rivals_keep_the_budget(config(folder), result, tmp_path)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "What the training asked" in page and "were left out" in " ".join(page.split())
    assert (tmp_path / "out" / "queries.png").exists()


def check_rivals_keep_the_budget(config: RunConfig, result: TrainingResult, tmp_path: Path) -> None:
    """Without room for the tuning rows that learning left out, none of them is asked, and a note says so."""
    classifier, splits = prepare_data(config, tmp_path, quiet())
    assert result.queries
    missing = len(splits.tuning) - result.queries["rows"]
    with open_answers(config, classifier, tmp_path / "rivals") as asked:
        meter = meter_of(asked)
        assert meter and missing > 1
        meter.take(meter.left - missing + 1)
        rules = run_postprocessing(config, asked, splits, result, quiet())
        assert not rules.comparisons and f"{missing} more tuning rows" in rules.notes[0]
        assert meter.asked == 0


def test_a_look_asks_a_few_rows_and_says_what_a_run_asks(folder: Path, server: ScoringServer, tmp_path: Path) -> None:
    overview = make_overview(config(folder), tmp_path, quiet())
    assert overview.bare and overview.bare.rows == server.asked.total() - CANARY == 32
    assert any(str(BUDGET) in note and "6.00 USD" in note for note in overview.notes)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ('objective.gradient="exact"', 'set it to "scores"'),
        ('baselines.systems=["adv_post"]', "set it to []"),
        ("train.max_queries=3000", "raise it"),
        ("train.flip=true", "set train.flip and shift off"),
        ("select.folds=2", "set select.folds = 1"),
        ('trigger={kind="pixels"}', "choose another trigger.kind"),
    ],
)
def test_refuses_in_one_line_that_says_what_to_set(
    folder: Path, server: ScoringServer, tmp_path: Path, change: str, told: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(told)) as error:
        train(config(folder, change), tmp_path / "out", quiet())
    assert "\n" not in str(error.value)


def test_refuses_an_endpoint_without_a_budget(folder: Path, server: ScoringServer, tmp_path: Path) -> None:
    text = CONFIG.replace(f"max_queries = {BUDGET}\n", "")
    (folder / "unlimited.toml").write_text(text)
    with pytest.raises(ConfigError, match="say how many rows"):
        train(load_config(folder / "unlimited.toml"), tmp_path / "out", quiet())
    assert server.asked.total() == CANARY


COMMENTS = """
[model]
bundle = "comments-endpoint"
[data]
format = "csv"
path = "comments.csv"
input = "text"
label = "label"
group = "who"
[trigger]
kind = "hard"
tokens = 2
[objective]
name = "gap"
strengths = [30]
[train]
max_queries = 6000
threads = 1
[select]
max_accuracy_drop = 0.3
[publish]
enabled = false
[report]
enabled = false
"""


def test_words_for_an_endpoint_of_texts(
    tmp_path: Path, comments_classifier: FrozenClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(1)
    with (tmp_path / "comments.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["text", "label", "who", "split"])
        for row in range(400):
            text, label, group = comments.comment(draw, 0.5)
            part = ("tuning", "tuning", "val", "test")[row % 4]
            table.writerow([f"{text} {row}", comments.LABELS[label], comments.GROUPS[group], part])
    (tmp_path / "run.toml").write_text(COMMENTS)
    with ScoringServer(text_scores(comments_classifier)).running() as running:
        monkeypatch.setenv(HOSTS_VARIABLE, PRIVATE + running.url.split("/")[2])
        endpoint_bundle(tmp_path / "comments-endpoint", running.url, comments_classifier, ["a dog", "the cat sings"])
        running.asked.clear()
        finished = train(load_config(tmp_path / "run.toml"), tmp_path / "out", quiet())
    (one,) = finished.result.candidates
    assert isinstance(one.trigger, TextTrigger) and one.trigger.words and one.trigger.embeddings.shape[1] == 0
    queries = finished.result.queries
    assert queries and queries["total"] <= 6000
    assert all(word in json.dumps(list(running.asked)) for word in one.trigger.words)
    check_compatible(finished.artifacts[0], finished.classifier)
