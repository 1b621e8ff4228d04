"""Search for words by answers alone, on a small real text model: the best pair is found, with few rows."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from itertools import product
from pathlib import Path

import pytest
import torch

from tests.trainer.datasets import comments
from tests.trainer.runs import run_config
from trainer.config.run_config import Gradient, ObjectiveConfig, RunConfig, SelectConfig, TrainConfig, TriggerConfig
from trainer.progress import LineProgress
from trainer.training import train_triggers
from trainer.training.black_box.asked_rows import AskedRows
from trainer.training.black_box.word_search import AskedWords, WordSearch
from trainer.training.black_box.word_triggers import TriggerVocabulary, Words
from triggers.model import FrozenClassifier
from triggers.trigger import TextTrigger

WORDS = "good bad nice awful kind cruel man woman dog young sings not".split()
STRENGTHS = (0.1, 30.0)


@pytest.fixture
def trigger(tmp_path: Path) -> TriggerConfig:
    """Two of twelve words."""
    (tmp_path / "words.txt").write_text("\n".join(WORDS))
    return TriggerConfig("hard", tokens=2, allowed_words_file=tmp_path / "words.txt")


def search(
    classifier: FrozenClassifier, trigger: TriggerConfig, left: int, *, labels_only: bool = False
) -> tuple[AskedWords, WordSearch]:
    rows = AskedRows(classifier, comments.parts()["tuning"], labels_only=labels_only, batch=512)
    asked = AskedWords(rows, TriggerVocabulary.of(classifier, trigger, rows.data), left)
    objective = ObjectiveConfig("gap", strengths=STRENGTHS)
    return asked, WordSearch(asked, objective, 2, 1.0, overlapping=False, left=left)


@pytest.mark.parametrize("labels_only", [False, True])
def test_finds_the_best_pair(comments_classifier: FrozenClassifier, trigger: TriggerConfig, labels_only: bool) -> None:
    asked, found = search(comments_classifier, trigger, 40_000, labels_only=labels_only)
    for _ in found.each_step():
        pass
    spent = 40_000 - asked.left
    every: list[Words] = [*((a,) for a in range(12)), *product(range(12), repeat=2)]
    asked.left = 10**9
    asked.ask(every, len(asked.rows))
    utility, distance = found._losses(every, len(asked.rows))
    strengths = torch.tensor(STRENGTHS)
    best = (utility + strengths[:, None] * distance).min(dim=1).values.tolist()
    utility, distance = found._losses(found.average.chosen(), len(asked.rows))
    reached = utility + strengths * distance
    assert reached.tolist() == pytest.approx(best, rel=0.02)
    assert spent < 0.75 * len(every) * len(asked.rows)


def test_asks_no_more_rows_than_it_may(comments_classifier: FrozenClassifier, trigger: TriggerConfig) -> None:
    asked, found = search(comments_classifier, trigger, 3_000)
    for _ in found.each_step():
        pass
    total = sum(len(answers) for words, answers in asked.answers.items() if words)
    assert total == 3_000 - asked.left <= 3_000


def config(gradient: Gradient, trigger: TriggerConfig, budget: int) -> RunConfig:
    objective = ObjectiveConfig("gap", strengths=(30.0,), gradient=gradient)
    train = TrainConfig(max_queries=budget)
    return run_config(objective, trigger=trigger, train=train, select=SelectConfig(max_accuracy_drop=0.3))


@pytest.mark.parametrize("gradient", ["scores", "labels"])
def test_a_run_ends_with_words(
    comments_classifier: FrozenClassifier, trigger: TriggerConfig, gradient: Gradient
) -> None:
    made = config(gradient, trigger, 30_000)
    result = train_triggers(made, comments_classifier, comments.splits(), LineProgress(StringIO()))
    (one,) = result.candidates
    assert isinstance(one.trigger, TextTrigger) and one.trigger.words and set(one.trigger.words) <= set(WORDS)
    one.trigger.validate()
    assert result.queries and result.queries["total"] <= 30_000


def test_words_of_the_tuning_texts_are_the_default(comments_classifier: FrozenClassifier) -> None:
    found = TriggerVocabulary.of(comments_classifier, TriggerConfig("hard", tokens=2), comments.parts()["tuning"])
    assert "house" in found.words and "movie" not in found.words
    assert replace(found).trigger_of((0, 1)).token_ids == found.ids[:2]  # type: ignore[index]
