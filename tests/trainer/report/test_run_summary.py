"""What the report concludes, from figures made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.trainer.outcomes import image_config, image_outcome
from tests.trainer.reports import change, changed_summary, compared, material, summarised
from trainer.report.run_summary import headline_sentence, verdict
from triggers.artifact.selection_record import SelectionRecord
from triggers.model.classifier import FrozenClassifier


@pytest.fixture
def summary(tmp_path: Path, image_model: FrozenClassifier) -> dict[str, Any]:
    """Strength 1 is recommended: parity difference .41 to .21 on test."""
    return changed_summary(tmp_path, image_model)


def test_the_headline_has_numbers_and_intervals(summary: dict[str, Any]) -> None:
    said = headline_sentence(summary)
    assert said.startswith(
        "Validation chose strength 1; on 200 test images the demographic parity difference fell from"
    )
    assert ".410 [" in said and "to .210 [" in said
    assert "accuracy rose from .595 [.526, .661] to .695 [.628, .755]" in said
    assert "balanced accuracy rose from .595 [" in said


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


def test_the_verdict_is_the_word_of_validation_with_its_grounds(summary: dict[str, Any]) -> None:
    record = SelectionRecord(**summary["candidates"][1]["selection"])
    assert record.status == "certified"
    assert verdict(summary) == {"status": "certified", "reason": f"Strength 1 is {record.sentence}."}
    assert "with 90 % confidence it gains at least" in verdict(summary)["reason"]


def test_a_promising_pick_says_what_would_prove_it(summary: dict[str, Any]) -> None:
    summary["candidates"][1]["selection"] |= {"status": "promising", "bound": None, "loss": 0.004, "rows_needed": 4000}
    found = verdict(summary)
    assert found["status"] == "promising"
    assert found["reason"].startswith("Strength 1 is promising, not proved: loses .004 balanced accuracy")
    assert "about 4,000 would prove it" in found["reason"]


def test_the_test_split_never_changes_the_word(summary: dict[str, Any]) -> None:
    before = verdict(summary)
    summary["change"]["demographic_parity"] = change(0.3, 0.2, 0.4)
    summary["change"]["accuracy"] = change(-0.5, -0.6, -0.4)
    summary["candidates"][1]["splits"]["test"] = summary["bare"]["test"]
    assert verdict(summary) == before


def test_not_recommended_with_the_nearest_miss(tmp_path: Path, image_model: FrozenClassifier) -> None:
    found = summarised(material(image_config(tmp_path), image_model, image_outcome(best=None)))
    assert found["verdict"] == {"status": "not recommended", "reason": "a note"}
    assert found["shown"] == 1.0  # the front's fairest
    assert headline_sentence(found).startswith(
        "Validation recommends none of 3 triggers; with the one looked at here, strength 1,"
    )
    nothing = summarised(material(image_config(tmp_path), image_model, image_outcome(best=None, front=())))
    assert nothing["shown"] == 5.0  # what validation ranks first


def test_a_threshold_that_does_as_well_is_the_first_sentence(summary: dict[str, Any]) -> None:
    rival = compared(summary, "threshold", "shift -0.3", chosen=True, shift=-0.3)
    rival["splits"] = summary["candidates"][1]["splits"]
    found = verdict(summary | {"comparisons": [compared(summary, "constant", "always no"), rival], "rival": 1})
    assert found["status"] == "not recommended"
    first, second, *_ = found["reason"].split(". ")
    assert first == "A threshold shift (−.300 on the logit of attractive) does as well: use it instead of a trigger"  # noqa: RUF001
    assert second.startswith("On validation its demographic parity difference is .200 [")
    assert "the bare model's .400 [" in second and second.endswith("balanced ones .600, .700 and .600")
    assert '"threshold": 0.57444252 in its model.json' in found["reason"]  # 1 / (1 + exp(-0.3))
    assert "or fairtrigger wrap --threshold 0.57444252;" in found["reason"]


@pytest.mark.parametrize(
    ("system", "setting", "words"),
    [
        ("constant", "always no", "The constant answer (always no) does as well: use it instead of a trigger."),
        ("random", "seed 1000", "A random trigger that learned nothing (seed 1000) does as well: nothing that was"),
        ("shrink", "to 8 of 16 pixels", "The shrunk image alone (to 8 of 16 pixels) does as well: use it instead of"),
        ("black", "patch", "Black in the trigger's place (patch) does as well: use it instead of a trigger."),
        ("strength_zero", "strength 0", "A trigger for utility alone (strength 0) does as well: use it instead of"),
    ],
)
def test_whatever_else_does_as_well_comes_first_too(
    summary: dict[str, Any], system: str, setting: str, words: str
) -> None:
    found = verdict(summary | {"comparisons": [compared(summary, system, setting, chosen=True)], "rival": 0})
    assert found["status"] == "not recommended"
    assert found["reason"].startswith(words)
