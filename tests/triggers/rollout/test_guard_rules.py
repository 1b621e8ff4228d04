"""What a guard may be told."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from service.config.settings import Settings
from triggers.rollout.guard_rules import GuardRules


def test_the_defaults_are_cautious() -> None:
    rules = GuardRules.from_dict({"max_disparity": 0.1, "attributes": ["sex"]})
    assert (rules.alpha, rules.action, rules.attributes) == (0.05, "rollback", ("sex",))
    assert Settings().guard is None


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "sets no limit"),
        ({"max_disparity": 1.5}, "max_disparity is 1.5"),
        ({"max_disparity": True}, "max_disparity is True"),
        ({"max_disparity": 0.1, "alpha": 0}, "alpha is 0"),
        ({"max_disparity": 0.1, "alpha": float("nan")}, "alpha is nan"),
        ({"max_disparity": 0.1, "metric": "eo"}, "use one of demographic_parity_difference"),
        ({"max_disparity": 0.1, "action": "page"}, "rollback, alarm"),
        ({"max_disparity": 0.1, "min_n": 3}, "unknown fields"),
        ({"max_disparity": 0.1, "attributes": "sex"}, "list of names"),
        ([1], "give an object"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(document: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GuardRules.from_dict(document)


def test_the_settings_take_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIRTRIGGER_GUARD", '{"accuracy_loss": 0.02, "action": "alarm"}')
    assert Settings().guard == {"accuracy_loss": 0.02, "action": "alarm"}
    for wrong in ("{", '{"action": "alarm"}', "[]"):
        monkeypatch.setenv("FAIRTRIGGER_GUARD", wrong)
        with pytest.raises(ValidationError):
            Settings()


def test_a_webhook_is_an_address_of_the_web() -> None:
    with pytest.raises(ValidationError, match="http"):
        Settings(webhook_url="file:///etc/passwd")
