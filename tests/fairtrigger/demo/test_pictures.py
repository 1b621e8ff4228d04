"""The pictures are drawn for full and for thin reports, and name the words of a text trigger."""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image

from fairtrigger.demo.pictures import Shown, closest_words, draw_overview, draw_published
from triggers.metrics.fairness_report import evaluate_counts
from triggers.model.classifier import FrozenClassifier
from triggers.trigger.image import ImageTrigger
from triggers.trigger.text import TextTrigger

FULL = evaluate_counts({("a", 1, 1): 40, ("a", 0, 0): 50, ("b", 1, 0): 30, ("b", 0, 1): 60}).to_dict()
THIN = evaluate_counts({("a", None, 1): 5}).to_dict()


def inked(path: Path) -> float:
    """Share of pixels that are not white."""
    with Image.open(path) as picture:
        grey = picture.convert("L")
        return sum(grey.histogram()[:250]) / (grey.width * grey.height)


def test_before_and_after_is_drawn_with_and_without_labels(tmp_path: Path) -> None:
    draw_overview(tmp_path / "full.png", {"digits": (FULL, FULL), "comments": (FULL, FULL)})
    draw_overview(tmp_path / "thin.png", {"digits": (THIN, THIN)})
    assert inked(tmp_path / "full.png") > 0.02
    assert inked(tmp_path / "thin.png") > 0.005


def test_triggers_are_drawn(tmp_path: Path) -> None:
    trigger = ImageTrigger("overlay", 16, torch.ones(3, 16, 16), torch.rand(3, 16, 16) * 0.2)
    shown = Shown(torch.zeros(3, 16, 16), torch.ones(3, 16, 16), "small", "small", "large")
    draw_published(tmp_path / "t.png", [("v1", trigger)], [shown], [("v1", ["good", "day"])])
    assert inked(tmp_path / "t.png") > 0.02


def test_the_nearest_word_of_a_words_own_embedding_is_that_word(text_model: FrozenClassifier) -> None:
    ids = [9, 7]
    trigger = TextTrigger("embedding", "after_cls", text_model.embedding_matrix[ids].detach().clone() * 2)
    assert closest_words(text_model, trigger) == text_model.tokenizer.convert_ids_to_tokens(ids)
    hard = TextTrigger("hard", "after_cls", trigger.embeddings, (9, 7), ("nine", "seven"))
    assert closest_words(text_model, hard) == ["nine", "seven"]
