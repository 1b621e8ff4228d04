"""What the report concludes, from figures made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.trainer.outcomes import image_config, image_outcome
from tests.trainer.reports import material, summarised
from trainer.report.run_summary import cautions, headline_sentence, verdict
from triggers.model.classifier import FrozenClassifier


def change(value: float, low: float, high: float) -> dict[str, float]:
    return {"value": value, "low": low, "high": high}


def compared(
    summary: dict[str, Any], system: str, setting: str, *, chosen: bool = False, **more: Any
) -> dict[str, Any]:
    """A comparison that does as well as no trigger."""
    made = {"system": system, "setting": setting, "chosen": chosen, "strength": None, "step": None}
    return made | {"splits": summary["bare"], "counts": summary["bare_counts"], "seconds": 1.0} | more


@pytest.fixture
def summary(tmp_path: Path, image_model: FrozenClassifier) -> dict[str, Any]:
    """Strength 1 is recommended: parity difference .41 to .21 on test."""
    found = summarised(material(image_config(tmp_path), image_model, image_outcome()))
    found["change"] = {
        "accuracy": change(0.1, 0.05, 0.15),
        "demographic_parity": change(-0.2, -0.3, -0.1),
        "equalized_odds": change(-0.1, -0.2, -0.05),
        "group_accuracy": {"men": change(0.2, 0.1, 0.3), "women": change(0.0, 0.0, 0.0)},
    }
    return found


def test_the_headline_has_numbers_and_intervals(summary: dict[str, Any]) -> None:
    said = headline_sentence(summary)
    assert said.startswith(
        "Validation chose strength 1; on 200 test images the demographic parity difference fell from"
    )
    assert ".410 [" in said and "to .210 [" in said
    assert "accuracy rose from .595 [.526, .661] to .695 [.628, .755]" in said


@pytest.mark.parametrize(
    ("value", "verb"), [(0.41, "went"), (0.4101, "went"), (0.415, "rose"), (0.405, "fell"), (None, "went")]
)
def test_the_headline_says_rose_or_fell_only_of_figures_that_differ_as_shown(
    summary: dict[str, Any], value: float | None, verb: str
) -> None:
    gaps = summary["candidates"][1]["splits"]["test"]["gaps"]
    gaps["demographic_parity_difference"] |= {"value": value}
    assert f"parity difference {verb} from .410" in headline_sentence(summary)
    before = summary["bare"]["test"]["gaps"]["demographic_parity_difference"]
    before |= {"value": None}
    assert "parity difference went from" in headline_sentence(summary)


def test_recommended_when_the_change_leaves_out_nothing(summary: dict[str, Any]) -> None:
    assert verdict(summary)["status"] == "recommended"
    assert "−.200 [−.300, −.100]" in verdict(summary)["reason"]  # noqa: RUF001


def test_not_confirmed_when_it_may_be_nothing(summary: dict[str, Any]) -> None:
    summary["change"]["demographic_parity"] = change(-0.1, -0.25, 0.01)
    assert verdict(summary)["status"] == "recommended, not confirmed"
    assert "does not leave out 0" in verdict(summary)["reason"]


def test_not_confirmed_when_accuracy_fell_by_more_than_allowed(summary: dict[str, Any]) -> None:
    summary["change"]["accuracy"] = change(-0.05, -0.08, -0.02)  # .01 is allowed
    assert verdict(summary)["status"] == "recommended, not confirmed"
    assert "more than was allowed" in verdict(summary)["reason"]
    summary["change"]["accuracy"] = change(-0.05, -0.08, -0.005)
    assert verdict(summary)["status"] == "recommended"


def test_not_recommended_with_the_reason_of_selection(tmp_path: Path, image_model: FrozenClassifier) -> None:
    found = summarised(material(image_config(tmp_path), image_model, image_outcome(best=None)))
    assert found["verdict"] == {"status": "not recommended", "reason": "a note"}
    assert found["shown"] == 1.0  # the front's fairest
    assert headline_sentence(found).startswith(
        "Validation recommends none of 3 triggers; with the one looked at here, strength 1,"
    )
    nothing = summarised(material(image_config(tmp_path), image_model, image_outcome(best=None, front=())))
    assert nothing["shown"] == 5.0  # the most accurate


def test_no_caution_without_a_cause(summary: dict[str, Any]) -> None:
    summary["comparisons"] = [compared(summary, "threshold", "shift +0.1", chosen=True)]
    assert cautions(summary) == []


def test_cautions_name_what_went_wrong(summary: dict[str, Any]) -> None:
    summary["change"]["group_accuracy"]["women"] = change(-0.05, -0.09, -0.01)
    summary["change"]["equalized_odds"] = change(0.05, 0.01, 0.09)
    summary["bare_counts"]["test"] = [["women", 0, 0, 29], ["women", 1, 1, 30]]
    found = cautions(summary)
    assert found[0].startswith("Accuracy for group women fell")
    assert found[1].startswith("The average odds difference, which was not trained for, rose")
    assert found[2] == "Fewer than 30 test rows stand behind some rates: women, plain (n = 29)."


def test_a_control_that_does_as_well_is_named(summary: dict[str, Any]) -> None:
    as_good = compared(summary, "threshold", "shift -0.2", chosen=True)
    as_good["splits"] = summary["candidates"][1]["splits"]
    summary["comparisons"] = [as_good, as_good | {"chosen": False}]
    assert cautions(summary) == [
        "threshold shift (shift -0.2) does at least as well on test: gap .210 at accuracy .695."
    ]
