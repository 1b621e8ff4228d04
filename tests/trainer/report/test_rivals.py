"""How rivals are told of: what a threshold shift means, and the sentences on rules and retrained models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainer.reports import changed_summary, compared
from trainer.report.rivals import beside_sentences, better_rule, shifted_threshold
from trainer.report.run_summary import verdict
from triggers.model.classifier import FrozenClassifier
from triggers.model.decision import DecisionRule


@pytest.mark.parametrize("threshold", [None, 0.2, 0.8])
@pytest.mark.parametrize("pos_label", [0, 1])
@pytest.mark.parametrize("shift", [-1.3, 0.4])
def test_the_threshold_decides_as_the_shift_does(threshold: float | None, pos_label: int, shift: float) -> None:
    logits = torch.randn(5000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2
    shifted = DecisionRule(pos_label, threshold).decision_logits(logits).clone()
    shifted[:, pos_label] += shift
    found = DecisionRule(pos_label, shifted_threshold(shift, threshold)).labels(logits)
    assert (found == shifted.argmax(dim=1)).all()
    assert (found != DecisionRule(pos_label, threshold).labels(logits)).any()


def test_with_more_labels_a_threshold_moves_as_its_shift_does() -> None:
    logits = torch.randn(5000, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2
    shifted = DecisionRule(2, 0.3).decision_logits(logits).clone()
    shifted[:, 2] += 0.7
    assert (DecisionRule(2, shifted_threshold(0.7, 0.3)).labels(logits) == shifted.argmax(dim=1)).all()


@pytest.fixture
def summary(tmp_path: Path, image_model: FrozenClassifier) -> dict[str, Any]:
    """A run that recommends strength 1, certified, with a gap of .2."""
    return changed_summary(tmp_path, image_model)


def rule(summary: dict[str, Any], system: str, setting: str, status: str) -> dict[str, Any]:
    """A rule with the figures of strength 5, whose gap is .1."""
    given = summary["candidates"][2]
    record = given["selection"] | {"status": status}
    record |= {"bound": None} if status != "certified" else {}
    return compared(summary, system, setting, chosen=True, selection=record, splits=given["splits"])


def beside(summary: dict[str, Any], *ones: dict[str, Any], **found: Any) -> dict[str, Any]:
    nothing: dict[str, Any] = {"better": None, "equal": [], "unproved": [], "retrained": []}
    return summary | {"comparisons": list(ones), "alternatives": nothing | found}


def test_a_better_rule_comes_first_with_figures_and_use_and_the_trigger_keeps_its_word(summary: dict[str, Any]) -> None:
    found = verdict(beside(summary, rule(summary, "oxonfair", "80 % of the gap removed", "certified"), better=0))
    assert found["status"] == "certified"
    first, second, third, *_ = found["reason"].split(". ")
    assert first == (
        "Recommended is OxonFair's merged head (80 % of the gap removed), not a trigger: on validation its gap is"
        " clearly smaller than that of any trigger"
    )
    assert second.startswith("It is certified: with 90 % confidence it gains at least")
    assert third.startswith("On validation its demographic parity difference is .100 [")
    assert "that of strength 1 .200 [" in third
    assert "features @ weight.T + bias of postprocessing/oxonfair.safetensors" in found["reason"]
    assert "infers the group from the input" in found["reason"]
    assert "Of the triggers, strength 1 is certified: " in found["reason"]


def test_why_a_rule_is_better_depends_on_what_it_replaces(summary: dict[str, Any]) -> None:
    given = beside(summary, rule(summary, "frappe", "strength 2", "certified"), better=0)
    given["candidates"][1]["selection"] |= {"status": "promising", "bound": None}
    assert "it is certified, the best trigger promising, whose gap is not clearly smaller." in better_rule(given)
    assert "reads the features alone" in better_rule(given)
    assert "smaller than that of the bare model." in better_rule(given | {"best": None})
    assert "smaller than that of anything cheaper." in better_rule(given | {"best": None, "rival": 0})
    lonely = verdict(given | {"best": None})
    assert lonely["status"] == "not recommended"
    assert lonely["reason"].startswith("Recommended is FRAPPE's added head (strength 2), not a trigger: ")


def test_what_does_as_well_is_named_behind_the_trigger(summary: dict[str, Any]) -> None:
    ones = [rule(summary, "oxonfair", "a", "certified"), rule(summary, "linear_post", "b", "promising")]
    reason = verdict(beside(summary, *ones, equal=[0, 1]))["reason"]
    assert reason.startswith("Strength 1 is certified: ")
    assert reason.endswith(
        "OxonFair's merged head (a), certified; LinearPost's rule (b), promising: do as well on validation; the trigger"
        " stays recommended, as what the service serves."
    )
    (one,) = [beside_sentences(beside(summary, *ones, better=0, equal=[1]))]
    assert one == "LinearPost's rule (b), promising: does as well on validation."


def test_unproved_rules_and_retrained_models_are_told_apart(summary: dict[str, Any]) -> None:
    ones = [rule(summary, "frappe", "strength 2", "promising"), rule(summary, "adv_post", "strength 3", "promising")]
    said = beside_sentences(beside(summary, *ones, unproved=[0], retrained=[1]))
    assert said.startswith("Fairer but not proved: FRAPPE's added head (strength 2), gap .100 [")
    assert "If the weights may be changed: AdvPost (strength 3) has a clearly smaller gap on validation, .100 [" in said
    assert said.endswith("it is promising.")
    assert beside_sentences(summary) == better_rule(summary) == ""
