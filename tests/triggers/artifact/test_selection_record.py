"""The outcome of a selection: its sentence, what it refuses, and its place in a manifest."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.artifacts import image_artifact, image_trigger, manifest_for, selection
from triggers.artifact.artifact import load_artifact, to_bytes
from triggers.artifact.selection_record import MAX_WORDS, SelectionRecord

SENTENCES = {
    "certified: with 90 % confidence it loses at most .008 balanced accuracy (budget .01, 2,500 validation rows)": {},
    "certified: with 95 % confidence it gains at least .0025 accuracy (budget 0, 2,500 validation rows)": {
        "bound": -0.0025,
        "budget": 0.0,
        "delta": 0.05,
        "measure": "accuracy",
    },
    "promising, not proved: loses .004 balanced accuracy (budget .01) on 800 validation rows; about 3,100 would "
    "prove it": {"status": "promising", "rows": 800, "loss": 0.004, "bound": 0.02, "rows_needed": 3100},
    "promising, not proved: gains .1 recall (budget 1) on 800 validation rows": {
        "status": "promising",
        "measure": "recall",
        "budget": 1.0,
        "rows": 800,
        "loss": -0.1,
        "bound": None,
    },
    "not recommended: The recall of toxic falls to .313 of the bare model's for women.": {
        "status": "not recommended",
        "reason": "The recall of toxic falls to .313 of the bare model's for women.",
    },
}


@pytest.mark.parametrize(("sentence", "change"), SENTENCES.items())
def test_the_sentence_says_word_and_grounds(sentence: str, change: dict[str, Any]) -> None:
    assert selection(**change).sentence == sentence


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"bound": 0.011}, "certified needs a bound within the budget"),
        ({"bound": None}, "certified needs a bound within the budget"),
        ({"status": "promising", "loss": 0.02}, "promising needs a loss within the budget"),
        ({"rows_needed": 3000}, "rows_needed is for promising"),
        ({"lowest_recall": None}, "belong together"),
        ({"lowest_recall_ratio": 0.79}, "certified needs every recall ratio at 0.8 or above"),
        ({"status": "promising", "lowest_recall_ratio": 0.06}, "promising needs every recall ratio"),
        ({"status": "recommended"}, "status"),
        ({"measure": "f1"}, "measure"),
        ({"loss": float("nan")}, "loss"),
        ({"bound": float("-inf")}, "bound"),
        ({"loss": 1.5}, "loss"),
        ({"budget": -0.01}, "budget"),
        ({"delta": 0.0}, "delta"),
        ({"rows": -1}, "rows"),
        ({"rows": 10**13}, "rows"),
        ({"verdict": "fine"}, "verdict"),
    ],
)
def test_a_word_that_its_figures_contradict_is_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        selection(**change)


@settings(deadline=None)
@given(st.text(max_size=2 * MAX_WORDS))
def test_any_name_becomes_one_bounded_line_that_survives_the_file(text: str) -> None:
    record = selection(status="not recommended", reason=text, lowest_recall=text)
    assert len(record.reason) <= MAX_WORDS
    assert len(record.sentence.splitlines()) == 1
    assert not any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in record.sentence)
    again = SelectionRecord.model_validate_json(record.model_dump_json(), strict=True)
    assert again == record


def test_the_record_is_part_of_the_manifest_and_of_its_digest() -> None:
    artifact = image_artifact(selection=selection())
    again = load_artifact(to_bytes(artifact))
    assert again.manifest.selection == selection()
    assert again.digest == artifact.digest
    assert artifact.digest != image_artifact().digest
    assert artifact.digest != image_artifact(selection=selection(loss=0.002)).digest


def test_a_manifest_without_the_record_does_not_mention_it() -> None:
    assert "selection" not in manifest_for(image_trigger()).model_dump(mode="json")
