"""The two examples on real data: their configurations and HateXplain's own file."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.hatexplain.convert import read_posts, rows
from trainer.config.run_config import load_config
from trainer.data.sources.base import WordList, read_words
from triggers.errors import DataError

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def post(*labels: str) -> dict[str, object]:
    annotators = [{"label": label, "annotator_id": at, "target": ["None"]} for at, label in enumerate(labels)]
    return {"annotators": annotators, "rationales": [], "post_tokens": ["what", "a", "day"]}


@pytest.mark.parametrize(("name", "modality"), [("celeba", "image"), ("hatexplain", "text")])
def test_the_configuration_is_one_the_trainer_takes(name: str, modality: str) -> None:
    config = load_config(EXAMPLES / name / "run.toml")
    assert config.base is not None
    assert config.modality == config.base.modality == modality
    assert len(config.objective.strengths) >= 5
    assert 0 < config.select.max_accuracy_drop <= 0.02


def test_identity_terms_match_whole_words_only() -> None:
    terms = read_words(EXAMPLES / "hatexplain" / "identity_terms.txt")
    words = WordList(terms)
    assert len(terms) == len(set(terms))
    assert words.group("the Muslims next door") == "mentioned"
    assert words.group("a middle eastern dish") == "mentioned"
    assert words.group("blackmail in the whitehall") == "not mentioned"


def test_hatexplain_posts_become_rows_by_majority() -> None:
    posts = {
        "a": post("normal", "normal", "offensive"),
        "b": post("offensive", "offensive", "hatespeech"),
        "c": post("normal", "offensive", "hatespeech"),
    }
    assert list(rows(posts)) == [
        {"id": "a", "text": "what a day", "label": "normal", "toxic": "0"},
        {"id": "b", "text": "what a day", "label": "offensive", "toxic": "1"},
    ]


def test_a_file_that_is_not_hatexplains_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text("[]")
    with pytest.raises(DataError, match=r"is it HateXplain's dataset\.json"):
        read_posts(tmp_path / "dataset.json")
    with pytest.raises(DataError, match="Post x has no annotators"):
        list(rows({"x": {"post_tokens": []}}))
    with pytest.raises(DataError, match="label 'spam'; known: normal"):
        list(rows({"x": post("spam")}))
